"""Two arms: counts, ratios and exact tests, held against enumeration, published figures and what is always true."""

import math
import random
from fractions import Fraction
from itertools import combinations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from memory.figures.analysis import TrialRow
from memory.figures.comparison import ONE_ARM, ONE_EACH, CampaignRows, compare_arms
from memory.statistics.exact_tests import MOST_SPLITS, bootstrap_interval, fisher_exact, holm, permutation_test
from rails.status import Status
from tests.support.examples import examples

COUNTS = st.integers(0, 12)


def by_enumeration(a: int, n: int, b: int, m: int) -> Fraction:
    """The definition, in whole numbers."""
    ways = [math.comb(n, x) * math.comb(m, a + b - x) if a + b >= x else 0 for x in range(n + 1)]
    return Fraction(sum(way for way in ways if way <= ways[a]), math.comb(n + m, a + b))


@settings(max_examples=examples(300), deadline=None)
@given(st.data())
def test_fisher_is_what_enumeration_gives(data: st.DataObject) -> None:
    n, m = data.draw(COUNTS), data.draw(COUNTS)
    a, b = data.draw(st.integers(0, n)), data.draw(st.integers(0, m))
    assert fisher_exact(a, n, b, m) == pytest.approx(float(by_enumeration(a, n, b, m)), rel=1e-9)


def test_fisher_on_published_tables() -> None:
    assert fisher_exact(16, 200, 3, 200) == pytest.approx(0.0036, abs=5e-5)
    assert fisher_exact(16, 200, 3, 200) == pytest.approx(float(by_enumeration(16, 200, 3, 200)), rel=1e-9)
    assert fisher_exact(3, 4, 1, 4) == pytest.approx(34 / 70)  # Fisher's lady and her eight cups, two-sided
    assert fisher_exact(0, 0, 5, 9) == 1.0


@given(st.integers(0, 400), st.integers(0, 400))
def test_fisher_does_not_care_which_arm_is_first(a: int, b: int) -> None:
    p = fisher_exact(a, 400, b, 400)
    assert 0 < p <= 1
    assert p == pytest.approx(fisher_exact(b, 400, a, 400))
    assert p == pytest.approx(fisher_exact(400 - a, 400, 400 - b, 400))


@pytest.mark.parametrize("counts", [(5, 4, 1, 4), (-1, 4, 1, 4), (1, 4, 5, 4)])
def test_counts_that_cannot_be(counts: tuple[int, int, int, int]) -> None:
    with pytest.raises(ValueError, match="counts"):
        fisher_exact(*counts)


def test_a_permutation_test_goes_through_all_splits() -> None:
    found = permutation_test([3.0, 4.0, 5.0], [0.0, 1.0, 2.0])
    assert found.p == pytest.approx(2 / 20)
    assert "all 20 splits" in found.method
    assert permutation_test([1.0], [1.0]).p == 1.0
    with pytest.raises(ValueError, match="campaign"):
        permutation_test([], [1.0])


@settings(deadline=None, max_examples=examples(40))
@given(st.lists(st.integers(-5, 5), min_size=1, max_size=5), st.lists(st.integers(-5, 5), min_size=1, max_size=5))
def test_permutations_by_the_definition(first: list[int], second: list[int]) -> None:
    values = [*first, *second]

    def difference(chosen: tuple[int, ...]) -> Fraction:
        ours = [values[place] for place in chosen]
        theirs = [value for place, value in enumerate(values) if place not in chosen]
        return abs(Fraction(sum(ours), len(ours)) - Fraction(sum(theirs), len(theirs)))

    splits = list(combinations(range(len(values)), len(first)))
    observed = difference(tuple(range(len(first))))
    expected = sum(difference(split) >= observed for split in splits) / len(splits)
    assert permutation_test([float(v) for v in first], [float(v) for v in second]).p == pytest.approx(expected)


def test_many_campaigns_are_drawn_by_seed() -> None:
    rng = random.Random(1)
    first, second = [rng.gauss(1, 1) for _ in range(12)], [rng.gauss(0, 1) for _ in range(12)]
    assert math.comb(24, 12) > MOST_SPLITS
    found = permutation_test(first, second)
    assert found == permutation_test(first, second)
    assert found.p > 0
    assert "seed 0" in found.method
    assert permutation_test(first, first).p == 1.0


def test_a_bootstrap_interval_holds_the_difference() -> None:
    first, second = [1.0, 1.1, 1.2, 0.9], [0.1, 0.0, 0.2, -0.1]
    interval = bootstrap_interval(first, second)
    assert interval is not None
    assert interval[0] < 1.0 < interval[1]
    assert interval[0] > 0.7
    assert interval == bootstrap_interval(first, second)
    assert bootstrap_interval([1.0], second) is None


def test_holm() -> None:
    assert holm({"a": 0.01, "b": 0.04, "c": 0.03}) == pytest.approx({"a": 0.03, "b": 0.06, "c": 0.06})
    assert holm({}) == {}


def campaign(name: str, keeps: int, overruns: int, discards: int = 10, *, gain: float = 0.01) -> CampaignRows:
    rows = [TrialRow(trial=0, status=Status.BASELINE, metric=2.0, seconds=99.0)]
    best = 2.0
    for _ in range(keeps):
        best -= 2 * gain
        rows.append(TrialRow(trial=len(rows), status=Status.KEEP, metric=best, gain=gain, seconds=10.0))
    rows += [TrialRow(trial=len(rows) + n, status=Status.EVAL_BUDGET_OVERRUN, seconds=30.0) for n in range(overruns)]
    rows += [
        TrialRow(trial=500 + n, status=Status.DISCARD, metric=2.1, gain=-0.05, seconds=10.0) for n in range(discards)
    ]
    return CampaignRows(name=name, rows=rows)


def test_one_campaign_an_arm() -> None:
    found = compare_arms([campaign("on", 8, 2)], [campaign("off", 2, 8)], margin=0.015)
    on, off = found.arms
    assert (on.trials, on.statuses, on.best, on.baseline) == (
        20,
        {"keep": 8, "eval_budget_overrun": 2, "discard": 10},
        pytest.approx(1.84),
        2.0,
    )
    assert on.gain == pytest.approx(0.08)
    assert (on.keep_rate, on.wasted_s, off.wasted_s, on.seconds_s) == (0.4, 60.0, 240.0, 240.0)
    assert off.seconds_by_status == {"keep": 20.0, "eval_budget_overrun": 240.0, "discard": 100.0}
    assert (on.keeps_over_margin, off.keeps_over_margin) == (8, 2)
    assert found.ratios["keeps"] == 4.0
    assert found.ratios["wasted_s"] == 0.25
    assert found.ratios["eval_budget_overrun_s"] == 0.25
    assert found.tests["keeps"].p == pytest.approx(fisher_exact(8, 20, 2, 20))
    assert found.tests["eval_budget_overrun"].p == pytest.approx(fisher_exact(2, 20, 8, 20))
    assert ONE_EACH in found.warnings


def test_a_margin_goes_through_the_ratchet_again() -> None:
    """Steps of 0.02 and of 0.04 in the metric: of the small ones every second adds up to more than 0.03."""
    found = compare_arms([campaign("a", 5, 0)], [campaign("b", 5, 0, gain=0.02)], margin=0.03)
    assert [arm.keeps_over_margin for arm in found.arms] == [2, 5]
    assert found.ratios["keeps_over_margin"] == 0.4
    assert compare_arms([campaign("a", 1, 0)], [campaign("b", 1, 0)], margin=0.03).arms[0].keeps_over_margin == 0


def test_several_campaigns_are_the_unit() -> None:
    first = [campaign(f"on{n}", 6 + n, 1) for n in range(4)]
    second = [campaign(f"off{n}", n, 6) for n in range(4)]
    found = compare_arms(first, second)
    keeps = found.tests["keeps"]
    assert keeps.method.startswith("permutation of campaigns, all 70")
    assert keeps.p == pytest.approx(2 / 70)
    assert keeps.low is not None and keeps.high is not None and keeps.difference is not None
    assert 0 < keeps.low < keeps.difference < keeps.high
    assert {"gain", "wasted_share", "eval_budget_overrun"} <= found.tests.keys()
    assert found.arms[0].campaigns == ["on0", "on1", "on2", "on3"]
    assert found.warnings == []
    assert ONE_ARM in compare_arms(first, second[:1]).warnings


def test_an_arm_against_itself_shows_nothing() -> None:
    for arm in ([campaign("a", 3, 2)], [campaign("a", 3, 2), campaign("b", 5, 1)]):
        found = compare_arms(arm, arm, margin=0.0)
        assert all(test.p == pytest.approx(1.0) for test in found.tests.values())
        assert all(ratio == pytest.approx(1.0) for ratio in found.ratios.values())


def test_what_is_not_measured_is_not_compared() -> None:
    bare = CampaignRows(name="bare", rows=[TrialRow(trial=1, status=Status.KEEP, metric=1.0)])
    empty = CampaignRows(name="empty", rows=[])
    found = compare_arms([bare], [empty])
    assert (found.arms[0].seconds_s, found.arms[0].wasted_s, found.arms[0].gain) == (None, None, None)
    assert (found.arms[1].keep_rate, found.arms[1].best) == (None, None)
    assert found.ratios["seconds_s"] is None
    assert any("no baseline" in warning for warning in found.warnings)


def test_arms_that_measure_otherwise_are_told_of() -> None:
    other = CampaignRows(name="b", rows=campaign("b", 1, 1).rows, metric="core_metric", direction="maximize")
    assert any("core_metric" in warning for warning in compare_arms([campaign("a", 1, 1)], [other]).warnings)
