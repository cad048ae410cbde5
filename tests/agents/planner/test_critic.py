"""A second opinion: on stated grounds only, once, on record, and paid for."""

import json
from pathlib import Path

import pytest

from agents.model.config import load_models
from agents.planner.planner import Planner
from memory.records import CallRole
from rails.status import Status
from tests.support.chat_server import GOOD, Behaviour, ChatServer, ok
from tests.support.proposals import make_context, make_task, make_trial
from tests.support.transcripts import Notes, noted

TASK = make_task(planner={"steps": 0})
TRIALS = (make_trial(1, "depth", 4, Status.DISCARD, -0.02),)
CONTEXT = make_context(TASK, lineage="# Lineage", trials=TRIALS, trial_seq=2)
OTHER = '{"knob": "width", "new_value": 64, "reason": "cheaper steps"}'


def said(verdict: str, ground: str, trial: int | None = 1) -> Behaviour:
    return ok(json.dumps({"reason": "trial 1 went this way", "verdict": verdict, "ground": ground, "trial": trial}))


def planner_at(server: ChatServer, folder: Path) -> Planner:
    (folder / "models.toml").write_text(server.models_toml("local"))
    config = load_models(folder)["local"]
    return Planner("local", config, critic=config)


def test_a_draft_that_passes_is_proposed(tmp_path: Path) -> None:
    with ChatServer([ok(), said("pass", "none", None)]) as server:
        reply, calls = noted(planner_at(server, tmp_path), CONTEXT)
        assert GOOD in server.requests[1].messages[-1]["content"]
    assert reply.raw == GOOD
    assert [call.role for call in calls] == [CallRole.PROPOSE, CallRole.CRITIC]
    assert reply.critique is not None and reply.critique["verdict"] == "pass" and not reply.critique["revised"]


@pytest.mark.parametrize("verdict", ["revise", "veto"])
def test_an_objection_is_told_and_answered_once(verdict: str, tmp_path: Path) -> None:
    with ChatServer([ok(), said(verdict, "refuted"), ok(OTHER)]) as server:
        reply, calls = noted(planner_at(server, tmp_path), CONTEXT)
        last = server.requests[2]
        assert "the record has refuted it already (trial 1)" in last.messages[-1]["content"]
        branches = last.body["response_format"]["json_schema"]["schema"]["anyOf"]
        depths = next(
            b["properties"]["new_value"]["enum"] for b in branches if b["properties"]["knob"]["const"] == "depth"
        )
        assert (3 in depths) is (verdict == "revise")  # what was vetoed cannot be proposed again
    assert reply.raw == OTHER and len(calls) == 3
    assert reply.critique == {
        "verdict": verdict,
        "ground": "refuted",
        "reason": "trial 1 went this way",
        "trial": 1,
        "draft": GOOD,
        "revised": True,
    }


@pytest.mark.parametrize(
    "answer",
    [
        said("veto", "refuted", 99),  # a trial that is not on record
        said("veto", "I do not like it"),
        said("destroy", "refuted"),
        ok("no JSON"),
        ok('{"verdict": "veto"}'),
        ok(""),
    ],
)
def test_a_claim_without_a_ground_changes_nothing(answer: Behaviour, tmp_path: Path) -> None:
    with ChatServer([ok(), answer]) as server:
        reply, calls = noted(planner_at(server, tmp_path), CONTEXT)
    assert reply.raw == GOOD and len(calls) == 2


def test_without_lineage_the_record_is_no_ground(tmp_path: Path) -> None:
    context = make_context(TASK, trials=TRIALS, trial_seq=2)
    with ChatServer([ok(), said("veto", "refuted")]) as server:
        reply, _ = noted(planner_at(server, tmp_path), context)
        schema = server.requests[1].body["response_format"]["json_schema"]["schema"]
        assert schema["properties"]["ground"]["enum"] == ["cannot_fit", "none"]
        assert "refuted" not in server.requests[1].messages[-1]["content"]
    assert reply.raw == GOOD


def test_a_draft_that_the_rails_would_refuse_is_not_shown_to_the_critic(tmp_path: Path) -> None:
    context = make_context(TASK, lineage="# Lineage", check=lambda raw: "no")
    with ChatServer([ok()]) as server:
        reply, calls = noted(planner_at(server, tmp_path), context)
    assert reply.raw == GOOD and len(calls) == 1


def test_a_conversation_with_a_critic_goes_on_from_the_record(tmp_path: Path) -> None:
    notes = Notes()
    with ChatServer([ok(), said("veto", "refuted"), ok(OTHER)]) as server:
        planner = planner_at(server, tmp_path)
        from dataclasses import replace

        first = planner.propose(replace(CONTEXT, transcript=notes.transcript()))
        for kept in range(1, 4):
            again = Notes(notes[:kept])
            asked = len(server.requests)
            server.script([ok(OTHER)] if kept == 2 else [said("veto", "refuted"), ok(OTHER)])
            assert planner.propose(replace(CONTEXT, transcript=again.transcript())) == first
            assert len(server.requests) - asked == 3 - kept
