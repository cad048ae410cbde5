"""A machine that changed in the middle of a night: where its measurements of one program fall into before and after."""

import math
from typing import Final

from memory.keep.evidence import Points

CHANGE_BOUND: Final = 2.5
"""Distance of two means, in standard errors, from which on the machine counts as changed."""

NEWEST: Final = 6
"""Older measurements are left out anyhow: a machine may change too slowly for any one step to show."""


def since_change(points: Points, noise_sd: float | None, *, newest: int = NEWEST) -> Points:
    """The newest measurements of one program: those since the machine last changed, as far as they show it.

    Seeds are in the order of time: on a wall clock every further measurement takes a seed beyond all before. The cut is
    where the means before and after are farthest apart in standard errors, and is made when they are farther than
    `CHANGE_BOUND`; then again in what remains.

    Args:
        points: measurements of one program.
        noise_sd: standard deviation of one measurement; without one nothing is cut.
        newest: how many are looked at.
    """
    rest = tuple(sorted(points))[-newest:]
    while noise_sd and (cut := _change(rest, noise_sd)):
        rest = rest[cut:]
    return rest


def _change(points: Points, noise_sd: float) -> int:
    """How many of the measurements lie before the clearest change; 0 when there is none."""
    values = [metric for _, metric in points]
    best, cut = CHANGE_BOUND, 0
    for n in range(1, len(values)):
        before, after = math.fsum(values[:n]) / n, math.fsum(values[n:]) / (len(values) - n)
        distance = abs(before - after) / (noise_sd * math.sqrt(1 / n + 1 / (len(values) - n)))
        if distance > best:
            best, cut = distance, n
    return cut
