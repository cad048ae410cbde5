"""Ideas: drawn from what was tried, legal on today's best, and never tried before."""

from dataclasses import astuple
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from memory.lineage.digest import digest_of
from memory.lineage.knobs import mirrored
from memory.lineage.prospects import Change, Prospects
from memory.records import Trial
from memory.statistics.noise import Noise
from rails.menu import Knob
from rails.status import Status
from tests.support.examples import examples
from tests.support.histories import BASELINE, CAMPAIGN, code_trial, interval, knob_trial, outcomes, trial_id

NOISE = Noise(sd=0.004, df=6)


def prospects(*trials: Trial, best: Trial = BASELINE, **options: Any) -> Prospects:
    return Prospects(digest_of(CAMPAIGN, [BASELINE, *trials]), best, **options)


def near(seq: int, knob: str, value: Any, gain: float = 0.002, p: float | None = 0.7, **fields: Any) -> Trial:
    return knob_trial(seq, knob, value, **{**interval(gain, 0.01, p), **fields})


def lost(seq: int, knob: str, value: Any, gain: float = -0.02, **fields: Any) -> Trial:
    return knob_trial(seq, knob, value, **{**interval(gain, 0.005), **fields})


def pairs(*trials: Trial, best: Trial = BASELINE, limit: int | None = None) -> list[tuple[int, int]]:
    digest = digest_of(CAMPAIGN, [BASELINE, *trials])
    found = Prospects(digest, best).combinations(digest.near_misses(NOISE, 100)[0], limit)
    return [(pair.first.trial, pair.second.trial) for pair in found]


# Combinations


def test_pairs_are_ordered_by_the_chance_that_both_are_real() -> None:
    trials = [
        near(1, "depth", 4, 0.001, 0.6),
        near(2, "matrix_lr", 0.01, 0.002, 0.9),
        near(3, "warmup", 0.1, 0.003, 0.8),
        near(4, "window", "SL", 0.05, None),
    ]
    assert pairs(*trials) == [(2, 3), (2, 1), (3, 1), (3, 4), (2, 4), (1, 4)]
    assert pairs(*trials, limit=2) == [(2, 3), (2, 1)]


def test_a_pair_says_what_it_is_made_of() -> None:
    trials = [near(1, "depth", 4, 0.002, 0.8), near(2, "matrix_lr", 0.01, 0.003, 0.7)]
    (pair,) = prospects(*trials).combinations(trials)
    assert astuple(pair.first) == (1, "depth", 4, 0.002)
    assert astuple(pair.second) == (2, "matrix_lr", 0.01, 0.003)
    assert pair.sum_of_gains == pytest.approx(0.005)


def test_one_knob_makes_no_pair_and_the_same_setting_counts_once() -> None:
    assert pairs(near(1, "depth", 4), near(2, "depth", 8)) == []
    assert pairs(near(1, "depth", 4, 0.001), near(2, "depth", 4, 0.002), near(3, "window", "SL", 0.003)) == [(3, 2)]


def test_a_pair_must_keep_the_rules_on_todays_best() -> None:
    # head_dim 128 divides every width but 64 and 192.
    trials = [near(1, "width", 192, 0.003), near(2, "head_dim", 128, 0.002), near(3, "depth", 4, 0.001)]
    assert pairs(*trials) == [(1, 3), (2, 3)]
    narrow = knob_trial(4, "width", 64, Status.KEEP)
    late = near(5, "depth", 4, 0.002, parent_trial_id=trial_id(4))
    assert pairs(near(1, "head_dim", 128), narrow, late, best=narrow) == [], "64 is not divisible by 128"


def test_what_the_incumbent_has_already_is_no_part_of_a_pair() -> None:
    kept = knob_trial(3, "depth", 4, Status.KEEP)
    assert pairs(near(1, "depth", 4), near(2, "window", "SL"), kept, best=kept) == []


def test_both_gains_are_above_none_and_both_knobs_stand_where_they_stood() -> None:
    assert pairs(near(1, "depth", 4), near(2, "matrix_lr", 0.01, -0.0005)) == []
    moved = knob_trial(3, "matrix_lr", 0.04, Status.KEEP)
    old, other = near(1, "matrix_lr", 0.03), near(2, "depth", 4)
    assert pairs(old, other, moved, best=moved) == [], "0.03 was better than 0.02, and 0.04 is kept by now"
    new = near(4, "matrix_lr", 0.03, parent_trial_id=trial_id(3))
    assert pairs(old, other, moved, new, best=moved) == [(2, 4)]


def test_a_pair_that_one_diff_tried_or_that_stood_together_is_not_new() -> None:
    one, other = near(1, "warmup", 0.1), near(2, "matrix_lr", 0.01)
    both = code_trial(3, {"depth": (2, 4), "matrix_lr": (0.02, 0.01)}, gain=-0.01)
    assert pairs(near(1, "depth", 4), other, both) == []
    assert pairs(one, other, both) == [(1, 2)]
    kept = knob_trial(3, "warmup", 0.1, Status.KEEP)
    beside = knob_trial(4, "matrix_lr", 0.01, gain=-0.01, parent_trial_id=trial_id(3))
    back = knob_trial(5, "warmup", 0.0, Status.KEEP, parent_trial_id=trial_id(3))
    assert pairs(one, other, kept, beside, back, best=back) == []
    assert pairs(one, other, kept, back, best=back) == [(1, 2)]


def test_without_a_menu_nothing_is_suggested() -> None:
    bare = CAMPAIGN.model_copy(update={"task": {}})
    trials = [BASELINE, near(1, "depth", 4), near(2, "window", "SL"), lost(3, "matrix_lr", 0.2)]
    found = Prospects(digest_of(bare, trials), BASELINE)
    assert (found.combinations(trials), found.opposites(), found.extremes(), found.removals()) == ([], [], [], [])


# Opposites


@pytest.mark.parametrize(
    ("loss", "value"),
    [
        (lost(1, "depth", 4), 1),  # 2 · 2 - 4 lies below the range, which ends at 1
        (lost(1, "matrix_lr", 0.04), 0.01),  # halved where doubling lost
        (lost(1, "matrix_lr", 0.002), 0.2),
        (lost(1, "warmup", 0.1), None),  # it stands at the end of its range
        (lost(1, "width", 192), 64),
        (lost(1, "width", 64), 192),
        (lost(1, "window", "SL"), None),  # words have no sides
        (knob_trial(1, "width", 192, **interval(-0.002, 0.01)), None),  # not certain
        (knob_trial(1, "width", 192, Status.CRASH), None),
        (knob_trial(1, "width", 192, gain=-0.1), None),  # no interval
    ],
)
def test_the_other_side_of_a_certain_loss(loss: Trial, value: Any) -> None:
    assert [idea.value for idea in prospects(loss).opposites()] == ([] if value is None else [value])


def test_a_side_that_was_tried_is_no_idea_whatever_came_of_it() -> None:
    for other in (near(2, "width", 64), lost(2, "width", 64), knob_trial(2, "width", 64, Status.CRASH)):
        assert prospects(lost(1, "width", 192), other).opposites() == []
    assert [i.value for i in prospects(lost(1, "width", 192), near(2, "width", 256)).opposites()] == [64]


def test_where_the_search_began_was_tried_too() -> None:
    kept = knob_trial(1, "width", 192, Status.KEEP)
    worse = lost(2, "width", 256, parent_trial_id=trial_id(1))
    assert prospects(kept, worse, best=kept).opposites() == [], "below 192 lies 128, which was not as good"
    warm = knob_trial(1, "warmup", 0.1, Status.KEEP)
    assert ("warmup", 0.0) not in {(c.knob, c.value) for c in prospects(warm, best=warm).extremes()}


def test_an_opposite_must_be_legal_and_start_where_the_knob_still_stands() -> None:
    wide = knob_trial(1, "head_dim", 128, Status.KEEP)
    assert prospects(wide, lost(2, "width", 192), best=wide).opposites() == [], "64 is not divisible by 128"
    moved = knob_trial(2, "width", 256, Status.KEEP)
    assert prospects(lost(1, "width", 192), moved, best=moved).opposites() == []
    again = lost(3, "width", 192, parent_trial_id=trial_id(2))
    assert prospects(moved, again, best=moved).opposites() == [], "192 lies below 256, and above it nothing"


def test_the_most_certain_loss_comes_first() -> None:
    trials = [lost(1, "width", 192, -0.01), lost(2, "width", 256, -0.05), lost(3, "depth", 4, -0.03)]
    (width, depth) = prospects(*trials).opposites()
    assert (width.trial, width.lost_at, width.start, width.value) == (2, 256, 128, 64)
    assert (depth.trial, depth.gain) == (3, -0.03)
    assert width.gain_high == pytest.approx(-0.045)
    assert prospects(*trials).opposites(1) == [width]


def test_a_loss_in_a_diff_says_nothing_of_one_knob() -> None:
    mixed = code_trial(1, {"width": (128, 192)}, **interval(-0.02, 0.005))
    assert prospects(mixed).opposites() == []


@given(st.floats(1.02, 1e4), st.floats(0.01, 100))
def test_mirroring_in_factors_and_in_differences(factor: float, start: float) -> None:
    wide = Knob(name="lr", type="float", range=(1e-7, 1e7), default=1.0)
    value = mirrored(wide, start, start * factor)
    assert isinstance(value, float) and value < start
    assert value == pytest.approx(start / factor, rel=0.02)
    narrow = Knob(name="x", type="float", range=(-1e9, 1e9), default=0.0)
    value = mirrored(narrow, 0.0, factor)
    assert isinstance(value, float) and value == pytest.approx(-factor, rel=0.02)


# Again on today's best


def test_what_was_measured_against_an_earlier_best_may_be_tried_again() -> None:
    old, kept = near(1, "matrix_lr", 0.01), knob_trial(2, "depth", 4, Status.KEEP)
    new = near(3, "window", "SL", parent_trial_id=trial_id(2))
    assert prospects(old, kept, new, best=kept).retries([new, old, near(1, "matrix_lr", 0.01)]) == [old]
    again = knob_trial(4, "matrix_lr", 0.01, gain=-0.01, parent_trial_id=trial_id(2))
    assert prospects(old, kept, new, again, best=kept).retries([new, old]) == []
    moved = knob_trial(4, "matrix_lr", 0.04, Status.KEEP, parent_trial_id=trial_id(2))
    assert prospects(old, kept, new, moved, best=moved).retries([old]) == [], "it stood at 0.02 then"
    has_it = knob_trial(5, "matrix_lr", 0.01, Status.KEEP, parent_trial_id=trial_id(2))
    assert prospects(old, kept, has_it, best=has_it).retries([old]) == []


def test_code_may_be_tried_again_until_it_was() -> None:
    old, kept = code_trial(1, {}, **interval(0.002, 0.01)), knob_trial(2, "depth", 4, Status.KEEP)
    assert prospects(old, kept, best=kept).retries([old]) == [old]
    again = code_trial(3, {}, gain=-0.01, edit_key=old.edit_key, parent_trial_id=trial_id(2))
    assert prospects(old, kept, again, best=kept).retries([old]) == []


# Extremes and removals


def test_ends_that_were_never_tried_untouched_knobs_first() -> None:
    found = prospects(near(1, "depth", 4)).extremes()
    assert found[0] == Change(knob="width", current=128, value=64)
    assert ("head_dim", 16) in {(c.knob, c.value) for c in found}
    assert [(c.knob, c.value) for c in found][-2:] == [("depth", 1), ("depth", 8)]
    assert ("window", "L") not in {(c.knob, c.value) for c in found}, "it stands there"
    assert {c.value for c in found if c.knob == "window"} == {"SL", "SSL"}


@pytest.mark.parametrize(
    "bad",
    [
        knob_trial(1, "depth", 4, Status.CRASH),
        lost(1, "depth", 4),
        knob_trial(1, "depth", 4, metric=None, n_measurements=0),
        knob_trial(1, "depth", 8, Status.TRAIN_BUDGET_OVERRUN),
    ],
)
def test_an_end_beyond_what_went_badly_is_passed_over(bad: Trial) -> None:
    assert {c.value for c in prospects(bad).extremes() if c.knob == "depth"} == {1}


def test_extremes_are_legal() -> None:
    values = {(c.knob, c.value) for c in prospects().extremes()}
    assert ("head_dim", 128) in values and ("width", 64) in values
    wide = knob_trial(1, "head_dim", 128, Status.KEEP)
    assert ("width", 64) not in {(c.knob, c.value) for c in prospects(wide, best=wide).extremes()}


def test_the_middle_of_a_wide_stretch_beside_todays_value() -> None:
    # matrix_lr runs from 0.001 to 0.2 in factors, warmup from 0 to 0.5 in differences, depth in whole numbers.
    touched = near(1, "warmup", 0.5), near(2, "matrix_lr", 0.2), near(3, "depth", 3), near(4, "width", 256)
    assert [(c.knob, c.value, c.end) for c in prospects(*touched).gaps()] == [
        ("warmup", 0.25, 0.5),
        ("matrix_lr", 0.00447, 0.001),
        ("matrix_lr", 0.0632, 0.2),
    ]
    filled = near(5, "matrix_lr", 0.03), near(6, "warmup", 0.04)
    assert [(c.knob, c.end) for c in prospects(*touched, *filled).gaps()] == [("matrix_lr", 0.001)]
    assert prospects().gaps() == [], "a knob that was never touched has its ends to try"


def test_a_kept_knob_may_go_back_while_the_rest_stays() -> None:
    first = knob_trial(1, "depth", 4, Status.KEEP)
    second = knob_trial(2, "matrix_lr", 0.01, Status.KEEP, parent_trial_id=trial_id(1))
    found = prospects(first, second, best=second).removals()
    assert found == [Change(knob="depth", current=4, value=2, trial=1)], "without matrix_lr it is trial 1"
    alone = knob_trial(3, "matrix_lr", 0.01, gain=0.001)
    assert prospects(first, second, alone, best=second).removals() == [], "matrix_lr alone was tried in trial 3"
    assert prospects(first, best=first).removals() == [], "without it there is only the start"
    taken = knob_trial(3, "depth", 2, gain=-0.01, parent_trial_id=trial_id(2))
    assert prospects(first, second, taken, best=second).removals() == []


# All of them, always


@settings(max_examples=examples(80), deadline=None)
@given(st.data())
def test_every_idea_is_new_and_legal(data: st.DataObject) -> None:
    trials, kept = [BASELINE], [BASELINE]
    for seq in range(1, data.draw(st.integers(2, 25))):
        parents = [trial.trial_id for trial in kept[-2:]]
        trials.append(data.draw(outcomes(seq, parents)))
        if trials[-1].status is Status.KEEP:
            kept.append(trials[-1])
    digest = digest_of(CAMPAIGN, trials)
    best = kept[-1]
    found = Prospects(digest, best)
    menu = digest.menu
    assert menu is not None
    single = {(t.edit["knob"], t.edit["value"]) for t in digest.trials if t.edit and t.edit["kind"] == "knob"}
    moves = [
        {idea.knob: idea.value} for idea in [*found.opposites(), *found.extremes(), *found.gaps(), *found.removals()]
    ]
    pairs = found.combinations(digest.near_misses(NOISE, 50)[0])
    moves += [{pair.first.knob: pair.first.value, pair.second.knob: pair.second.value} for pair in pairs]
    for move in moves:
        assert all(menu.knobs[name].check(value) is None for name, value in move.items())
        assert all(found.values[name] != value for name, value in move.items())
        assert menu.broken_rule({**found.values, **move}) is None
    for idea in [*found.opposites(), *found.extremes(), *found.gaps()]:
        assert (idea.knob, idea.value) not in single
    for pair in pairs:
        assert pair.first.knob != pair.second.knob
        assert (pair.first.gain or 0) > 0 < (pair.second.gain or 0)
