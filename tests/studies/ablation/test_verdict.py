"""Pairs compared: exact tests, how many more would settle it, and sentences that say it plainly."""

import itertools
import math
import random
from pathlib import Path
from statistics import NormalDist

import pytest

from memory.statistics.paired_tests import bootstrap_mean, pairs_needed, sign_flip_test
from studies.ablation.arms import parse_arms
from studies.ablation.outcome import Outcome
from studies.ablation.plan import make_plan
from studies.ablation.study import Study
from studies.ablation.verdict import StudyResult, sum_up
from tests.support.proposals import make_task


def test_a_sign_flip_test_goes_through_all_signs() -> None:
    differences = [0.3, -0.1, 0.4, 0.2, 0.05]
    observed = abs(math.fsum(differences))
    signs = list(itertools.product((1, -1), repeat=5))
    extreme = sum(abs(sum(s * d for s, d in zip(sign, differences, strict=True))) >= observed - 1e-12 for sign in signs)
    assert sign_flip_test(differences).p == extreme / 32
    assert sign_flip_test([0.0, 0.0]).p == 1.0
    assert sign_flip_test([1.0] * 30).p == pytest.approx(1 / 10001)


@pytest.mark.system
def test_intervals_cover_and_pairs_needed_settle() -> None:
    """Of 60 studies of 25 pairs the interval has the truth in it nine times of ten; with the pairs that are needed
    four of five tests tell the difference.
    """
    rng = random.Random(3)
    covered = sum(_covers([rng.gauss(0.5, 1) for _ in range(25)], 0.5, n) for n in range(60))
    assert 51 <= covered <= 60
    normal = [NormalDist().inv_cdf((i + 0.5) / 50) for i in range(50)]
    scale = 1 / math.sqrt(math.fsum(x * x for x in normal) / 49)
    needed = pairs_needed([0.5 + scale * x for x in normal])
    assert needed == 34  # 31.4 by the normal approximation, and the correction
    told = sum(sign_flip_test([rng.gauss(0.5, 1) for _ in range(needed)], n).p < 0.05 for n in range(40))
    assert told >= 26
    assert pairs_needed([0.1, -0.1]) is None and pairs_needed([1.0]) is None


def _covers(differences: list[float], truth: float, seed: int) -> bool:
    found = bootstrap_mean(differences, seed)
    assert found is not None
    return found[0] <= truth <= found[1]


def study(arms: str, first: list[float], second: list[float]) -> StudyResult:
    """A study of scores to be minimised that came to these bests; a NaN is a failure."""
    plan = make_plan(parse_arms(arms), 3, "tpe", {})
    outcomes = {
        f"{pair:04d}-{arm}": Outcome(
            pair=pair,
            arm=arm,
            seed=pair,
            failed="no memory" if math.isnan(best) else None,
            measures={} if math.isnan(best) else {"best": best, "area": best, "false_keeps": None},
            curve=() if math.isnan(best) else (2.0, best),
        )
        for arm, bests in enumerate((first, second))
        for pair, best in enumerate(bests)
    }
    return sum_up(Study(folder=Path("s"), plan=plan, pairs=len(first), task=make_task(), files={}, outcomes=outcomes))


def test_a_clear_difference_is_a_verdict() -> None:
    result = study("proposer=tpe,proposer=random", [1.0, 1.1, 1.0, 1.2, 1.1, 1.0], [1.5, 1.5, 1.6, 1.7, 1.4, 1.5])
    assert result.verdict.startswith("proposer=tpe is better than proposer=random: its best is lower by 0.4667 [0.3")
    assert (result.pairs, result.pairs_to_settle) == (6, 0)
    assert result.differences["best"].p == 2 / 64
    assert result.model_dump(mode="json").keys() >= {"arms", "pairs", "differences", "pairs_to_settle", "verdict"}


def test_a_model_that_loses_is_told_so() -> None:
    result = study("proposer=smol,proposer=random", [1.5, 1.5, 1.6, 1.7, 1.4, 1.5], [1.0, 1.1, 1.0, 1.2, 1.1, 1.0])
    assert result.verdict.startswith("The model loses to random search: proposer=random is better than proposer=smol")


def test_what_is_not_settled_says_what_would() -> None:
    result = study("model=smol,proposer=tpe", [1.0, 1.2, 1.1, 1.3], [1.1, 1.1, 1.2, 1.3])
    assert result.verdict.startswith("Nothing shows that model=smol is better than proposer=tpe, which asks no model")
    assert result.pairs_to_settle is not None and f"about {result.pairs_to_settle} more pairs" in result.verdict
    same = study("rule=strict,rule=sequential", [1.0, 1.0], [1.0, 1.0])
    assert same.pairs_to_settle is None
    assert same.verdict == "rule=strict and rule=sequential ended at the same score in every pair (2 pairs)."


def test_a_failure_is_told_and_its_pair_left_out() -> None:
    result = study("proposer=tpe,proposer=random", [1.0, math.nan, 1.0], [1.5, 1.5, 1.6])
    assert result.pairs == 2
    assert "1 campaign failed and counts nowhere" in result.verdict
    assert result.arms[0].failed == ["pair 1: no memory"]
