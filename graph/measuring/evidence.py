"""The evidence on a candidate that a keep rule is given: measurements, noise, and the age of the control."""

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import TypedDict

from graph.services import Services
from memory.keep.comparable import evidence_of, on_logarithms, points_of
from memory.keep.rules import Evidence
from memory.records import Campaign, Measurement, Trial
from memory.statistics.noise import Noise


class ClockEvidence(TypedDict):
    """The fields of `Evidence` that speak of time."""

    on_clock: bool
    controls: frozenset[int]
    since_control: int


def clock_evidence(services: Services, trial: Trial, incumbent_trial_id: str | None) -> ClockEvidence:
    """Whether the budget counts time, by whichever clock; if so, which measurements of the incumbent are how old.

    No clock is asked how old: what is stored is on behalf of which trial a measurement was made. What was measured
    again after a change of machine counts as old as the trial that it belongs to.
    """
    if not services.trainer.wall_clock:
        return {"on_clock": False, "controls": frozenset(), "since_control": 0}
    known = services.measured(incumbent_trial_id or "")
    made = {m.seed_index for m in known if m.for_trial_id == trial.trial_id}
    newest = max((services.trial(m.for_trial_id or m.trial_id).seq for m in known), default=trial.seq)
    return {"on_clock": True, "controls": frozenset(made), "since_control": trial.seq - newest}


def evidence_for(
    services: Services, trial: Trial, coming: Measurement | None = None, against: str | None = None
) -> Evidence:
    """All that is known of candidate, incumbent and baseline on this machine, and of the noise between equal programs.

    Args:
        services: with the store.
        trial: the candidate's.
        coming: a measurement of the candidate that is not stored yet, to see what it would decide.
        against: the trial whose program is taken for the incumbent; None: the candidate's parent.
    """
    store, campaign = services.store, services.campaign
    noise, candidate = store.compared_noise(campaign.campaign_id), services.measured(trial.trial_id)
    if coming is not None:
        noise = _with_one_more(noise, _scores(campaign, candidate), _scores(campaign, [coming]))
        candidate.append(coming)
    baseline = store.trial_by_seq(campaign.campaign_id, 0)
    if baseline is None:
        raise ValueError(f"campaign {campaign.campaign_id} has no baseline to compare with")
    incumbent = against or trial.parent_trial_id or baseline.trial_id
    known = (points_of(services.measured(trial_id)) for trial_id in (incumbent, baseline.trial_id))
    evidence = evidence_of(campaign, noise, points_of(candidate), *known)
    pairs = tuple(store.store_pairs(campaign.campaign_id))
    return replace(evidence, noise_sd=noise.sd, pairs=pairs, **clock_evidence(services, trial, incumbent))


def _scores(campaign: Campaign, measurements: Sequence[Measurement]) -> list[float]:
    """On the scale that the noise is on."""
    scores = [m.score for m in measurements if m.score is not None]
    return [math.log(score) for score in scores if score > 0] if on_logarithms(campaign) else scores


def _with_one_more(noise: Noise, known: Sequence[float], coming: Sequence[float]) -> Noise:
    """The pooled noise with one more replicate of a program that has these: the sum of squares grows by its distance.

    As in Welford's method (https://doi.org/10.1080/00401706.1962.10490022): n / (n + 1) times its square.
    """
    if not known or not coming:
        return noise
    distance, n = coming[0] - math.fsum(known) / len(known), len(known)
    squares = (noise.sd or 0.0) ** 2 * noise.df + n / (n + 1) * distance**2
    return replace(noise, sd=math.sqrt(squares / (noise.df + 1)), df=noise.df + 1)
