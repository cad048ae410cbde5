"""What would have had to be true for a near miss to be kept, from the evidence that its decision was stored with."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from memory.lineage.trial_text import percent
from memory.records import Trial
from memory.statistics.student_t import t_quantile

MOST_MEASUREMENTS = 99
"""A gain that takes more measurements than this to prove is beyond any night."""


FEWEST_MEASUREMENTS = 3
"""Fewer prove nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Hurdle:
    """The gain that a trial fell short of; gains are relative (0.01 is one per cent)."""

    needed: float
    """The smallest gain that would have been enough with as many measurements."""
    to_be_kept: bool
    """Enough to be kept; otherwise only to be measured again."""
    measurements: int
    """Of the trial, when it was given up."""
    enough: int | None = None
    """Of both sides: with so many a true gain of this size is proven. None: no gain, or more than a night has."""

    @property
    def text(self) -> str:
        """`needed +0.42 % to be kept; about 7 measurements would prove it, if true`."""
        what = "kept" if self.to_be_kept else "measured again"
        needed = "any gain" if self.needed == 0 else f"{percent(self.needed)} %"
        proof = "" if self.enough is None else f"; about {self.enough} measurements would prove it, if true"
        return f"needed {needed} to be {what}{proof}"


def hurdle_of(trial: Trial, task: Mapping[str, Any]) -> Hurdle | None:
    """What a discarded trial fell short of; None where its decision does not say.

    Args:
        trial: with the decision's evidence.
        task: the campaign's, as it was stored: the bar of `threshold` stands there.
    """
    evidence = trial.decision or {}
    match evidence.get("rule"):
        case "strict":
            return Hurdle(needed=0.0, to_be_kept=True, measurements=trial.n_measurements)
        case "threshold":
            keep = task.get("keep")
            bar = keep.get("min_gain") if isinstance(keep, Mapping) else None
            if not isinstance(bar, int | float):
                return None
            return Hurdle(needed=float(bar), to_be_kept=True, measurements=trial.n_measurements)
        case "sequential":
            return _sequential(trial, evidence)
        case _:
            return None


def _sequential(trial: Trial, evidence: Mapping[str, Any]) -> Hurdle | None:
    """By the statistic of `memory.keep.sequential`: gain / standard error of the gain.

    A candidate below the futility bound was given up before its gain could be proven; one above it, or at the cap of
    measurements, fell short of the bound for keeping, t(1 - keep level, df).
    """
    names = ("n_candidate", "standard_error", "df", "keep_level", "futility_bound")
    n, error, df, level, futility = (_number(evidence, name) for name in names)
    if n is None or error is None or df is None or level is None or futility is None or n * df * level <= 0:
        return None
    keep = t_quantile(1 - level, df)
    statistic, cap = _number(evidence, "statistic"), _number(evidence, "cap")
    to_be_kept = (statistic is not None and statistic >= futility) or (cap is not None and n >= cap)
    counted = len(evidence.get("seeds") or ()) or n  # after a change of the machine only pairs since then count
    return Hurdle(
        needed=(keep if to_be_kept else futility) * error,
        to_be_kept=to_be_kept,
        measurements=int(n),
        enough=_enough(keep * error * math.sqrt(counted), trial.gain or 0.0),
    )


def _enough(width: float, gain: float) -> int | None:
    """The n at which width / sqrt(n) falls to the gain; about, as the noise is better known by then."""
    if gain <= 0 or width / gain > math.sqrt(MOST_MEASUREMENTS):
        return None
    return max(FEWEST_MEASUREMENTS, math.ceil((width / gain) ** 2))


def _number(evidence: Mapping[str, Any], name: str) -> float | None:
    value = evidence.get(name)
    return float(value) if isinstance(value, int | float) and math.isfinite(value) else None
