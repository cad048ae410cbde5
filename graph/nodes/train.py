"""train: one sandboxed process trains one program with one seed under the parent's clock."""

import time

from graph.early_stop import HopelessError, watch_for
from graph.events import TrainingProgress
from graph.measuring import (
    fail,
    given_up,
    halt,
    new_measurement,
    stays_open,
    stored_measurement,
)
from graph.meters import EnergyPart
from graph.room import require_room
from graph.services import Services
from graph.state import Node, Route, TrialState, Update
from memory.records import INCUMBENT_FAILED, Measurement, MeasurementState, Phase, Trial, utc_now
from rails.errors import HaltError, TrialError
from rails.status import Status
from tools.trainer_tool import Progress


def train(services: Services, state: TrialState) -> Update:
    """Train the target's program with the shared seed of this index, unless that measurement is already stored.

    A candidate whose curve is hopeless is stopped on the way, and its trial is over.

    Raises:
        DiskFullError: there is too little room to begin, or there was at the end of a training that failed.
    """
    trial = services.trial(state["trial_id"])
    target = services.trial(state["target_trial_id"])
    seed_index = state["seed_index"]
    before = stored_measurement(services, target, seed_index)
    if before is None or not _stands(before, trial):
        require_room(services.workspace)
        if not given_up(services, trial, before):
            measurement = new_measurement(services, target, seed_index, before)
            with services.store.transaction():
                services.store.open_measurement(measurement)
                services.store.update_trial(trial.trial_id, phase=Phase.RUNNING)
            run_training(services, trial, target, measurement)
    after = stored_measurement(services, target, seed_index)
    if after is None:
        raise ValueError(f"the measurement of trial {target.seq} with seed {seed_index} is not in the store")
    stopped = after.state is MeasurementState.STOPPED
    return {"route": Route.HOPELESS if stopped else Route.TRAINED, "measurement_id": after.measurement_id}


def _stands(before: Measurement, trial: Trial) -> bool:
    """Whether a stored measurement is all that there is to do.

    An incumbent's that failed on behalf of an earlier trial is no reason not to try again; one that failed on behalf of
    this trial is how this trial ends, however often it is gone through.
    """
    if before.state is MeasurementState.RUNNING:
        return False
    if before.state is not MeasurementState.FAILED:
        return True
    if before.trial_id != trial.trial_id:
        return (trial.decision or {}).get(INCUMBENT_FAILED) == before.seed_index
    return before.status is not Status.INTERRUPTED or not stays_open(trial)


def run_training(services: Services, trial: Trial, target: Trial, measurement: Measurement) -> None:
    """Train `target`'s program on behalf of `trial`: afterwards the model waits to be scored, or it is stored why not.

    Raises:
        TrialError: interrupted, and to be made when the campaign goes on; see `fail`.
        HaltError: the machine cannot start a process, or (`DiskFullError`) has no room.
    """
    watch = watch_for(services, trial, target)

    def report(progress: Progress) -> None:
        _show(services, trial, target, measurement, progress)
        services.spending.beat()
        if watch is not None:
            watch.see(progress)

    hand, program, started = services.hands[trial.trial_id], services.source_of(target), time.monotonic()
    try:
        with hand.energy.part(EnergyPart.TRAIN):
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
