"""The planner returns what the model said, whatever it said; the rails judge it."""

import json
from functools import cache
from pathlib import Path

import pytest

from agents.base import Feedback
from agents.model.config import load_models
from agents.planner.planner import Planner
from rails.guard import RailContext, Rails
from tests.support.chat_server import (
    GOOD,
    INJECTED_REPLIES,
    MALFORMED_REPLIES,
    TOLERATED_REPLIES,
    Behaviour,
    ChatServer,
    empty,
    ok,
    refusal,
    rejecting,
    tool_call,
)
from tests.support.proposals import make_context, make_task
from tests.support.transcripts import noted

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:typer")

TASK = make_task()


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
            planner.propose(make_context(attempt=attempt))
    bodies = [request.body for request in server.requests]
    assert bodies[0]["max_completion_tokens"] == 512
    assert bodies[0]["temperature"] == 0.5
    assert bodies[0]["seed"] == bodies[1]["seed"] != bodies[2]["seed"]
    assert bodies[0]["response_format"]["type"] == "json_schema"
    schema = bodies[0]["response_format"]["json_schema"]["schema"]
    assert schema["required"] == ["knob", "new_value", "reason"]
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
    with ChatServer([ok(content, finish_reason="length" if kind == "truncated" else "stop"), ok()]) as server:
        planner = planner_at(server, tmp_path)
        reply, calls = noted(planner)
        assert reply.raw == content
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
    [(("json_schema",), "json_object"), (("json_schema", "json_object"), None)],
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
