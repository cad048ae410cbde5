"""One measurement in the store: which it is, how often it was started, and how it ends without a score."""

from typing import NoReturn

from graph.limits.disk import require_room
from graph.services import Services
from memory.records import INCUMBENT_FAILED, Measurement, MeasurementState, Phase, Purpose, Trial, TrialKind, utc_now
from rails.errors import DiskFullError, HaltError, TrialError
from rails.status import Status

MAX_ATTEMPTS = 5
"""Starts of one measurement that no loop has survived, until it is given up: it may be what takes the machine down.

Not 3: a loop that is killed again and again for other reasons must not condemn a trial by chance. With a kill in every
second measurement three in a row come once in eight trials, five once in thirty; with one in ten, once in 100,000.
"""


def stored_measurement(services: Services, target: Trial, seed_index: int) -> Measurement | None:
    """The measurement of this program with this seed on this machine, in whatever state; None before its first start.

    A repaired program is another measurement.
    """
    measurement_id = _id_of(services, target, seed_index)
    stored = services.store.measurements(target.trial_id)
    return next((m for m in stored if m.measurement_id == measurement_id), None)


def ever_scored(services: Services, target: Trial) -> bool:
    """Whether this very program, before any further repair, has a score on any machine."""
    stored = services.store.measurements(target.trial_id)
    return any(m.state is MeasurementState.MEASURED and m.measurement_id.startswith(_ids_of(target)) for m in stored)


def new_measurement(
    services: Services,
    trial: Trial,
    target: Trial,
    seed_index: int,
    before: Measurement | None,
    purpose: Purpose = Purpose.SEARCH,
) -> Measurement:
    """A measurement of `target` on behalf of `trial` that begins now; `before` is its earlier attempt, if any."""
    return Measurement(
        measurement_id=_id_of(services, target, seed_index),
        campaign_id=services.campaign_id,
        trial_id=target.trial_id,
        seed_index=seed_index,
        seed=services.trainer.training_seed(services.campaign.seed, seed_index),
        state=MeasurementState.RUNNING,
        attempt=1 if before is None else before.attempt + 1,
        isolation=services.trainer.isolation,
        started_at=utc_now(),
        purpose=purpose,
        machine=services.campaign.hardware_fingerprint,
        for_trial_id=trial.trial_id,
    )


def given_up(services: Services, trial: Trial, before: Measurement | None) -> bool:
    """Whether a measurement was started often enough without ever ending; then it is stored as a crash.

    Raises:
        DiskFullError: there is no room to store it.
    """
    if before is None or before.state is not MeasurementState.RUNNING or before.attempt < MAX_ATTEMPTS:
        return False
    what = f"given up: it was started {before.attempt} times, and the loop died before it ended"
    fail(services, trial, before, TrialError(Status.CRASH, what), 0.0)
    return True


def fail(services: Services, trial: Trial, measurement: Measurement, error: TrialError, seconds: float) -> Measurement:
    """Store a measurement that ended without a score, on behalf of `trial`.

    Args:
        services: of the campaign.
        trial: on whose behalf it was made.
        measurement: as it was begun.
        error: how it ended.
        seconds: of training when that ended well, else from the launch of its process.

    Raises:
        TrialError: the baseline was interrupted, or a measurement apart from any trial. It is made when the campaign
            goes on: without it nothing can be compared.
        DiskFullError: the disk is full. That is nobody's failure: the measurement is made again when there is room.
    """
    if error.status is Status.INTERRUPTED and stays_open(trial):
        _call_off(services, measurement, error.what)
        raise error
    if error.status is not Status.INTERRUPTED:
        require_room(services.workspace)
    failed = measurement.model_copy(
        update={
            "state": MeasurementState.FAILED,
            "status": error.status,
            "reason": error.what,
            "log_tail": error.detail or None,
            "train_s": seconds,
            "finished_at": utc_now(),
        }
    )
    with services.store.transaction():
        services.store.finish_measurement(failed, None)
        if measurement.trial_id != trial.trial_id:
            known = services.trial(trial.trial_id).decision or {}
            services.store.update_trial(trial.trial_id, decision={**known, INCUMBENT_FAILED: measurement.seed_index})
    services.observer.measured(trial, failed)
    return failed


def halt(services: Services, trial: Trial, measurement: Measurement, error: HaltError) -> NoReturn:
    """Leave a measurement that the machine cannot carry out.

    Raises:
        DiskFullError: for want of room.
        HaltError: `error`.
    """
    if not isinstance(error, DiskFullError):
        require_room(services.workspace)
        if stays_open(trial):
            _call_off(services, measurement, error.what)
    raise error


def stays_open(trial: Trial) -> bool:
    """Whether an interruption leaves what is measured for this trial to be measured later: all but a search trial's."""
    return trial.kind is TrialKind.BASELINE or trial.phase is Phase.DECIDED


def _call_off(services: Services, measurement: Measurement, why: str) -> None:
    """Store that the loop itself ended this start, which does not count as one: nothing died of it."""
    services.store.finish_measurement(
        measurement.model_copy(
            update={
                "state": MeasurementState.FAILED,
                "status": Status.INTERRUPTED,
                "reason": why,
                "attempt": measurement.attempt - 1,
                "finished_at": utc_now(),
            }
        ),
        None,
    )


def _id_of(services: Services, target: Trial, seed_index: int) -> str:
    """The same on one machine after any crash. The first machine to measure has the plain id, others add their own."""
    machine = services.campaign.hardware_fingerprint
    plain = f"{_ids_of(target)}{seed_index}"
    stored = services.store.measurements(target.trial_id)
    elsewhere = any(m.measurement_id == plain and m.machine != machine for m in stored)
    return f"{plain}-{machine}" if elsewhere else plain


def _ids_of(target: Trial) -> str:
    """What the ids of all measurements of this program begin with."""
    return f"{target.trial_id}-r{target.repairs}-s"
