"""Near misses: discarded trials that may still be worth something.

A near miss is a finished trial that was not kept and whose estimated gain is positive (but was not proven, or was too
small for the keep rule), or that lies within one noise sd of the incumbent it was compared with.
"""

import math
from collections.abc import Sequence
from typing import TypeAlias

from pydantic import BaseModel, ConfigDict

from memory.records import Trial, TrialKind
from memory.statistics.noise import Noise
from rails.status import Status

Weakness: TypeAlias = tuple[bool, float, float, int]
"""Sorts trials: best evidence first. The last part is the trial's number."""


class NearMiss(BaseModel):
    """One near miss; gains are relative (0.01 is one per cent) and positive when better."""

    model_config = ConfigDict(frozen=True, strict=True)

    trial: int
    """The trial's number in its campaign."""
    edit: str | None
    gain: float
    gain_low: float | None
    gain_high: float | None
    p_improve: float | None


def near_misses(trials: Sequence[Trial], noise: Noise, limit: int | None = None) -> list[NearMiss]:
    """The near misses among the trials of one campaign, best evidence first.

    Order: probability of being better (unknown last), then gain, then age. The SQL view `near_misses` is the same.

    Args:
        trials: one campaign's trials, its baseline included.
        noise: the campaign's noise; without one (`df` 0) only positive gains count.
        limit: at most this many; None for all.
    """
    baseline = next((t.metric for t in trials if t.kind is TrialKind.BASELINE), None)
    floor = lowest_gain(baseline, noise)
    found = [t for t in trials if is_candidate(t) and (t.gain or 0.0) >= floor]
    return [near_miss(trial) for trial in sorted(found, key=weakness)[:limit]]


def near_miss(trial: Trial) -> NearMiss:
    """A trial that is one, as it is listed."""
    return NearMiss(
        trial=trial.seq,
        edit=trial.edit_key,
        gain=trial.gain or 0.0,
        gain_low=trial.gain_low,
        gain_high=trial.gain_high,
        p_improve=trial.p_improve,
    )


def is_candidate(trial: Trial) -> bool:
    """Whether its gain decides if it is a near miss: it ran to its end and was not kept."""
    return trial.status is Status.DISCARD and trial.gain is not None


def lowest_gain(baseline: float | None, noise: Noise) -> float:
    """The lowest gain of a near miss: one noise sd below none, relative to the baseline's metric.

    Without a noise estimate it is the smallest gain above none.
    """
    if noise.sd is None:
        return math.nextafter(0.0, 1.0)
    return -noise.sd / (abs(baseline or 0.0) or 1.0)


def weakness(trial: Trial) -> Weakness:
    """Sorts near misses: by the probability of being better (unknown last), then by gain, then by age."""
    return trial.p_improve is None, -(trial.p_improve or 0.0), -(trial.gain or 0.0), trial.seq
