"""The endpoint's questions and a planner's request, answered by a model and a server that nobody here wrote."""

import json

import pytest

from agents.model.context_probe import ContextVerdict
from agents.model.endpoint import Endpoint, Request
from agents.model.local_server import LocalServer
from agents.model.probe import Verdict, choice_schema, probe_endpoint
from agents.transcript import CallInfo
from tests.support.real_server import config_for

pytestmark = pytest.mark.system


def test_what_it_does_is_found_out(smollm2: LocalServer) -> None:
    # A prompt that is refused costs nothing, but it is only sent when there would be time to read it.
    report = probe_endpoint(config_for(smollm2, context_tokens=8192, tools=True), limit_s=3600.0)
    assert report.answers
    assert {form: str(verdict) for form, verdict in report.reply_forms.items()} == dict.fromkeys(
        ("union", "wrapped", "json_object", "text"), Verdict.HONOURED
    )
    assert report.context is not None and report.context.verdict is ContextVerdict.REFUSED
    assert report.context.limit_tokens == 4096
    assert report.changes["context_tokens"] == 4096
    assert report.changes["tools"] is False
    assert report.prompt_tokens_per_s is not None and report.reply_tokens_per_s is not None


def test_a_schema_is_obeyed_and_a_prompt_is_read_once(smollm2: LocalServer) -> None:
    endpoint = Endpoint(config_for(smollm2))
    text = "Pick one of the colours. " + "The sea is wide and blue today. " * 40
    request = Request(messages=[{"role": "user", "content": text}], seed=1, schema=choice_schema(), form="union")
    read: list[int] = []
    calls: list[CallInfo] = []
    for _ in range(2):
        before = smollm2.prompt_tokens_read()
        call = endpoint.ask(request, calls.append, lambda: False)
        read.append(smollm2.prompt_tokens_read() - before)
        assert json.loads(call.raw_reply or "")["pick"] in {"amber", "cobalt", "olive"}
    assert calls[0].prompt_tokens is not None and 250 < read[0] <= calls[0].prompt_tokens
    assert read[1] < 10
