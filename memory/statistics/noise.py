"""How far measurements of one and the same program lie apart: the yardstick for every claimed gain."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Noise:
    """Pooled standard deviation of one measurement, in units of the metric, and its degrees of freedom.

    `sd` is None exactly when `df` is 0: nothing was measured twice, so nothing is known.
    """

    sd: float | None
    df: int
    campaigns: int = 1
    """How many campaigns it is pooled over."""


def pool(parts: Iterable[Noise]) -> Noise:
    """Noise of several campaigns as one: variances weighted by their degrees of freedom, which add up.

    A difference between campaigns is no noise: each part is the spread within its own.
    """
    known = [(part.sd, part) for part in parts if part.sd is not None]
    df = sum(part.df for _, part in known)
    if not df:
        return Noise(sd=None, df=0, campaigns=0)
    squares = math.fsum(sd * sd * part.df for sd, part in known)
    return Noise(sd=math.sqrt(squares / df), df=df, campaigns=sum(part.campaigns for _, part in known))


def pooled_noise(groups: Iterable[Sequence[float]]) -> Noise:
    """Pool the spread within each group of replicates: sd = sqrt(sum of squares within / sum of (n - 1))."""
    squares, df = 0.0, 0
    for group in groups:
        if len(group) > 1:
            mean = math.fsum(group) / len(group)
            squares += math.fsum((value - mean) ** 2 for value in group)
            df += len(group) - 1
    return Noise(sd=math.sqrt(squares / df), df=df) if df else Noise(sd=None, df=0)
