"""Knobs, failures, time and lineage of a night, as its report has them."""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memory.figures.failures import failures_of
from memory.figures.knobs import MOST_VALUES, coverage_of
from memory.figures.reading import data_of_records
from memory.figures.seconds import time_of
from memory.figures.tree import flattened, main_way, near_of, tree_of
from memory.keep.near_misses import near_misses
from memory.record_set import RecordSet
from memory.records import Span
from rails.status import FINISHED, QUARANTINED, Status
from tests.support.report_data import Night, many_trials_data
from tests.support.rows import JSON_VALUES

MENU = {
    "menu": {
        "knobs": {
            "lr": {"type": "float", "range": [0.001, 0.1], "default": 0.01},
            "depth": {"type": "int", "choices": [2, 4, 8], "default": 4},
            "idle": {"type": "int", "choices": [0, 1], "default": 0},
        }
    }
}


def knob(name: str, value: object) -> dict[str, object]:
    return {"edit": {"kind": "knob", "knob": name, "value": value}, "edit_key": f"{name}={value}"}


def test_knobs_are_counted_by_value_and_outcome() -> None:
    night = Night([2.0, 2.02], task=MENU)
    night.add(Status.KEEP, [1.9], gain=0.05, **knob("lr", 0.02))
    night.add(Status.DISCARD, [1.95], gain=-0.01, **knob("lr", 0.02))
    night.add(Status.CRASH, [], **knob("depth", 8))
    night.add(Status.INTERRUPTED, [], **knob("depth", 2))
    night.add(Status.DISCARD, [2.0], gain=-0.05, edit={"kind": "diff", "diff": "x"})
    coverage = coverage_of(night.data())
    lr, depth = coverage.knobs
    assert (lr.name, lr.trials, lr.keeps, lr.numeric, lr.low, lr.high) == ("lr", 2, 1, True, 0.001, 0.1)
    assert lr.logarithmic
    (value,) = lr.values
    assert (value.value, value.trials, value.keeps, value.discards, value.failures) == (0.02, 2, 1, 1, 0)
    assert value.gains == (-0.01, pytest.approx(0.005), pytest.approx(0.02), pytest.approx(0.035), 0.05)
    assert (depth.name, depth.trials, depth.values[0].failures, depth.choices) == ("depth", 1, 1, (2, 4, 8))
    assert [k.name for k in coverage.untouched] == ["idle"]
    assert coverage.other_edits == 1


def test_many_numbers_are_summed_up_in_bins_that_lose_none() -> None:
    night = Night([2.0, 2.02], task=MENU)
    for step in range(95):
        night.add(Status.DISCARD, [2.0], gain=-0.001 * step, **knob("lr", 0.001 * (step + 1)))
    (lr,) = coverage_of(night.data()).knobs
    assert len(lr.values) <= MOST_VALUES
    assert sum(value.trials for value in lr.values) == 95
    assert all(value.last is not None and value.last >= float(value.value) for value in lr.values)


def test_a_log_without_a_menu_shows_what_was_tried_and_its_gains_over_the_baseline() -> None:
    night = Night([2.0], task={})
    for value in (1, 3, "deep"):
        night.add(Status.DISCARD, [1.9], **knob("depth", value))
    (depth,) = coverage_of(night.data(source="their.jsonl")).knobs
    assert not depth.numeric and depth.choices == (1, 3, "deep")
    assert depth.outcomes[0].gain == pytest.approx(0.05)


@given(menu=JSON_VALUES, value=st.text() | st.integers() | st.floats(allow_nan=False) | st.booleans())
def test_whatever_a_log_has_for_a_menu_is_read_or_left_out(menu: object, value: object) -> None:
    night = Night([2.0], task={"menu": {"knobs": {"lr": menu}}})
    night.add(Status.DISCARD, [1.9], **knob("lr", value))
    assert len(coverage_of(night.data()).knobs) == 1
    assert coverage_of(Night([2.0], task={"menu": menu}).data()).knobs == ()


def test_failures_are_told_by_kind_and_reason() -> None:
    night = Night([2.0])
    night.add(Status.CRASH, [], reason="out of memory at step 7")
    night.add(Status.CRASH, [], reason="out of memory at step 12")
    night.add(Status.CRASH, [], reason="shapes differ")
    night.add(Status.INTERRUPTED, [], reason="interrupted by a signal")
    night.add(Status.SIZE_BLOCKED, [], reason="too big")
    kinds = failures_of(night.data())
    assert [(k.status, k.count, k.seconds, k.quarantined) for k in kinds] == [
        (Status.CRASH, 3, 30.0, False),
        (Status.SIZE_BLOCKED, 1, 10.0, False),
        (Status.INTERRUPTED, 1, 10.0, True),
    ]
    assert [(r.text, r.count, r.trials) for r in kinds[0].reasons] == [
        ("out of memory at step 12", 2, (1, 2)),
        ("shapes differ", 1, (3,)),
    ]


def test_every_failure_is_counted_once() -> None:
    data = many_trials_data(300)
    failed = [t for t in data.search if t.status not in FINISHED]
    assert sum(kind.count for kind in failures_of(data)) == len(failed)
    assert [kind.status for kind in failures_of(data) if kind.quarantined] == sorted(
        {t.status for t in failed if t.status in QUARANTINED}, key=lambda s: -sum(t.status is s for t in failed)
    )


def test_the_parts_of_the_time_add_up_to_the_work() -> None:
    night = Night([2.0])
    night.add(Status.DISCARD, [2.0], total_s=50.0)
    spans = [("propose", "proposer", 5.0), ("train", "startup", 2.0), ("train", "train", 20.0)]
    spans += [
        ("evaluate", "score", 3.0),
        ("evaluate", "probe", 1.0),
        ("trial", "total", 40.0),
        ("curate", "total", 4.0),
        ("curate", "lesson", 2.0),
    ]
    spans += [("finale", "finale_train", 6.0), ("finale", "finale_score", 1.0)]
    records = RecordSet(
        campaign=night.campaign.model_copy(
            update={"active_s": 60.0, "ended_at": night.campaign.created_at + timedelta(seconds=200)}
        ),
        trials=night.trials,
        measurements=night.measurements,
        spans=[Span(trial_id=night.best.trial_id, node=n, part=p, seconds=s) for n, p, s in spans],
    )
    time = time_of(data_of_records(records))
    parts = {part.name: part.seconds for part in time.parts}
    assert parts == {
        "proposing": 5.0,
        "startup": 2.0,
        "training": 20.0,
        "scoring": 3.0,
        "probing": 1.0,
        "lessons": 2.0,
        "own": 7.0,
        "result on fresh seeds": 7.0,
        "between trials": 13.0,
    }
    assert sum(parts.values()) == time.active_s == 60.0
    assert time.idle is not None and time.idle.seconds == pytest.approx(140.0)
    assert time.by_status == {"discard": 50.0, "baseline": 10.0} and time.failed_s == 0.0


def test_time_that_was_not_measured_is_not_zero() -> None:
    night = Night([2.0])
    night.trials[0] = night.trials[0].model_copy(update={"total_s": 0.0})
    time = time_of(night.data(source="their.tsv"))
    assert time.active_s is None and time.failed_s is None and time.parts == ()


def test_a_log_has_the_times_of_its_columns() -> None:
    night = Night([2.0])
    night.add(Status.CRASH, [], total_s=30.0, propose_s=4.0, train_s=20.0, score_s=1.0)
    time = time_of(night.data(source="their.tsv"))
    assert {part.name: part.seconds for part in time.parts} == {
        "proposing": 4.0,
        "training": 20.0,
        "scoring": 1.0,
        "not attributed": 15.0,
    }
    assert (time.active_s, time.failed_s, time.idle) == (40.0, 30.0, None)


def test_the_tree_has_the_way_to_the_best_and_what_grew_beside_it() -> None:
    night = Night([2.0, 2.02])
    first = night.add(Status.KEEP, [1.9])
    night.add(Status.DISCARD, [1.95])
    night.add(Status.KEEP, [1.8])
    night.add(Status.CRASH, [])
    beside = night.add(Status.KEEP, [1.85], parent_trial_id=first.trial_id)
    night.add(Status.DISCARD, [1.9], parent_trial_id="nobody")
    data = night.data(incumbent_trial_id=night.trials[3].trial_id)
    tree = tree_of(data)
    assert tree is not None
    shown = [(depth, branch.trial.seq, branch.on_main) for depth, branch in flattened(tree)]
    assert shown == [(0, 0, True), (0, 1, True), (1, beside.seq, False), (0, 3, True)]
    counts = {b.trial.seq: (b.tried, b.kept, b.discarded, b.failed) for _, b in flattened(tree)}
    assert counts == {0: (2, 1, 1, 0), 1: (3, 2, 1, 0), 3: (1, 0, 0, 1), 5: (0, 0, 0, 0)}
    assert [trial.seq for trial in main_way(data)] == [0, 1, 3]


@given(parents=st.lists(st.tuples(st.integers(0, 30), st.booleans()), max_size=30))
def test_every_trial_branches_off_exactly_one_program(parents: list[tuple[int, bool]]) -> None:
    night = Night([2.0])
    for number, (parent, keep) in enumerate(parents):
        on = night.trials[min(parent, number)]
        night.add(Status.KEEP if keep else Status.DISCARD, [1.9], parent_trial_id=on.trial_id)
    data = night.data()
    tree = tree_of(data)
    assert tree is not None
    rows = flattened(tree)
    assert sorted(branch.trial.seq for _, branch in rows) == [0, *(t.seq for t in data.keeps)]
    assert sorted(seq for _, branch in rows for seq, _ in branch.children) == [t.seq for t in data.search]


def test_near_misses_are_those_of_the_command() -> None:
    data = many_trials_data(200)
    assert near_of(data) == near_misses(data.trials, data.own_noise) != []
