"""The data of the main figure: bands, intervals, the best so far, and what becomes of 10,000 trials."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memory.figures.trajectory import (
    COLUMNS,
    MOST_POINTS,
    STOPPED_EARLY,
    band_of,
    margin_of,
    quantile,
    shown_range,
    trajectory_of,
)
from memory.statistics.noise import Noise
from memory.statistics.student_t import t_quantile
from rails.status import Status
from tests.support.report_data import FINAL, Night, many_trials_data


def test_every_decided_trial_is_somewhere_exactly_once() -> None:
    data = many_trials_data(400)
    t = trajectory_of(data)
    seen = [0, *(m.trial for m in t.keeps), *(p.trial for p in t.points), *(n for lane in t.lanes for n in lane.trials)]
    assert sorted(seen) == [trial.seq for trial in data.decided]


def test_lanes_are_named_by_status_and_what_was_stopped_early_is_no_failure() -> None:
    night = Night([2.0, 2.02])
    night.add(Status.CRASH, [])
    night.add(Status.DISCARD, [], reason="hopeless")
    night.add(Status.RAIL_BLOCKED, [])
    night.add(Status.CRASH, [])
    lanes = trajectory_of(night.data()).lanes
    assert [(lane.name, lane.trials) for lane in lanes] == [
        (STOPPED_EARLY, (2,)),
        ("crash", (1, 4)),
        ("rail_blocked", (3,)),
    ]


def test_a_mark_is_the_mean_of_all_measurements_with_its_interval() -> None:
    night = Night([2.0, 2.02, 1.98])
    night.add(Status.KEEP, [1.9, 1.94])
    t = trajectory_of(night.data())
    (keep,) = t.keeps
    assert keep.n == 2 and keep.metric == pytest.approx(1.92)
    noise = night.data().noise
    assert noise.sd is not None and keep.high is not None
    assert keep.high - keep.metric == pytest.approx(t_quantile(0.975, noise.df) * noise.sd / math.sqrt(2))
    assert t.steps[0].band == pytest.approx(t_quantile(0.975, noise.df) * noise.sd * math.sqrt(1 + 1 / 3))


def test_the_best_so_far_never_gets_worse_and_starts_at_the_baseline() -> None:
    night = Night([2.0])
    for score in (1.9, 1.95, 1.8):  # a strict rule may keep what turns out worse
        night.add(Status.KEEP, [score])
    steps = trajectory_of(night.data()).steps
    assert [(step.trial, step.metric) for step in steps] == [(0, 2.0), (1, 1.9), (3, 1.8)]
    assert [step.band for step in steps] == [None] * 3, "nothing was measured twice"


def test_higher_can_be_better() -> None:
    task = {"metric": {"name": "accuracy", "direction": "maximize"}}
    night = Night([0.5], task=task)
    for score in (0.6, 0.55):
        night.add(Status.KEEP, [score])
    t = trajectory_of(night.data())
    assert (t.metric, t.direction) == ("accuracy", "maximize")
    assert [step.trial for step in t.steps] == [0, 1]


def test_what_was_measured_again_stands_apart() -> None:
    night = Night([2.0, 2.02, 1.98])
    night.add(Status.KEEP, [1.94])
    fresh = trajectory_of(night.data(final=FINAL)).fresh
    assert fresh is not None
    assert [(mark.trial, mark.metric, mark.n) for mark in fresh] == [(0, 2.0, 2), (1, 1.96, 2)]
    assert fresh[1].high == pytest.approx(1.96 + t_quantile(0.975, 4) * 0.01 / math.sqrt(2))
    assert trajectory_of(night.data()).fresh is None


def test_many_trials_become_columns_that_hide_none() -> None:
    t = trajectory_of(many_trials_data(2 * MOST_POINTS))
    assert t.points == () and 0 < len(t.columns) <= COLUMNS
    data = many_trials_data(2 * MOST_POINTS)
    scored = [trial for trial in data.search if trial.status is Status.DISCARD and trial.metric is not None]
    assert sum(column.count for column in t.columns) == len(scored)
    for column in t.columns:
        inside = [trial.metric or 0 for trial in scored if column.first <= trial.seq <= column.last]
        assert (len(inside), min(inside), max(inside)) == (column.count, column.low, column.high)
        assert column.low <= column.quarter <= column.median <= column.three_quarters <= column.high


def test_nothing_at_all_is_empty() -> None:
    night = Night([2.0])
    night.trials.clear()
    t = trajectory_of(night.data())
    assert t.empty and t.last == 0 and shown_range(t) == (0.0, 1.0)


@pytest.mark.parametrize("function", [band_of, margin_of])
def test_without_noise_there_is_no_interval(function: object) -> None:
    assert callable(function)
    assert function(Noise(sd=None, df=0), 3) is None
    assert function(Noise(sd=0.1, df=2), 0) is None


scores = st.floats(0.1, 100)


@given(
    baseline=st.lists(scores, min_size=1, max_size=3), others=st.lists(st.tuples(st.booleans(), scores), max_size=30)
)
def test_the_range_holds_all_marks_and_most_trials(baseline: list[float], others: list[tuple[bool, float]]) -> None:
    night = Night(baseline)
    for keep, score in others:
        night.add(Status.KEEP if keep else Status.DISCARD, [score])
    t = trajectory_of(night.data())
    low, high = shown_range(t)
    assert low < high
    for mark in [*([t.baseline] if t.baseline else []), *t.keeps]:
        assert low <= mark.metric <= high
        assert mark.low is None or (low <= mark.low and mark.high is not None and mark.high <= high)
    assert all(point.metric >= low for point in t.points), "lower is better, and nothing good is left out"
    assert sum(point.metric > high for point in t.points) <= max(1, 0.1 * len(t.points))


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=30), st.floats(0, 1))
def test_a_quantile_lies_between_the_ends(values: list[float], share: float) -> None:
    ordered = sorted(values)
    assert ordered[0] <= quantile(ordered, share) + 1e-6 and quantile(ordered, share) <= ordered[-1] + 1e-6
    assert quantile(ordered, 0) == ordered[0] and quantile(ordered, 1) == ordered[-1]
