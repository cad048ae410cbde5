"""Trains one program with one seed in a process of its own; the model then waits to be scored."""

import time

from graph.limits.meters import EnergyPart
from graph.measuring.attempts import (
    fail,
    halt,
)
from graph.measuring.early_stop import HopelessError, watch_for
from graph.services import Services
from graph.state import Node
from graph.watching.events import TrainingProgress
from memory.records import Measurement, MeasurementState, Phase, Trial, utc_now
from rails.errors import HaltError, TrialError
from tools.trainer_tool import Progress


def run_training(services: Services, trial: Trial, target: Trial, measurement: Measurement) -> None:
    """Train `target`'s program on behalf of `trial`: afterwards the model waits to be scored, or it is stored why not.

    Raises:
        TrialError: interrupted, and to be made when the campaign goes on; see `fail`.
        HaltError: the machine cannot start a process, or (`DiskFullError`) has no room.
    """
    watch = watch_for(services, trial, target, measurement.seed_index)

    def report(progress: Progress) -> None:
        _show(services, trial, target, measurement, progress)
        services.spending.beat()
        if watch is not None:
            watch.see(progress)

    hand, program, started = services.hands[trial.trial_id], services.source_of(target), time.monotonic()
    try:
        with hand.energy.part(EnergyPart.TRAIN):
            if not services.stop.requested:  # a person who stops the loop is not kept waiting for imports
                services.trainer.warm_up(program)
            started = time.monotonic()
            model = services.trainer.train(program, measurement.seed, report)
    except (TrialError, HopelessError) as ended:
        seconds = time.monotonic() - started
        hand.waited(Node.TRAIN, "train", seconds)
        if isinstance(ended, TrialError):
            fail(services, trial, measurement, ended, seconds)
        else:
            _stop(services, trial, measurement, ended, seconds)
        return
    except HaltError as error:
        halt(services, trial, measurement, error)
    hand.models[measurement.measurement_id] = model
    hand.waited(Node.TRAIN, "startup", model.outcome.startup_s)
    hand.waited(Node.TRAIN, "train", model.outcome.train_s)


def _show(services: Services, trial: Trial, target: Trial, measurement: Measurement, progress: Progress) -> None:
    """Tell the observer of one report of a training: of `target`, on behalf of `trial`."""
    services.observer.training(
        TrainingProgress(
            trial_seq=trial.seq,
            measured_seq=target.seq,
            seed_index=measurement.seed_index,
            step=progress.step,
            tokens=progress.tokens,
            elapsed_s=progress.elapsed_s,
            loss=progress.loss,
            fraction=services.trainer.fraction(progress),
        )
    )


def _stop(services: Services, trial: Trial, measurement: Measurement, stop: HopelessError, seconds: float) -> None:
    """Store what there is of a training that was cut short, and why: the trial's decision."""
    last = stop.seen[-1]
    stopped = measurement.model_copy(
        update={
            "state": MeasurementState.STOPPED,
            "reason": stop.verdict.reason,
            "train_s": seconds,
            "steps": last.step,
            "tokens": last.tokens,
            "finished_at": utc_now(),
        }
    )
    with services.store.transaction():
        services.store.finish_measurement(stopped, stop.curve(stopped))
        services.store.update_trial(trial.trial_id, phase=Phase.MEASURED, decision=stop.verdict.evidence)
    services.observer.measured(trial, stopped)
