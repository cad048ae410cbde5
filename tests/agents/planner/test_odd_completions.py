"""Completions that the client cannot read were answered and paid for: they reach the rails as text, not as weather."""

import json
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.model.config import load_models
from agents.model.messages import protocol_message, read_completion, read_message, reply_text
from agents.planner.planner import Planner
from rails.guard import RailContext, Rails
from tests.support.chat_server import GOOD, ChatServer, completion, ok, raw_body, tool_call
from tests.support.proposals import make_context, make_task
from tests.support.transcripts import Notes, noted

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:typer")

TASK = make_task()
CALL = {"id": "1", "type": "function", "function": {"name": "tried_values", "arguments": "{}"}}


@cache
def rails() -> Rails:
    return Rails(TASK.menu)


def called(call: Any) -> dict[str, Any]:
    return {"content": None, "tool_calls": [call]}


REFUSED: dict[str, dict[str, Any]] = {
    "arguments that are a list": called({**CALL, "function": {"name": "x", "arguments": "[1]"}}),
    "arguments that are a number": called({**CALL, "function": {"name": "x", "arguments": "3"}}),
    "arguments that are an object": called({**CALL, "function": {"name": "x", "arguments": {"a": 1}}}),
    "a call without a function": called({"id": "1", "type": "function"}),
    "a call that is a number": called(3),
    "calls that are no list": {"content": None, "tool_calls": "x"},
    "a call in the old form": {"content": None, "function_call": {"name": "x", "arguments": "{}"}},
    "content that is a number": {"content": 5},
    "content that is another object": {"content": {"knob": "depth"}},
    "content that is nothing": {"content": False},
    "no content at all": {},
}
PASSED: dict[str, dict[str, Any]] = {
    "content that is the proposal itself": {"content": json.loads(GOOD)},
    "content in parts": {"content": [{"type": "text", "text": GOOD}]},
    "the role of the user": {"role": "user", "content": GOOD},
    "the role of the system": {"role": "system", "content": GOOD},
    "no role": {"role": None, "content": GOOD},
    "an unknown role": {"role": "chief", "content": GOOD},
}


def asked(message: dict[str, Any], folder: Path, **keys: object) -> tuple[str, Notes]:
    with ChatServer([raw_body(json.dumps(completion(message)).encode()), ok()]) as server:
        (folder / "models.toml").write_text(server.models_toml("local", **keys))
        reply, calls = noted(Planner("local", load_models(folder)["local"]))
        assert len(server.requests) == len(calls) == 1
    return reply.raw, calls


@pytest.mark.parametrize("kind", REFUSED)
def test_an_odd_completion_is_refused_by_a_rail(kind: str, tmp_path: Path) -> None:
    raw, calls = asked(REFUSED[kind], tmp_path)
    assert not rails().check(raw, RailContext(menu=TASK.menu, source=None)).ok
    assert calls[0].raw_reply == raw and calls[0].error is None
    assert (calls[0].prompt_tokens, calls[0].completion_tokens) == (100, 20)


@pytest.mark.parametrize("kind", PASSED)
def test_an_odd_completion_with_a_good_proposal_passes(kind: str, tmp_path: Path) -> None:
    raw, calls = asked(PASSED[kind], tmp_path)
    assert rails().check(raw, RailContext(menu=TASK.menu, source=None)).ok
    assert calls[0].message is not None and reply_text(read_message(calls[0].message)) == raw


@pytest.mark.parametrize("depth", [300, 900, 3_000])
def test_deeply_nested_arguments_of_a_tool_do_no_harm(depth: int, tmp_path: Path) -> None:
    arguments = '{"sql": ' + "[" * depth + "]" * depth + "}"
    for tools in (False, True):
        with ChatServer([tool_call("query", arguments), ok()]) as server:
            (tmp_path / "models.toml").write_text(server.models_toml("local", tools=tools))
            reply, calls = noted(Planner("local", load_models(tmp_path)["local"]), make_context(lineage="# Lineage"))
        assert (reply.raw == GOOD) is tools
        assert len(calls) == 1 + tools


def test_what_is_no_completion_is_not_made_one() -> None:
    for body in (b"", b"null", b"[]", b'{"choices": []}', b'{"choices": [{}]}', b'{"choices": [{"message": 3}]}', b"["):
        assert read_completion(body) is None
    assert read_completion(b"[" * 100_000) is None


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda children: st.lists(children, max_size=4) | st.dictionaries(st.text(), children, max_size=4),
    max_leaves=20,
)
CALLS = st.fixed_dictionaries(
    {},
    optional={
        "id": JSON,
        "function": st.fixed_dictionaries({}, optional={"name": JSON, "arguments": JSON | st.text()}),
    },
)


@given(
    st.fixed_dictionaries(
        {}, optional={"content": JSON, "refusal": JSON, "role": JSON, "tool_calls": JSON | st.lists(CALLS)}
    )
)
def test_any_message_is_read_stored_and_read_again(message: dict[str, Any]) -> None:
    read = read_message(message)
    stored = protocol_message(read)
    json.dumps(stored).encode()
    again = read_message(json.loads(json.dumps(stored)))
    assert protocol_message(again) == stored
    assert len(again.tool_calls) == len(read.tool_calls)
    assert len(again.invalid_tool_calls) == len(read.invalid_tool_calls)
    assert isinstance(reply_text(again), str)
