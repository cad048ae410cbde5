"""train: one sandboxed process trains one program with one seed under the parent's clock."""

from graph.limits.disk import require_room
from graph.measuring.ahead import seeds_ahead
from graph.measuring.attempts import (
    given_up,
    new_measurement,
    stays_open,
    stored_measurement,
)
from graph.measuring.training import run_training
from graph.services import Services
from graph.state import Route, TrialState, Update
from memory.records import INCUMBENT_FAILED, Measurement, MeasurementState, Phase, Trial
from rails.status import Status


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
            measurement = new_measurement(services, trial, target, seed_index, before)
            with services.store.transaction():
                services.store.open_measurement(measurement)
                services.store.update_trial(trial.trial_id, phase=Phase.RUNNING)
            run_training(services, trial, target, measurement, seeds_ahead(services, trial, target, seed_index))
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
