"""The evidence on a candidate that a keep rule is given: measurements, noise, and the age of the control."""

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import TypedDict

from graph.services import Services
from memory.keep.comparable import evidence_of, points_of
from memory.keep.rules import Evidence
from memory.keep.sequential import REFRESH_TRIALS
from memory.records import (
    Measurement,
    Trial,
)
from memory.statistics.noise import Noise
from rails.clocks import counts_time


class ClockEvidence(TypedDict):
    """The fields of `Evidence` that speak of time."""

    wall_clock: bool
    since_control: int


def clock_evidence(services: Services, trial: Trial) -> ClockEvidence:
    """Whether the budget counts time, by whichever clock, and how many trials ago the incumbent was last measured.

    Nobody's clock is asked: on a wall clock an incumbent's newest seed was new to the trial on whose behalf it was
    measured, so that trial is the latest one that has the seed, too.
    """
    if not counts_time(services.task.budget.kind):
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
    return {m.seed_index for m in services.measured(trial_id)}


def evidence_for(services: Services, trial: Trial, coming: Measurement | None = None) -> Evidence:
    """All that is known of candidate, incumbent and baseline on this machine, and of the noise between equal programs.

    Args:
        services: with the store.
        trial: the candidate's.
        coming: a measurement of the candidate that is not stored yet, to see what it would decide.
    """
    store, campaign = services.store, services.campaign
    noise, candidate = store.store_noise(campaign.campaign_id), services.measured(trial.trial_id)
    if coming is not None:
        noise = _with_one_more(noise, [m.val_bpb for m in candidate], coming.val_bpb)
        candidate.append(coming)
    baseline = store.trial_by_seq(campaign.campaign_id, 0)
    if baseline is None:
        raise ValueError(f"campaign {campaign.campaign_id} has no baseline to compare with")
    parent = trial.parent_trial_id or baseline.trial_id
    known = (points_of(services.measured(trial_id)) for trial_id in (parent, baseline.trial_id))
    return replace(evidence_of(campaign, noise, points_of(candidate), *known), **clock_evidence(services, trial))


def _with_one_more(noise: Noise, values: Sequence[float | None], value: float | None) -> Noise:
    """The pooled noise with one more replicate of a program that has these: the sum of squares grows by its distance.

    As in Welford's method (https://doi.org/10.1080/00401706.1962.10490022): n / (n + 1) times its square.
    """
    known = [other for other in values if other is not None]
    if not known or value is None:
        return noise
    distance, n = value - math.fsum(known) / len(known), len(known)
    squares = (noise.sd or 0.0) ** 2 * noise.df + n / (n + 1) * distance**2
    return replace(noise, sd=math.sqrt(squares / (noise.df + 1)), df=noise.df + 1)
