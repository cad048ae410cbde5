"""What `doctor` finds out by asking: which forms are enforced, tools, a context that is cut, nobody there."""

import json
import time
from dataclasses import dataclass
from typing import Any

import pytest

from agents.model.config import ModelConfig
from agents.model.context_probe import ContextVerdict
from agents.model.forms import FORMS
from agents.model.probe import Verdict, probe_endpoint
from tests.support.chat_server import (
    GOOD,
    Answer,
    Behaviour,
    ChatServer,
    Received,
    dripping,
    failing,
    ok,
    tool_call,
)

HONOURED, IGNORED, REFUSED, UNKNOWN = Verdict.HONOURED, Verdict.IGNORED, Verdict.REFUSED, Verdict.UNKNOWN


@dataclass
class Server:
    """An endpoint that serves what it is told to, and counts 1.5 tokens a word."""

    schemas: str = "honoured"
    """`honoured`, `ignored`, `no unions` (refused at the root) or `refused`."""
    json_mode: bool = True
    tools: str = "called"
    context_tokens: int = 100_000
    too_long: str = "refused"
    """`refused`, `refused without a number`, or `cut`."""
    counts: bool = True
    prose: str = "The sea is wide and blue."

    def __call__(self, request: Received) -> Answer:
        tokens = int(1.5 * len(request.user_text.split()))
        if tokens > self.context_tokens:
            if self.too_long == "refused":
                said = f"request ({tokens} tokens) exceeds the available context size ({self.context_tokens} tokens)"
                return failing(400, said)(request)
            if self.too_long != "cut":
                return failing(400, "too long")(request)
        usage = (min(tokens, self.context_tokens), 20) if self.counts else None
        if "tools" in request.body:
            return self._tools(request, usage)
        match request.body.get("response_format"):
            case None:
                return ok(self.prose, usage=usage)(request)
            case {"type": "json_object"}:
                return ok('{"answer": 1}' if self.json_mode else self.prose, usage=usage)(request)
            case {"json_schema": {"schema": schema}}:
                return self._schema(request, schema, usage)
            case other:
                raise AssertionError(other)

    def _schema(self, request: Received, schema: dict[str, Any], usage: tuple[int, int] | None) -> Answer:
        if self.schemas == "refused" or (self.schemas == "no unions" and "anyOf" in schema):
            return failing(400, "schema must be an object at its root")(request)
        return ok(json.dumps(instance(schema)) if self.schemas != "ignored" else self.prose, usage=usage)(request)

    def _tools(self, request: Received, usage: tuple[int, int] | None) -> Answer:
        if self.tools == "refused":
            return failing(400, "no tools here")(request)
        called: Behaviour = tool_call("current_trial", {})
        return called(request) if self.tools == "called" else ok(self.prose, usage=usage)(request)


def instance(schema: dict[str, Any]) -> Any:
    """Something that obeys a schema."""
    if "anyOf" in schema:
        return instance(schema["anyOf"][-1])
    if "const" in schema:
        return schema["const"]
    if "enum" in schema:
        return schema["enum"][-1]
    return {name: instance(part) for name, part in schema["properties"].items()}


def config_at(server: ChatServer, **keys: Any) -> ModelConfig:
    return ModelConfig.model_validate({"base_url": server.base_url, "model": "local", "timeout_s": 3000.0, **keys})


def test_a_server_that_does_everything() -> None:
    with ChatServer([Server()]) as server:
        report = probe_endpoint(
            config_at(server, tools=True, usd_per_million_prompt=1.0, usd_per_million_completion=1.0)
        )
        assert report.answers and report.problem is None
        assert report.reply_forms == dict.fromkeys(FORMS, HONOURED)
        assert report.tools is HONOURED
        assert report.context is not None and report.context.verdict is ContextVerdict.TAKEN
        assert report.context.read_tokens is not None and 7_400 < report.context.read_tokens < 8_192
        assert report.changes == {}
        assert report.requests == len(server.requests) <= 9
        assert report.usd is not None and report.usd > 0.007
        assert report.prompt_tokens_per_s and report.reply_tokens_per_s
        assert all(request.body["max_completion_tokens"] <= 256 for request in server.requests)


@pytest.mark.parametrize(
    ("behaviour", "forms", "changes"),
    [
        (Server("no unions"), (REFUSED, HONOURED, HONOURED, HONOURED), {}),
        (Server("ignored"), (IGNORED, IGNORED, HONOURED, HONOURED), {"reply_format": "json_object"}),
        (Server("ignored", json_mode=False), (IGNORED, IGNORED, IGNORED, HONOURED), {"reply_format": "text"}),
        (Server("refused"), (REFUSED, REFUSED, HONOURED, HONOURED), {"reply_format": "json_object"}),
        # JSON that has nothing to do with the schema is no sign that the schema was enforced.
        (Server("ignored", prose=GOOD), (IGNORED, IGNORED, HONOURED, HONOURED), {"reply_format": "json_object"}),
    ],
)
def test_reply_forms(behaviour: Server, forms: tuple[Verdict, ...], changes: dict[str, Any]) -> None:
    with ChatServer([behaviour]) as server:
        report = probe_endpoint(config_at(server, tools=True))
    assert report.reply_forms == dict(zip(FORMS, forms, strict=True))
    assert report.changes == changes


def test_a_weaker_form_than_the_endpoint_has_is_raised() -> None:
    with ChatServer([Server()]) as server:
        report = probe_endpoint(config_at(server, reply_format="text"))
    assert report.changes == {"reply_format": "json_schema", "tools": True}


@pytest.mark.parametrize(("tools", "verdict"), [("refused", REFUSED), ("dropped", IGNORED)])
def test_tools_that_nobody_calls(tools: str, verdict: Verdict) -> None:
    with ChatServer([Server(tools=tools)]) as server:
        report = probe_endpoint(config_at(server, tools=True))
    assert report.tools is verdict
    assert report.changes == {"tools": False}


@pytest.mark.parametrize(
    ("too_long", "verdict", "limit"),
    [
        ("cut", ContextVerdict.CUT, (4096, 4096)),
        ("refused", ContextVerdict.REFUSED, (4096, 4096)),
        ("refused without a number", ContextVerdict.REFUSED, (3_600, 4_096)),
    ],
)
def test_a_context_that_is_shorter_than_stated(too_long: str, verdict: ContextVerdict, limit: tuple[int, int]) -> None:
    with ChatServer([Server(context_tokens=4096, too_long=too_long)]) as server:
        report = probe_endpoint(config_at(server, tools=True, context_tokens=8192))
    assert report.context is not None and report.context.verdict is verdict
    assert report.context.limit_tokens is not None and limit[0] <= report.context.limit_tokens <= limit[1]
    assert report.changes == {"context_tokens": report.context.limit_tokens}


def test_a_very_long_context_is_not_tried_to_its_end() -> None:
    with ChatServer([Server(context_tokens=1_000_000)]) as server:
        report = probe_endpoint(config_at(server, tools=True, context_tokens=1_000_000))
    assert report.context is not None and report.context.tried_tokens < 16_384
    assert "1000000 were not tried" in report.context.note
    assert report.prompt_tokens < 20_000


def test_no_count_of_tokens_says_nothing_of_the_context() -> None:
    with ChatServer([Server(counts=False)]) as server:
        report = probe_endpoint(config_at(server, tools=True))
    assert report.context is not None and report.context.verdict is ContextVerdict.UNKNOWN
    assert report.changes == {}


def test_nobody_is_there() -> None:
    with ChatServer() as server:
        config = config_at(server)
    report = probe_endpoint(config)
    assert not report.answers and report.requests == 0 and report.changes == {}
    assert report.problem is not None and "nobody answers there" in report.problem


def test_a_refused_key_is_the_whole_answer() -> None:
    with ChatServer([failing(401, "no such key")]) as server:
        report = probe_endpoint(config_at(server))
    assert report.problem is not None and "refused the key" in report.problem and report.requests == 1


def test_a_timeout_that_a_full_prompt_does_not_keep() -> None:
    with ChatServer([Server()]) as server:
        report = probe_endpoint(config_at(server, tools=True, max_tokens=200_000, timeout_s=5.0))
    assert report.changes.keys() == {"timeout_s"} and float(report.changes["timeout_s"]) >= 30


def test_a_slow_endpoint_ends_the_questions_in_time() -> None:
    hello = ok(usage=(10, 5))
    with ChatServer([hello, hello, dripping(0.05)]) as server:
        started = time.monotonic()
        report = probe_endpoint(config_at(server), limit_s=1.0)
        assert time.monotonic() - started < 5
        assert len(server.requests) == 3
    assert report.answers and report.changes == {}
    assert set(report.reply_forms.values()) == {UNKNOWN, HONOURED}  # plain text was answered
