"""The figures of `analyze`: a recorded sequence with known answers, and invariants on made-up campaigns."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from memory.figures.analysis import Analysis, TrialRow, Unreadable, analyze_rows, analyze_trials
from rails.status import FINISHED, QUARANTINED, Status
from tests.support.rows import KNOBS, make_records

KEYS = [
    *("trials", "statuses", "keep_rate", "first_keep", "best", "baseline", "improvement_frac", "repeats", "coverage"),
    *("top_pairs", "noise", "replicated_best", "unconfirmed_keeps", "seconds", "unreadable"),
]


def row(trial: int, knob: str, value: int, metric: float, status: Status = Status.DISCARD) -> TrialRow:
    return TrialRow(
        trial=trial,
        status=status,
        metric=metric,
        pair=(knob, value),
        program=f"{knob}={value}",
        draws=((None, metric),),
        seconds=10.0,
    )


def failed(trial: int, status: Status) -> TrialRow:
    return TrialRow(trial=trial, status=status, pair=("b", trial), program=str(trial), seconds=3.0)


ROWS = [
    TrialRow(trial=0, status=Status.BASELINE, metric=2.0, program="base", draws=((None, 2.0),), seconds=5.0),
    row(1, "a", 1, 2.1),
    row(2, "a", 2, 1.8, Status.KEEP),
    row(3, "a", 2, 1.9),
    row(4, "a", 1, 2.3),
    failed(5, Status.CRASH),
    failed(6, Status.INTERRUPTED),
    row(7, "a", 2, 2.0),
]


def test_known_answers():
    found = analyze_rows(ROWS, ["a", "b", "c"], unreadable=[Unreadable(line=3, why="torn")])
    assert list(Analysis.model_fields) == KEYS
    assert found.trials == 7
    assert found.statuses == {"discard": 4, "keep": 1, "crash": 1, "interrupted": 1}
    assert found.keep_rate == pytest.approx(1 / 6)
    assert found.first_keep == 2
    assert found.best is not None and (found.best.trial, found.best.metric) == (2, 1.8)
    assert found.baseline == 2.0
    assert found.improvement_frac == pytest.approx(0.1)
    assert found.repeats.count == 3
    assert found.repeats.windows == [0.5]
    assert found.coverage.model_dump() == {
        "knobs_total": 3,
        "knobs_touched": 2,
        "untouched": ["c"],
        "counts": {"a": 5, "b": 1},
    }
    assert found.top_pairs[0].model_dump() == {"knob": "a", "value": 2, "count": 3}
    assert found.noise.sd == pytest.approx(((0.02 + 0.02) / 3) ** 0.5)
    assert (found.noise.df, found.noise.groups) == (3, 2)
    assert found.replicated_best is not None and found.replicated_best.n == 3
    assert found.replicated_best.mean == pytest.approx(1.9)
    assert found.replicated_best.improvement_frac == pytest.approx(0.05)
    assert found.unconfirmed_keeps == [2]
    assert found.seconds.total == 61.0
    assert found.seconds.wasted == 6.0
    assert found.seconds.by_status["interrupted"] == 3.0
    assert found.unreadable == [Unreadable(line=3, why="torn")]


def test_a_metric_to_maximise_turns_everything_round():
    found = analyze_rows(ROWS, ["a"], "maximize")
    assert found.best is not None and found.best.trial == 4
    assert found.improvement_frac == pytest.approx(0.15)


def test_a_replicated_gain_far_above_the_noise_is_confirmed():
    base = [
        TrialRow(trial=0, status=Status.BASELINE, metric=2.0, program="p", draws=((1, 2.0), (2, 2.001), (3, 1.999)))
    ]
    keep = [TrialRow(trial=1, status=Status.KEEP, metric=1.5, program="q", draws=((1, 1.5), (2, 1.501)))]
    assert analyze_rows([*base, *keep], []).unconfirmed_keeps == []
    assert analyze_rows(keep, []).unconfirmed_keeps == [1]


def test_the_same_seed_again_is_no_replicate():
    rows = [
        TrialRow(trial=n, status=Status.DISCARD, metric=1.0, program="p", draws=((seed, 1.0 + n),))
        for n, seed in ((1, 7), (2, 7), (3, 8))
    ]
    assert analyze_rows(rows, []).noise.df == 1


def test_nothing_at_all():
    found = analyze_rows([], ["a"])
    assert (found.trials, found.keep_rate, found.best, found.replicated_best, found.noise.sd) == (
        0,
        None,
        None,
        None,
        None,
    )
    assert found.coverage.untouched == ["a"]


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 60), st.integers(0, 100))
def test_our_own_campaigns(trials: int, seed: int):
    records = make_records(trials, seed, prompt_chars=1)
    found = analyze_trials(records.trials, records.measurements, list(KNOBS))
    search = records.trials[1:]
    assert found.trials == sum(found.statuses.values()) == trials
    assert found.baseline == records.trials[0].metric
    assert found.best is not None
    assert found.best.metric == min(t.metric for t in records.trials if t.metric is not None)
    assert found.seconds.total == pytest.approx(sum(found.seconds.by_status.values()))
    assert found.seconds.wasted == pytest.approx(sum(t.total_s for t in search if t.status not in FINISHED))
    telling = [t for t in search if t.status not in QUARANTINED]
    assert found.repeats.count == len(telling) - len({t.edit_key for t in telling})
    assert found.coverage.knobs_touched + len(found.coverage.untouched) == len(KNOBS)
    assert found.noise.df >= 2
    assert set(found.unconfirmed_keeps) <= {t.seq for t in search if t.status is Status.KEEP}


@pytest.mark.parametrize("edit", [None, {}, {"kind": "knob"}, {"kind": "knob", "knob": "lr", "value": [1]}])
def test_an_edit_that_is_no_move_of_a_knob_is_no_pair(edit: dict[str, Any] | None):
    records = make_records(1, 0, prompt_chars=1)
    trials = [records.trials[0], records.trials[1].model_copy(update={"edit": edit})]
    found = analyze_trials(trials, records.measurements, list(KNOBS))
    assert (found.trials, found.top_pairs, found.repeats.count) == (1, [], 0)
