"""Near misses: discarded trials that may still be worth something.

A near miss is a finished trial that was not kept and whose estimated gain is positive (but was not proven, or was too
small for the keep rule), or that lies within one noise sd of the incumbent it was compared with.
"""

from collections.abc import Sequence

from pydantic import BaseModel, ConfigDict

from memory.noise import Noise
from memory.records import Trial, TrialKind
from rails.status import Status


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
    floor = _floor(trials, noise)
    found = [t for t in trials if t.status is Status.DISCARD and t.gain is not None and (t.gain > 0 or t.gain >= floor)]
    found.sort(key=_weakness)
    return [
        NearMiss(
            trial=trial.seq,
            edit=trial.edit_key,
            gain=trial.gain or 0.0,
            gain_low=trial.gain_low,
            gain_high=trial.gain_high,
            p_improve=trial.p_improve,
        )
        for trial in found[:limit]
    ]


def _floor(trials: Sequence[Trial], noise: Noise) -> float:
    """The lowest gain within one noise sd, on the scale of gains: relative to the baseline's metric."""
    if noise.sd is None:
        return float("inf")
    baseline = next((t.metric for t in trials if t.kind is TrialKind.BASELINE), None)
    return -noise.sd / (abs(baseline or 0.0) or 1.0)


def _weakness(trial: Trial) -> tuple[bool, float, float, int]:
    return trial.p_improve is None, -(trial.p_improve or 0.0), -(trial.gain or 0.0), trial.seq
