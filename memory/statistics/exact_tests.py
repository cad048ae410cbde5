"""Tests and intervals that assume no distribution: Fisher's exact test, permutation of campaigns, the bootstrap."""

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

MOST_SPLITS = 50_000
"""With more ways to split the campaigns than this, a permutation test draws splits instead of going through all."""

RESAMPLES = 10_000
_SAME = 1e-7
"""Tables whose chance is larger than the observed one by less than this share count as equally likely, as in R."""


@dataclass(frozen=True, slots=True)
class TestResult:
    """A two-sided p-value, and how it was found."""

    __test__ = False  # pytest, this is no test of yours

    p: float
    method: str


def fisher_exact(a: int, n: int, b: int, m: int) -> float:
    """Two-sided p of Fisher's exact test that `a` of `n` and `b` of `m` come from one rate.

    The sum of the chances of all tables with the same margins that are no likelier than this one (Fisher 1934; the
    two-sided rule of R's fisher.test).

    Args:
        a: successes of the first arm.
        n: its trials.
        b: successes of the second arm.
        m: its trials.

    Raises:
        ValueError: a count is negative, or there are more successes than trials.
    """
    if not (0 <= a <= n and 0 <= b <= m):
        raise ValueError(f"counts must lie between 0 and the trials, not {a} of {n} and {b} of {m}")
    successes = a + b
    lowest, highest = max(0, successes - m), min(n, successes)
    total = _log_choose(n + m, successes)

    def log_chance(x: int) -> float:
        return _log_choose(n, x) + _log_choose(m, successes - x) - total

    limit = log_chance(a) + math.log1p(_SAME)
    chances = (log_chance(x) for x in range(lowest, highest + 1))
    return min(1.0, math.fsum(math.exp(chance) for chance in chances if chance <= limit))


def permutation_test(first: Sequence[float], second: Sequence[float], seed: int = 0) -> TestResult:
    """Two-sided p of the difference of two means when whole campaigns are exchanged between the arms.

    All splits are gone through when there are at most `MOST_SPLITS`. Else splits are drawn, and the observed one counts
    as one of them, so that p is never 0 (Phipson and Smyth 2010).

    Args:
        first: one value a campaign.
        second: likewise.
        seed: of the drawing.

    Raises:
        ValueError: an arm is empty.
    """
    if not first or not second:
        raise ValueError("both arms need a campaign")
    values, size = [*first, *second], len(first)
    observed = abs(_difference(first, second)) * (1 - 1e-12) - 1e-12
    splits = math.comb(len(values), size)
    if splits <= MOST_SPLITS:
        total = math.fsum(values)
        hits = sum(
            abs(_split_difference(math.fsum(chosen), total, size, len(values))) >= observed
            for chosen in combinations(values, size)
        )
        return TestResult(hits / splits, f"permutation of campaigns, all {splits} splits")
    rng, total = random.Random(seed), math.fsum(values)
    hits = 1
    for _ in range(RESAMPLES):
        chosen = rng.sample(values, size)
        hits += abs(_split_difference(math.fsum(chosen), total, size, len(values))) >= observed
    return TestResult(hits / (RESAMPLES + 1), f"permutation of campaigns, {RESAMPLES} splits drawn with seed {seed}")


def bootstrap_interval(
    first: Sequence[float], second: Sequence[float], seed: int = 0, level: float = 0.95
) -> tuple[float, float] | None:
    """Percentile interval of the difference of two means (first - second), campaigns drawn anew within each arm.

    Args:
        first: one value a campaign.
        second: likewise.
        seed: of the drawing.
        level: two-sided.

    Returns:
        None when an arm has fewer than two campaigns: one says nothing about how campaigns vary.
    """
    if min(len(first), len(second)) < 2:
        return None
    rng = random.Random(seed)
    found = sorted(
        _difference(rng.choices(first, k=len(first)), rng.choices(second, k=len(second))) for _ in range(RESAMPLES)
    )
    tail = (1 - level) / 2
    return found[int(tail * RESAMPLES)], found[math.ceil((1 - tail) * RESAMPLES) - 1]


def holm(p_values: dict[str, float]) -> dict[str, float]:
    """The p-values of several tests, corrected so that the chance of any false alarm stays (Holm 1979)."""
    corrected: dict[str, float] = {}
    largest = 0.0
    for rank, name in enumerate(sorted(p_values, key=lambda name: p_values[name])):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[name]))
        corrected[name] = largest
    return {name: corrected[name] for name in p_values}


def _log_choose(n: int, k: int) -> float:
    return math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1)


def _difference(first: Sequence[float], second: Sequence[float]) -> float:
    return math.fsum(first) / len(first) - math.fsum(second) / len(second)


def _split_difference(chosen: float, total: float, size: int, count: int) -> float:
    return chosen / size - (total - chosen) / (count - size)
