"""Trains one program with one seed in a process of its own; the model then waits to be scored."""

import time
from collections.abc import Sequence

from graph.limits.meters import EnergyPart
from graph.measuring.ahead import begin_ahead
from graph.measuring.attempts import ever_scored, fail, halt
from graph.measuring.early_stop import HopelessError, watch_for
from graph.services import Services
from graph.state import Node
from graph.watching.events import TrainingProgress
from memory.records import Measurement, MeasurementState, Phase, Trial, utc_now
from rails.errors import HaltError, TrialError
from tools.backend import Progress


def run_training(
    services: Services, trial: Trial, target: Trial, measurement: Measurement, ahead: Sequence[int] = ()
) -> None:
    """Train `target`'s program on behalf of `trial`: afterwards the model waits to be scored, or it is stored why not.

    A program with new code is tried out on one step before its first training. What was trained ahead is waited for.

    Args:
        services: of the campaign.
        trial: on whose behalf.
        target: whose program.
        measurement: as it was begun.
        ahead: seeds with which the program will likely be measured next: trained beside it, as far as there is room.

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

    hand, program = services.hands[trial.trial_id], services.source_of(target)
    clock_s = services.trainer.clock_s
    part, started, begun_s = "train", time.monotonic(), clock_s()
    try:
        with hand.energy.part(EnergyPart.TRAIN):
            if not services.stop.requested:  # a person who stops the loop is not kept waiting for imports
                services.trainer.warm_up(program)
            if _is_to_be_tried_out(services, trial, target):
                part, started, begun_s = "tryout", time.monotonic(), clock_s()
                services.trainer.try_out(program, measurement.seed)
                hand.waited(Node.TRAIN, part, time.monotonic() - started)
            part, started, begun_s = "train", time.monotonic(), clock_s()
            model = taken = services.trainer.take_trained(program, measurement.seed)
            if model is None:
                begin_ahead(services, program, ahead)
                model = services.trainer.train(program, measurement.seed, report)
    except (TrialError, HopelessError) as ended:
        seconds = clock_s() - begun_s
        services.drop_ahead()
        hand.waited(Node.TRAIN, part, time.monotonic() - started)
        if isinstance(ended, TrialError):
            fail(services, trial, measurement, ended, seconds)
        else:
            _stop(services, trial, measurement, ended, seconds)
        return
    except HaltError as error:
        halt(services, trial, measurement, error)
    hand.models[measurement.measurement_id] = model
    waited_s = time.monotonic() - started
    startup_s = model.startup_s if taken is None else 0.0
    hand.waited(Node.TRAIN, "startup", startup_s)
    hand.waited(Node.TRAIN, "train", waited_s if services.trainer.deterministic else waited_s - startup_s)


def _is_to_be_tried_out(services: Services, trial: Trial, target: Trial) -> bool:
    """Whether a step comes before the training: new code can be wrong in ways that values of knobs cannot.

    What it finds is how the measurement ends; that it found nothing is not stored, and found out again after a kill.
    """
    return target.trial_id == trial.trial_id and trial.edits_code and not ever_scored(services, target)


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
