"""The line that is remembered of a trial, by rule: what was changed, what it did with its interval, what to do now."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memory.lineage.lessons import LIMIT, lesson_for
from memory.records import Phase
from rails.status import FINISHED, QUARANTINED, Status
from rails.text import clean_text
from tests.support.rows import make_campaign, make_trial

KNOB = {"kind": "knob", "knob": "depth", "value": 3}
CHOICE = {"kind": "knob", "knob": "window", "value": "half"}
CODE = {"kind": "diff", "diff": "+x"}
LOSS = {"gain": -0.02, "gain_low": -0.03, "gain_high": -0.01}


def lesson(status: Status | None, **fields: Any) -> str | None:
    finished = status in {Status.KEEP, Status.DISCARD, Status.BASELINE}
    scored = {"metric": 1.7} if finished else {}
    row = {"edit": KNOB, "edit_key": "depth=3", **scored, **fields}
    return lesson_for(make_trial(make_campaign(), 1, status=status, **row))


@pytest.mark.parametrize(
    ("status", "fields", "expected"),
    [
        (
            Status.KEEP,
            {"gain": 0.0123, "gain_low": 0.009, "gain_high": 0.0151, "n_measurements": 4},
            "depth=3 helps: +1.23 % [+0.90, +1.51], 4 x measured; build on it, or go further that way",
        ),
        (
            Status.KEEP,
            {"gain": 0.01, "edit": CODE, "hypothesis": "Fewer heads.", "edit_key": "diff:0"},
            "diff “Fewer heads.” helps: +1.00 %; build on it",
        ),
        (Status.DISCARD, LOSS, "depth=3 hurts: -2.00 % [-3.00, -1.00]; go the other way"),
        (Status.DISCARD, {**LOSS, "edit": CHOICE}, "depth=3 hurts: -2.00 % [-3.00, -1.00]; leave it"),
        (Status.DISCARD, {**LOSS, "edit": CODE}, "depth=3 hurts: -2.00 % [-3.00, -1.00]; take the idea out"),
        (
            Status.DISCARD,
            {"gain": -0.002, "gain_low": -0.01, "gain_high": 0.01, "n_measurements": 1},
            "depth=3 does not help: -0.20 % [-1.00, +1.00], 1 x measured; leave it",
        ),
        (
            Status.DISCARD,
            {"gain": 0.001},
            "depth=3 may help: +0.10 %, not proven; combine it, or try it on a better base",
        ),
        (Status.DISCARD, {"gain": 0.0}, "depth=3 changes nothing; leave it"),
        (Status.DISCARD, {}, "depth=3 ended as discard"),
        (
            Status.CRASH,
            {"reason": "no\nmemory"},
            "depth=3 crashed: no memory; leave it, or change what it names",
        ),
        (Status.SIZE_BLOCKED, {"reason": "9 GB"}, "depth=3 is too large: 9 GB; go smaller"),
        (
            Status.TRAIN_BUDGET_OVERRUN,
            {"reason": "31 s of 20 s"},
            "depth=3 was too slow to train: 31 s of 20 s; make it cheaper",
        ),
        (Status.INTERRUPTED, {"reason": "signal"}, None),
        (Status.HARNESS_ABORT, {"reason": "endpoint"}, None),
        (Status.RAIL_BLOCKED, {"reason": "range"}, None),
        (Status.BASELINE, {}, None),
        (None, {}, None),
    ],
)
def test_lessons_by_rule(status: Status | None, fields: dict[str, Any], expected: str | None) -> None:
    assert lesson(status, **fields) == expected


def test_a_long_reason_is_cut_but_never_the_advice() -> None:
    line = lesson(Status.CRASH, reason="x" * 500, edit_key="a_knob_with_a_long_name=" + "9" * 60)
    assert line is not None and len(line) <= LIMIT
    assert line.endswith("x...; leave it, or change what it names")


@given(
    st.sampled_from(sorted(set(Status) - QUARANTINED)),
    st.text(max_size=300),
    st.text(max_size=300),
    st.one_of(st.none(), st.floats(-1e6, 1e6)),
)
def test_a_lesson_is_one_clean_short_line(status: Status, reason: str, edit_key: str, gain: float | None) -> None:
    numbers = {"metric": 1.0, "gain": gain} if status in FINISHED else {}
    fields: dict[str, Any] = {"reason": f"r{reason}", "edit_key": edit_key, "phase": Phase.DECIDED, **numbers}
    found = lesson_for(make_trial(make_campaign(), 1, status=status, edit=KNOB, **fields))
    if found is not None:
        assert 0 < len(found) <= LIMIT
        assert clean_text(found, LIMIT) == found
