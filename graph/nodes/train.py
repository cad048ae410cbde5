"""train: one sandboxed process trains one program with one seed under the parent's clock."""

from graph.early_stop import HopelessError, watch_for
from graph.events import TrainingProgress
from graph.services import Services
from graph.state import Node, Route, TrialState, Update
from memory.records import Measurement, MeasurementState, Phase, Purpose, Trial, TrialKind, utc_now
from rails.errors import TrialError
from rails.status import Status
from tools.trainer_tool import Progress

SEED_STRIDE = 10_000
"""Campaign seed s uses training seeds 10,000·s, 10,000·s+1, …: disjoint between campaigns, shared within one."""


def train(services: Services, state: TrialState) -> Update:
    """Train the target's program with the shared seed of this index, unless that measurement is already stored.

    A candidate whose curve is hopeless is stopped on the way, and its trial is over.
    """
    trial = services.trial(state["trial_id"])
    target = services.trial(state["target_trial_id"])
    seed_index = state["seed_index"]
    measurement_id = measurement_id_of(target, seed_index)
    stored = {m.measurement_id: m for m in services.store.measurements(target.trial_id)}
    before = stored.get(measurement_id)
    if before is None or before.state is MeasurementState.RUNNING or _failed_for_another(before, trial):
        measurement = new_measurement(services, target, seed_index, before)
        with services.store.transaction():
            services.store.open_measurement(measurement)
            services.store.update_trial(trial.trial_id, phase=Phase.RUNNING)
        _run(services, trial, target, measurement)
    after = {m.measurement_id: m.state for m in services.store.measurements(target.trial_id)}
    stopped = after[measurement_id] is MeasurementState.STOPPED
    return {"route": Route.HOPELESS if stopped else Route.TRAINED, "measurement_id": measurement_id}


def measurement_id_of(target: Trial, seed_index: int) -> str:
    """The same measurement has the same id after any crash; a repaired program is another measurement."""
    return f"{target.trial_id}-r{target.repairs}-s{seed_index}"


def new_measurement(
    services: Services, target: Trial, seed_index: int, before: Measurement | None, purpose: Purpose = Purpose.SEARCH
) -> Measurement:
    """A measurement that begins now; `before` is its earlier attempt, if there was one."""
    return Measurement(
        measurement_id=measurement_id_of(target, seed_index),
        campaign_id=services.campaign_id,
        trial_id=target.trial_id,
        seed_index=seed_index,
        seed=SEED_STRIDE * services.campaign.seed + seed_index,
        state=MeasurementState.RUNNING,
        attempt=1 if before is None else before.attempt + 1,
        isolation=services.trainer.isolation,
        started_at=utc_now(),
        purpose=purpose,
    )


def show_progress(
    services: Services, trial: Trial, target: Trial, measurement: Measurement, progress: Progress
) -> None:
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


def _failed_for_another(before: Measurement, trial: Trial) -> bool:
    """Whether an incumbent's measurement failed: on behalf of an earlier trial, and no reason not to try again."""
    return before.state is MeasurementState.FAILED and before.trial_id != trial.trial_id


def _run(services: Services, trial: Trial, target: Trial, measurement: Measurement) -> None:
    watch = watch_for(services, trial, target)

    def report(progress: Progress) -> None:
        show_progress(services, trial, target, measurement, progress)
        if watch is not None:
            watch.see(progress)

    try:
        model = services.trainer.train(services.source_of(target), measurement.seed, report)
    except TrialError as error:
        services.waited(trial.trial_id, Node.TRAIN, "train", services.trainer.last_seconds)
        fail(services, trial, measurement, error)
        return
    except HopelessError as stop:
        services.waited(trial.trial_id, Node.TRAIN, "train", services.trainer.last_seconds)
        _stop(services, trial, measurement, stop)
        return
    services.live[measurement.measurement_id] = model
    services.waited(trial.trial_id, Node.TRAIN, "startup", model.outcome.startup_s)
    services.waited(trial.trial_id, Node.TRAIN, "train", model.outcome.train_s)


def _stop(services: Services, trial: Trial, measurement: Measurement, stop: HopelessError) -> None:
    """Store what there is of a training that was cut short, and why: the trial's decision."""
    last = stop.seen[-1]
    stopped = measurement.model_copy(
        update={
            "state": MeasurementState.STOPPED,
            "reason": stop.verdict.reason,
            "train_s": services.trainer.last_seconds,
            "steps": last.step,
            "tokens": last.tokens,
            "finished_at": utc_now(),
        }
    )
    with services.store.transaction():
        services.store.finish_measurement(stopped, stop.curve(stopped))
        services.store.update_trial(trial.trial_id, phase=Phase.MEASURED, decision=stop.verdict.evidence)
    services.observer.measured(trial, stopped)


def fail(services: Services, trial: Trial, measurement: Measurement, error: TrialError) -> Measurement:
    """Store a measurement that ended without a score.

    Raises:
        TrialError: the baseline was interrupted. It stays open, and is measured when the campaign goes on: without it
            there is no campaign.
    """
    if error.status is Status.INTERRUPTED and trial.kind is TrialKind.BASELINE:
        raise error
    failed = measurement.model_copy(
        update={
            "state": MeasurementState.FAILED,
            "status": error.status,
            "reason": error.what,
            "log_tail": error.detail or None,
            "train_s": services.trainer.last_seconds,
            "finished_at": utc_now(),
        }
    )
    services.store.finish_measurement(failed, None)
    services.observer.measured(trial, failed)
    return failed
