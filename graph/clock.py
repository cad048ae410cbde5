"""What a keep rule must know of the clock: whether the machine is part of the noise, and how old the control is."""

from typing import TypedDict

from graph.evidence import measured
from graph.services import Services
from memory.keep.sequential import REFRESH_TRIALS
from memory.records import Trial


class ClockEvidence(TypedDict):
    """The fields of `Evidence` that speak of time."""

    wall_clock: bool
    since_control: int


def clock_evidence(services: Services, trial: Trial) -> ClockEvidence:
    """Whether the budget is one of seconds, and how many trials ago the incumbent was last measured.

    Nobody's clock is asked: on a wall clock an incumbent's newest seed was new to the trial on whose behalf it was
    measured, so that trial is the latest one that has the seed, too.
    """
    if services.task.budget.kind != "seconds":
        return {"wall_clock": False, "since_control": 0}
    return {"wall_clock": True, "since_control": _since_control(services, trial)}


def _since_control(services: Services, trial: Trial) -> int:
    """Trials since the incumbent's newest measurement; counted no further than to the number that matters.

    What was measured again after a change of machine counts as old as the trial it belongs to: the next candidate may
    get a control that it could do without, but none is ever left out when a machine is come back to.
    """
    known = _seeds(services, trial.parent_trial_id or "")
    if not known:
        return 0
    # Its first seed is every candidate's first as well: a control has another.
    control = max(known - {min(known)}, default=None)
    trials = services.store.trials(trial.campaign_id)
    for age in range(REFRESH_TRIALS):
        other = trials[trial.seq - age]
        if other.trial_id == trial.parent_trial_id or control in _seeds(services, other.trial_id):
            return age
    return REFRESH_TRIALS


def _seeds(services: Services, trial_id: str) -> set[int]:
    return {m.seed_index for m in measured(services, trial_id)}
