"""`random` and `tpe`: legal, new, reproducible from the rows alone, and better than chance on a known landscape."""

import json
import math
import random
from collections.abc import Mapping
from statistics import mean
from typing import Any

import pytest

from agents.base import Feedback, KnobValue, NoReplyError, Proposer, Reply
from agents.statistical.history import read_history
from agents.statistical.moves import config_key
from agents.statistical.proposers import RandomProposer, TpeProposer
from memory.records import Trial, TrialKind
from rails.status import Status
from rails.task import Task
from tests.support.proposals import make_context, make_task, make_trial

PROPOSERS: list[Proposer] = [RandomProposer(), TpeProposer()]
TASK = make_task()
BEST: dict[str, KnobValue] = {
    "depth": 1,
    "width": 128,
    "head_dim": 128,
    "matrix_lr": 0.03,
    "beta2": 0.98,
    "window": "SL",
}
"""Where the landscape below has its top; `warmup` does nothing there."""


def true_gain(knobs: Mapping[str, KnobValue]) -> float:
    """A landscape with a few neighbouring moves worth 0.3 to 1.6 %, and steep losses further out."""
    gain = 0.016 * (1 - abs(_number(knobs["depth"]) - 1))
    gain -= 0.02 * abs(math.log2(_number(knobs["width"]) / 128))
    gain -= 0.006 * abs(math.log2(_number(knobs["head_dim"]) / 128))
    gain -= 0.006 * math.log2(_number(knobs["matrix_lr"]) / 0.03) ** 2
    gain -= 0.2 * abs(_number(knobs["beta2"]) - 0.98)
    return gain + (0.004 if knobs["window"] == "SL" else 0.0)


def _number(value: KnobValue) -> float:
    assert isinstance(value, int | float)
    return float(value)


def parsed(reply: Reply) -> tuple[str, Any, str]:
    data = json.loads(reply.raw)
    assert list(data) == ["knob", "new_value", "reason"]
    return data["knob"], data["new_value"], data["reason"]


def campaign(
    proposer: Proposer, seed: int, trials: int, task: Task = TASK, noise: float = 0.003
) -> tuple[list[Trial], float]:
    """A simulated campaign under the threshold rule: its trials, and the true gain of what it kept."""
    rng = random.Random(f"noise {seed}")
    knobs: dict[str, KnobValue] = dict(task.menu.defaults())
    start = true_gain(knobs)
    incumbent, seen = "t0", start + rng.gauss(0, noise)
    baseline = make_trial(
        0, "x", 1, Status.BASELINE, 0.0, trial_id="t0", kind=TrialKind.BASELINE, edit=None, parent_trial_id=None
    )
    rows = [baseline]
    for seq in range(1, trials + 1):
        context = make_context(task, knobs=knobs, trials=tuple(rows), trial_seq=seq, seed=seed)
        name, value, _ = parsed(proposer.propose(context))
        changed = {**knobs, name: value}
        measured = true_gain(changed) + rng.gauss(0, noise)
        kept = measured - seen >= 0.003
        status = Status.KEEP if kept else Status.DISCARD
        rows.append(make_trial(seq, name, value, status, measured - seen, parent_trial_id=incumbent))
        if kept:
            knobs, seen, incumbent = changed, measured, f"t{seq}"
    return rows, true_gain(knobs) - start


@pytest.mark.parametrize("proposer", PROPOSERS, ids=lambda proposer: proposer.name)
def test_every_proposal_is_legal_and_new(proposer: Proposer) -> None:
    rows, _ = campaign(proposer, seed=3, trials=60)
    settings: dict[str, dict[str, KnobValue]] = {"t0": dict(TASK.menu.defaults())}
    seen = {config_key(settings["t0"])}
    for row in rows[1:]:
        assert row.edit is not None and row.parent_trial_id is not None
        changed = {**settings[row.parent_trial_id], row.edit["knob"]: row.edit["value"]}
        assert TASK.menu.knobs[row.edit["knob"]].check(row.edit["value"]) is None
        assert TASK.menu.broken_rule(changed) is None
        assert config_key(changed) not in seen, row.edit_key
        seen.add(config_key(changed))
        settings[row.trial_id] = changed


@pytest.mark.parametrize("proposer", PROPOSERS, ids=lambda proposer: proposer.name)
def test_the_same_rows_give_the_same_proposal(proposer: Proposer) -> None:
    rows, _ = campaign(proposer, seed=5, trials=45)
    again = type(proposer)()
    for at in (0, 5, 44):
        context = make_context(trials=tuple(rows[: at + 1]), trial_seq=at + 1, seed=5)
        assert proposer.propose(context).raw == again.propose(context).raw
    assert len({proposer.propose(make_context(seed=seed)).raw for seed in range(12)}) > 2


@pytest.mark.parametrize("proposer", PROPOSERS, ids=lambda proposer: proposer.name)
def test_what_the_rails_refused_is_not_proposed_again(proposer: Proposer) -> None:
    feedback: list[Feedback] = []
    raws: set[str] = set()
    for attempt in range(10):
        reply = proposer.propose(make_context(feedback=tuple(feedback), attempt=attempt))
        name, value, _ = parsed(reply)
        assert f"{name}={value}" not in raws
        raws.add(f"{name}={value}")
        feedback.append(Feedback(raw_reply=reply.raw, rail="size", reason="too big"))
    strange = tuple(
        Feedback(raw_reply=raw, rail="schema", reason="r") for raw in ("", "[1]", "[" * 10_000, '{"knob": 1}')
    )
    proposer.propose(make_context(feedback=strange, attempt=1))


@pytest.mark.parametrize("proposer", PROPOSERS, ids=lambda proposer: proposer.name)
def test_the_trial_in_hand_and_failures_are_not_repeated_but_interrupted_ones_may_be(proposer: Proposer) -> None:
    task = make_task(knobs={"depth": {"type": "int", "choices": [1, 2, 3, 4], "default": 2}})

    def proposed(*rows: Trial) -> Any:
        return parsed(proposer.propose(make_context(task, trials=rows, trial_seq=9)))[1]

    crashed, blocked = make_trial(1, "depth", 1, Status.CRASH), make_trial(2, "depth", 3, Status.SIZE_BLOCKED)
    assert proposed(crashed, blocked) == 4
    assert proposed(crashed, make_trial(2, "depth", 3, None)) == 4
    assert proposed(crashed, make_trial(2, "depth", 4, None)) == 3
    interrupted = make_trial(3, "depth", 4, Status.INTERRUPTED)
    assert proposed(crashed, blocked, interrupted) == 4
    # Nothing new is left: a repeat is better than no proposal.
    assert proposed(crashed, blocked, make_trial(3, "depth", 4, Status.DISCARD, -0.1)) in {1, 3, 4}


@pytest.mark.parametrize("proposer", PROPOSERS, ids=lambda proposer: proposer.name)
def test_when_no_single_move_is_left_two_knobs_move_at_once_where_the_task_allows_it(proposer: Proposer) -> None:
    two = {name: {"type": "int", "choices": [1, 2, 3], "default": 2} for name in ("depth", "heads")}
    moves = [(name, value) for name in two for value in (1, 3)]
    gains = {("depth", 1): 0.01, ("depth", 3): -0.01, ("heads", 1): -0.02, ("heads", 3): 0.005}
    rows = [make_trial(seq, *move, Status.DISCARD, gains[move]) for seq, move in enumerate(moves, start=1)]
    task, knobs = make_task(knobs=two, modes=("knob", "knobs")), {"depth": 2, "heads": 2}
    found: list[dict[str, Any]] = []
    for seq in range(5, 9):
        values = json.loads(proposer.propose(make_context(task, knobs=knobs, trials=tuple(rows), trial_seq=seq)).raw)
        found.append(values["knobs"])
        edit = {"kind": "knobs", "values": found[-1]}
        rows.append(make_trial(seq, "depth", 1, Status.DISCARD, -0.03, edit=edit))
    assert {tuple(values.items()) for values in found} == {(("depth", a), ("heads", b)) for a in (1, 3) for b in (1, 3)}
    if proposer.name == "tpe":
        assert found[0] == {"depth": 1, "heads": 3}
    last = parsed(proposer.propose(make_context(task, knobs=knobs, trials=tuple(rows), trial_seq=9)))
    assert last[:2] in moves and "a repeat" in last[2]


@pytest.mark.parametrize("proposer", PROPOSERS, ids=lambda proposer: proposer.name)
def test_nothing_to_propose_is_said(proposer: Proposer) -> None:
    stuck = make_task(knobs={"depth": {"type": "int", "range": [2, 2], "default": 2}})
    with pytest.raises(NoReplyError, match="no knob can be moved"):
        proposer.propose(make_context(stuck))
    with pytest.raises(NoReplyError, match="allows no such edit"):
        proposer.propose(make_context(make_task(modes=("diff",))))
    with pytest.raises(NoReplyError, match="no knob can be moved"):
        proposer.propose(make_context(knobs={"other": 3}))


def test_history_follows_the_chain_of_keeps() -> None:
    rows = [
        make_trial(1, "depth", 3, Status.KEEP, 0.01),
        make_trial(2, "depth", 4, Status.DISCARD, -0.01, parent_trial_id="t1"),
        make_trial(3, "width", 256, Status.CRASH, parent_trial_id="t1"),
        make_trial(4, "hidden", 1, Status.CRASH, parent_trial_id="t1"),
        make_trial(5, "depth", 1, None, parent_trial_id="t1", edit={"kind": "diff", "diff": "…"}),
    ]
    knobs = {**TASK.menu.defaults(), "depth": 3}
    history = read_history(rows, TASK.menu, knobs)
    assert [(o.knob, o.before, o.value, o.direction, o.gain, o.kept) for o in history.outcomes] == [
        ("depth", 2, 3, 1, 0.01, True),
        ("depth", 3, 4, 1, -0.01, False),
        ("width", 128, 256, 1, None, False),
    ]
    assert config_key(TASK.menu.defaults()) in history.tried
    assert config_key({**knobs, "width": 256}) in history.tried
    assert config_key({**TASK.menu.defaults(), "width": 256}) not in history.tried


def test_tpe_follows_what_it_learns() -> None:
    proposer = TpeProposer()

    def proposed(*rows: Trial, **knobs: KnobValue) -> tuple[str, Any, str]:
        values = {**TASK.menu.defaults(), **knobs}
        return parsed(proposer.propose(make_context(trials=rows, knobs=values, trial_seq=len(rows) + 1)))

    lost = [make_trial(seq, "warmup", seq / 10, Status.DISCARD, -0.001) for seq in range(1, 4)]
    kept = make_trial(4, "matrix_lr", 0.04, Status.KEEP, 0.01)
    name, value, reason = proposed(*lost, kept, matrix_lr=0.04)
    assert (name, value) == ("matrix_lr", 0.08)
    assert reason == "TPE: matrix_lr=0.08 — going on: matrix_lr=0.04 in trial 4 was kept (+1.00%)"
    near = make_trial(4, "matrix_lr", 0.04, Status.DISCARD, 0.002)
    assert proposed(*lost, near)[:2] == ("matrix_lr", 0.08)
    steep = make_trial(4, "matrix_lr", 0.04, Status.DISCARD, -0.03)
    name, value, reason = proposed(*lost, steep)
    assert (name, value) == ("matrix_lr", 0.01)
    assert "the other way" in reason
    crashed = make_trial(4, "matrix_lr", 0.04, Status.CRASH)
    assert proposed(*lost, crashed)[:2] == ("matrix_lr", 0.01)
    assert "first look" in proposed(*lost)[2]


def test_the_design_touches_every_knob_before_the_estimator_begins() -> None:
    rows, _ = campaign(TpeProposer(), seed=1, trials=24, noise=0.0)
    touched = {row.edit["knob"] for row in rows if row.edit}
    assert touched == set(TASK.menu.knobs)


@pytest.mark.system
def test_tpe_finds_more_than_random() -> None:
    gains = {
        proposer.name: [campaign(proposer, seed, trials=20)[1] for seed in range(24)]
        for proposer in (RandomProposer(), TpeProposer())
    }
    top = true_gain({**TASK.menu.defaults(), **BEST}) - true_gain(TASK.menu.defaults())
    assert mean(gains["tpe"]) > 0.6 * top
    assert mean(gains["tpe"]) > 1.5 * mean(gains["random"])
