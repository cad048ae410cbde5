"""The planner returns what the model said, whatever it said; the rails judge it."""

import json
from functools import cache
from pathlib import Path

import pytest

from agents.base import Feedback
from agents.model.config import load_models
from agents.planner.planner import Planner
from agents.texts import storable
from memory.records import Origin
from rails.guard import RailContext, Rails
from tests.support.chat_server import (
    GOOD,
    INJECTED_REPLIES,
    MALFORMED_REPLIES,
    TOLERATED_REPLIES,
    Answer,
    Behaviour,
    ChatServer,
    Received,
    empty,
    failing,
    ok,
    refusal,
    rejecting,
    tool_call,
)
from tests.support.proposals import TRAIN_PY, make_context, make_task
from tests.support.transcripts import noted

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:typer")

TASK = make_task(planner={"steps": 0})


@cache
def rails() -> Rails:
    """Built inside a test, where the filter above holds: guardrails imports a typer that warns."""
    return Rails(TASK.menu)


def planner_at(server: ChatServer, folder: Path, **keys: object) -> Planner:
    (folder / "models.toml").write_text(server.models_toml("local", **keys))
    return Planner("local", load_models(folder)["local"])


def test_a_good_reply_with_usage_cost_and_stored_prompt(tmp_path: Path) -> None:
    with ChatServer([ok(usage=(1000, 50))]) as server:
        planner = planner_at(server, tmp_path, usd_per_million_prompt=2.0, usd_per_million_completion=10.0)
        reply, (call,) = noted(planner)
    assert reply.raw == GOOD and reply.calls == ()
    assert (call.model, call.raw_reply, call.error) == ("local", GOOD, None)
    assert (call.prompt_tokens, call.completion_tokens) == (1000, 50)
    assert call.usd == pytest.approx(0.0025)
    assert call.latency_s > 0
    assert call.prompt is not None and call.prompt == server.requests[0].messages
    assert [message["role"] for message in call.prompt] == ["system", "user"]


def test_the_request_is_bounded_and_reproducible(tmp_path: Path) -> None:
    with ChatServer() as server:
        planner = planner_at(server, tmp_path, temperature=0.5, max_tokens=512)
        for attempt in (0, 0, 1):
            planner.propose(make_context(TASK, attempt=attempt))
    bodies = [request.body for request in server.requests]
    assert bodies[0]["max_completion_tokens"] == 512
    assert bodies[0]["temperature"] == 0.5
    assert bodies[0]["seed"] == bodies[1]["seed"] != bodies[2]["seed"]
    assert bodies[0]["response_format"]["type"] == "json_schema"
    schema = bodies[0]["response_format"]["json_schema"]["schema"]
    assert [branch["required"] for branch in schema["anyOf"]] == [["knob", "new_value", "reason"]] * len(
        TASK.menu.knobs
    )
    assert "tools" not in bodies[0]


@pytest.mark.parametrize("kind", TOLERATED_REPLIES)
def test_a_wrapped_reply_passes_the_rails(kind: str, tmp_path: Path) -> None:
    with ChatServer([ok(TOLERATED_REPLIES[kind])]) as server:
        reply = planner_at(server, tmp_path).propose(make_context())
    assert reply.raw == TOLERATED_REPLIES[kind]
    assert rails().check(reply.raw, RailContext(menu=TASK.menu, source=None)).ok


@pytest.mark.parametrize("kind", MALFORMED_REPLIES | INJECTED_REPLIES)
def test_a_malformed_reply_comes_through_raw_and_the_rails_refuse_it(kind: str, tmp_path: Path) -> None:
    content = (MALFORMED_REPLIES | INJECTED_REPLIES)[kind]
    with ChatServer([ok(content), ok()]) as server:
        planner = planner_at(server, tmp_path)
        reply, calls = noted(planner)
        assert reply.raw == storable(content)
        stored = calls[-1].raw_reply
        assert stored is not None
        stored.encode("utf-8")
        # The graph judges the stored text: it must be refused just the same.
        for raw in (reply.raw, stored):
            result = rails().check(raw, RailContext(menu=TASK.menu, source=None))
            assert not result.ok and result.rail and result.reason
        feedback = Feedback(raw_reply=reply.raw, rail=result.rail, reason=result.reason)
        corrected = planner.propose(make_context(feedback=(feedback,), attempt=1))
    assert corrected.raw == GOOD
    assert result.reason in server.requests[1].user_text


@pytest.mark.parametrize(
    ("behaviour", "raw"),
    [
        (empty(), ""),
        (refusal("I won't."), "I won't."),
        (tool_call("propose", {"knob": "depth"}), '{"tool_calls": [{"name": "propose", "args": {"knob": "depth"}}]}'),
    ],
)
def test_an_answer_without_content(behaviour: Behaviour, raw: str, tmp_path: Path) -> None:
    with ChatServer([behaviour]) as server:
        reply, calls = noted(planner_at(server, tmp_path))
    assert reply.raw == raw == calls[-1].raw_reply
    assert not rails().check(reply.raw, RailContext(menu=TASK.menu, source=None)).ok


def test_missing_usage_is_unknown_not_zero(tmp_path: Path) -> None:
    with ChatServer([ok(usage=None)]) as server:
        planner = planner_at(server, tmp_path, usd_per_million_prompt=2.0, usd_per_million_completion=10.0)
        _, (call,) = noted(planner)
    assert (call.prompt_tokens, call.completion_tokens, call.usd) == (None, None, None)


@pytest.mark.parametrize(
    ("refused", "learnt"),
    [(("json_schema", "wrapped"), "json_object"), (("json_schema", "wrapped", "json_object"), None)],
)
def test_a_rejected_reply_format_is_stepped_down_once(
    refused: tuple[str, ...], learnt: str | None, tmp_path: Path
) -> None:
    with ChatServer([rejecting(*refused)]) as server:
        planner = planner_at(server, tmp_path)
        (first, first_calls), (second, second_calls) = noted(planner), noted(planner, make_context(trial_seq=2))
    assert first.raw == second.raw == GOOD
    assert [call.error is None for call in first_calls] == [False] * len(refused) + [True]
    assert len(second_calls) == 1
    assert (server.requests[-1].body.get("response_format") or {}).get("type") == learnt


def test_the_reply_format_of_models_toml_comes_first(tmp_path: Path) -> None:
    with ChatServer() as server:
        planner_at(server, tmp_path, reply_format="text").propose(make_context())
    assert "response_format" not in server.requests[0].body


def test_a_server_that_streams_is_understood() -> None:
    import urllib.request

    with ChatServer([ok()]) as server:
        body = json.dumps({"messages": [], "stream": True}).encode()
        with urllib.request.urlopen(f"{server.base_url}/chat/completions", data=body, timeout=5) as answer:
            lines = [line for line in answer.read().decode().splitlines() if line.startswith("data: {")]
    text = "".join(
        (json.loads(line[6:])["choices"] or [{"delta": {}}])[0]["delta"].get("content", "") for line in lines
    )
    assert text == GOOD


def test_a_server_that_forbids_a_union_at_the_root_gets_it_in_an_object(tmp_path: Path) -> None:
    def strict(request: Received) -> Answer:
        schema = request.body["response_format"]["json_schema"]["schema"]
        if schema.get("type") != "object":
            return failing(400, "schema must have type 'object'")(request)
        assert "maxLength" not in json.dumps(schema)
        return ok(json.dumps({"proposal": json.loads(GOOD)}))(request)

    with ChatServer([strict]) as server:
        planner = planner_at(server, tmp_path)
        (first, calls), (second, _) = noted(planner), noted(planner, make_context(trial_seq=2))
    assert first.raw == second.raw and json.loads(first.raw) == json.loads(GOOD)
    assert [call.reply_form for call in calls] == ["union", "wrapped"]
    assert len(server.requests) == 3  # learnt for the campaign


def test_a_reply_cut_at_its_limit_is_asked_for_again_with_more_room(tmp_path: Path) -> None:
    with ChatServer([ok(GOOD[:30], finish_reason="length"), ok()]) as server:
        reply, calls = noted(planner_at(server, tmp_path, max_tokens=100))
    assert reply.raw == GOOD
    assert [call.finish_reason for call in calls] == ["length", "stop"]
    assert [request.body["max_completion_tokens"] for request in server.requests] == [100, 200]


def test_a_prompt_that_is_too_long_is_made_shorter(tmp_path: Path) -> None:
    policy = make_context(program_md="Be bold. " * 3000, lineage="# Lineage")

    def small(request: Received) -> Answer:
        if len(request.user_text) > 3_000:
            return failing(400, "the request exceeds the available context size (3000 tokens), try increasing it")(
                request
            )
        return ok()(request)

    with ChatServer([small]) as server:
        planner = planner_at(server, tmp_path, context_tokens=16_000)
        (reply, _), (_, calls) = noted(planner, policy), noted(planner, policy)
    assert reply.raw == GOOD and len(calls) == 1
    assert "was too long: going on with 3000" in reply.notes[0]


def test_a_server_that_cuts_prompts_in_silence_is_noticed(tmp_path: Path) -> None:
    policy = make_context(program_md="Be bold. " * 3000)

    def cutting(request: Received) -> Answer:
        return ok(usage=(min(1024, len(request.user_text) // 4), 20))(request)

    with ChatServer([cutting]) as server:
        planner = planner_at(server, tmp_path, context_tokens=60_000, max_tokens=256)
        reply, calls = noted(planner, policy)
    assert reply.raw == GOOD and len(calls) == 2
    assert "cuts in silence" in reply.notes[0] and "context_tokens" in reply.notes[0]


def test_a_change_of_the_code_is_written_as_plain_text_and_passes_the_rails(tmp_path: Path) -> None:
    task = make_task(modes=("knob", "diff"), planner={"steps": 0})
    code = (
        '{"hypothesis": "Fewer lines cost less.", "expected_delta": null, "reason": "simpler"}\n\n'
        "<<<<<<< SEARCH\nprint(Knobs())\n=======\nprint(Knobs().depth, Knobs())\n>>>>>>> REPLACE\n"
    )
    with ChatServer([ok('{"action": "write_code", "idea": "print the depth"}'), ok(code)]) as server:
        reply, calls = noted(planner_at(server, tmp_path), make_context(task))
        asked = server.requests[1]
    assert reply.raw == code and reply.origin is Origin.CODE and len(calls) == 2
    assert "response_format" not in asked.body and "SEARCH" in asked.messages[-1]["content"]
    result = Rails(task.menu).check(code, RailContext(menu=task.menu, source=TRAIN_PY, modes=("knob", "diff")))
    assert result.candidate_source is not None and "Knobs().depth" in result.candidate_source
