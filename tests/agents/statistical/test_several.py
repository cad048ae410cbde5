"""`cma` and `gp`: whole settings, legal and new, the same from the same rows, and better than chance at the end."""

import json
import math
from collections.abc import Mapping
from typing import Any

import pytest

from agents.base import Feedback, KnobValue, NoReplyError, Proposer
from agents.statistical.history import read_history
from agents.statistical.moves import config_key
from agents.statistical.several import CmaProposer, GpProposer
from memory.records import Trial, TrialKind
from rails.menu import Menu
from rails.status import Status
from tests.support.proposals import make_context, make_task, make_trial

TASK = make_task(modes=("knob", "knobs"))
PROPOSERS: list[Proposer] = [CmaProposer(), GpProposer()]


def score(knobs: Mapping[str, KnobValue]) -> float:
    """Lower is better; the best is depth 5, width 192, a rate of 0.05, and the window does a little."""
    depth, width, rate = (float(str(knobs[name])) for name in ("depth", "width", "matrix_lr"))
    loss = 0.02 * abs(depth - 5) + 0.1 * abs(math.log2(width / 192)) + 0.05 * math.log2(rate / 0.05) ** 2
    return 1.5 + loss + (0.0 if knobs["window"] == "SL" else 0.02)


def campaign(proposer: Proposer, trials: int, seed: int = 7) -> tuple[list[Trial], dict[str, KnobValue]]:
    """A campaign that keeps whatever is better; a narrow width with a high rate fails."""
    knobs: dict[str, KnobValue] = dict(TASK.menu.defaults())
    best, parent = score(knobs), "t0"
    rows = [
        make_trial(
            0, "x", 1, Status.BASELINE, trial_id="t0", kind=TrialKind.BASELINE, edit=None, parent_trial_id=None,
            metric=best,
        )
    ]  # fmt: skip
    for seq in range(1, trials + 1):
        context = make_context(TASK, knobs=knobs, trials=tuple(rows), trial_seq=seq, seed=seed)
        reply = json.loads(proposer.propose(context).raw)
        assert list(reply) == ["knobs", "reason"] and reply["knobs"]
        assert all(value != knobs[name] for name, value in reply["knobs"].items())
        found = {**knobs, **reply["knobs"]}
        assert legal(TASK.menu, found)
        failed = found["width"] == 64 and float(str(found["matrix_lr"])) > 0.1
        kept = not failed and score(found) < best
        rows.append(
            make_trial(
                seq, "x", 1, Status.CRASH if failed else Status.KEEP if kept else Status.DISCARD,
                edit={"kind": "knobs", "values": reply["knobs"]}, parent_trial_id=parent,
                metric=None if failed else score(found),
            )
        )  # fmt: skip
        if kept:
            knobs, best, parent = found, score(found), f"t{seq}"
    return rows, knobs


def legal(menu: Menu, values: Mapping[str, Any]) -> bool:
    return all(menu.knobs[name].check(value) is None for name, value in values.items()) and not menu.broken_rule(values)


@pytest.mark.system
@pytest.mark.parametrize(
    ("proposer", "trials"),
    [pytest.param(PROPOSERS[0], 24, id="cma"), pytest.param(PROPOSERS[1], 16, id="gp", marks=pytest.mark.slow)],
)
def test_settings_are_legal_new_and_get_better(proposer: Proposer, trials: int) -> None:
    rows, knobs = campaign(proposer, trials)
    history = read_history(rows, TASK.menu, knobs)
    assert len({config_key(point.knobs) for point in history.points}) == trials + 1
    assert score(knobs) < score(TASK.menu.defaults()) - 0.05
    assert any(len((row.edit or {})["values"]) > 2 for row in rows[1:])


@pytest.mark.parametrize("proposer", PROPOSERS, ids=lambda proposer: proposer.name)
def test_the_same_rows_give_the_same_and_what_was_refused_is_not_said_again(proposer: Proposer) -> None:
    rows, knobs = campaign(proposer, 6)
    context = make_context(TASK, knobs=knobs, trials=tuple(rows), trial_seq=7)
    raw = proposer.propose(context).raw
    assert type(proposer)().propose(context).raw == raw
    refused = Feedback(raw_reply=raw, rail="outside", reason="not recorded")
    again = make_context(TASK, knobs=knobs, trials=tuple(rows), trial_seq=7, attempt=1, feedback=(refused,))
    assert json.loads(proposer.propose(again).raw)["knobs"] != json.loads(raw)["knobs"]


@pytest.mark.parametrize("proposer", PROPOSERS, ids=lambda proposer: proposer.name)
def test_a_menu_that_is_used_up_and_a_task_that_allows_no_such_edit(proposer: Proposer) -> None:
    with pytest.raises(NoReplyError, match="several knobs"):
        proposer.propose(make_context(make_task()))
    two = make_task(modes=("knob", "knobs"), knobs={"a": {"type": "int", "choices": [1, 2], "default": 1}})
    fields: dict[str, Any] = {"trial_id": "t0", "kind": TrialKind.BASELINE, "edit": None, "parent_trial_id": None}
    rows = (make_trial(0, "a", 1, Status.BASELINE, **fields), make_trial(1, "a", 2, Status.DISCARD, -0.1))
    with pytest.raises(NoReplyError, match="every setting"):
        proposer.propose(make_context(two, trials=rows, trial_seq=2, knobs={"a": 1}))
