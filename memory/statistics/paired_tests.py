"""Tests and intervals for pairs of campaigns: what each pair differs by, and how many more would settle it."""

import math
import random
from collections.abc import Sequence

from memory.statistics.exact_tests import RESAMPLES, TestResult

MOST_SIGNS = 15
"""With more pairs than this a test draws signs instead of going through all of them."""

LEVEL_Z, POWER_Z = 1.959964, 0.841621
"""Of a two-sided level of 5 % and a power of 80 %: what settling a difference means here."""


def sign_flip_test(differences: Sequence[float], seed: int = 0) -> TestResult:
    """Two-sided p of the mean difference when the arms of each pair are exchanged: campaigns as the unit.

    All signs are gone through for up to `MOST_SIGNS` pairs. Else they are drawn, and the observed ones count as one of
    the draws, so that p is never 0 (Phipson and Smyth 2010).

    Args:
        differences: of each pair, at least one.
        seed: of the drawing.

    Raises:
        ValueError: there is no pair.
    """
    if not differences:
        raise ValueError("a test needs a pair")
    n, whole = len(differences), 1 << len(differences)
    observed = abs(math.fsum(differences)) * (1 - 1e-12) - 1e-12
    if n <= MOST_SIGNS:
        hits = sum(abs(total) >= observed for total in _all_sums(differences))
        return TestResult(hits / whole, f"exchanged pairs, all {whole} ways")
    parts = [_all_sums(differences[start : start + 8]) for start in range(0, n, 8)]
    rng, hits = random.Random(seed), 1
    for _ in range(RESAMPLES):
        hits += abs(math.fsum(rng.choice(sums) for sums in parts)) >= observed
    return TestResult(hits / (RESAMPLES + 1), f"exchanged pairs, {RESAMPLES} ways drawn with seed {seed}")


def _all_sums(differences: Sequence[float]) -> list[float]:
    """The sums under all signs."""
    sums = [0.0]
    for difference in differences:
        sums = [total + signed for total in sums for signed in (difference, -difference)]
    return sums


def bootstrap_mean(differences: Sequence[float], seed: int = 0, level: float = 0.95) -> tuple[float, float] | None:
    """Percentile interval of the mean difference, pairs drawn anew; None with fewer than two pairs."""
    if len(differences) < 2:
        return None
    rng, n = random.Random(seed), len(differences)
    found = sorted(math.fsum(rng.choices(differences, k=n)) / n for _ in range(RESAMPLES))
    tail = (1 - level) / 2
    return found[int(tail * RESAMPLES)], found[math.ceil((1 - tail) * RESAMPLES) - 1]


def pairs_needed(differences: Sequence[float]) -> int | None:
    """How many pairs in all would tell a difference as large as this one from none, with level 5 % and power 80 %.

    By the normal approximation with Guenther's correction (1981) for a t test of pairs. None where nothing tells: fewer
    than two pairs, or no difference at all.
    """
    n = len(differences)
    if n < 2:
        return None
    mean = math.fsum(differences) / n
    variance = math.fsum((d - mean) ** 2 for d in differences) / (n - 1)
    if not mean:
        return None
    return max(2, math.ceil((LEVEL_Z + POWER_Z) ** 2 * variance / mean**2 + LEVEL_Z**2 / 2))
