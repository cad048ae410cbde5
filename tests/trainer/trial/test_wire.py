import dataclasses
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trainer.budget import Budget, BudgetKind
from trainer.trial.wire import (
    MAX_COUNT,
    ChildSpec,
    Event,
    Failed,
    Progress,
    Scored,
    SharedLayout,
    Start,
    Trained,
    WireError,
    clean_line,
    encode_data,
    encode_event,
    encode_score_request,
    parse_data,
    parse_event,
    parse_score_request,
)

COUNTS = st.integers(0, MAX_COUNT)
POSITIVE = st.floats(0, 1e30)
LINES = st.text("abc 1é", max_size=50).map(clean_line)
EVENTS: st.SearchStrategy[Event] = st.one_of(
    st.builds(Start, params=COUNTS, flops_per_token=POSITIVE, device=LINES),
    st.builds(Progress, step=COUNTS, tokens=COUNTS, elapsed_s=POSITIVE, loss=st.floats(-1e30, 1e30)),
    st.builds(Trained, summary=st.dictionaries(LINES, st.none() | st.booleans() | COUNTS | POSITIVE | LINES)),
    st.builds(Failed, kind=st.sampled_from(["nan", "diverged", "error"]), reason=LINES),
    st.just(Scored()),
)


@settings(deadline=None)
@given(EVENTS)
def test_events_survive_the_wire(event: Event) -> None:
    line = encode_event(event)
    assert line.count(b"\n") == 1
    assert parse_event(line.rstrip()) == event


@settings(deadline=None)
@given(st.binary(max_size=200) | st.text(max_size=200).map(lambda text: json.dumps({"event": text}).encode()))
def test_any_other_line_is_a_wire_error(line: bytes) -> None:
    try:
        parse_event(line)
    except WireError:
        return
    assert line.strip() == b'{"event": "scored"}'


START: dict[str, Any] = {"event": "start", "params": 1, "flops_per_token": 1.0, "device": "cpu"}
PROGRESS: dict[str, Any] = {"event": "progress", "step": 1, "tokens": 1, "elapsed_s": 0.1, "loss": 1.0}


@pytest.mark.parametrize(
    "message",
    [
        "null",
        "[]",
        "{",
        '"start"',
        "[" * 50_000,
        "9" * 5_000,
        json.dumps({"event": ["start"]}),
        json.dumps({"event": "score"}),
        json.dumps(START | {"extra": 1}),
        json.dumps({"event": "start"}),
        json.dumps(START | {"params": True}),
        json.dumps(START | {"params": 1.5}),
        json.dumps(START | {"params": -1}),
        json.dumps(START | {"params": 10**30}),
        json.dumps(START | {"flops_per_token": float("nan")}),
        json.dumps(START | {"flops_per_token": 10**400}),
        json.dumps(START | {"device": 5}),
        json.dumps(PROGRESS | {"loss": float("inf")}),
        json.dumps(PROGRESS | {"elapsed_s": -1.0}),
        json.dumps({"event": "failed", "kind": "tired", "reason": "no"}),
        json.dumps({"event": "trained", "summary": [1]}),
        json.dumps({"event": "trained", "summary": {"a": [1]}}),
        json.dumps({"event": "trained", "summary": {"a": float("nan")}}),
        json.dumps({"event": "trained", "summary": {"a": 10**30}}),
        json.dumps({"event": "trained", "summary": {str(number): 1 for number in range(65)}}),
        json.dumps({"event": "failed", "kind": "nan", "reason": "x" * 70_000}),
    ],
)
def test_malformed_messages(message: str) -> None:
    with pytest.raises(WireError):
        parse_event(message.encode())


def test_text_from_a_child_is_one_short_line() -> None:
    event = parse_event(rb'{"event":"failed","kind":"error","reason":"a\nb\u001b[31m\ud800 ' + b"x" * 1000 + b'"}')
    assert isinstance(event, Failed)
    assert event.reason.startswith("a b [31m")
    assert len(event.reason) == 300
    assert event.reason.isprintable()


def test_score_requests() -> None:
    assert parse_score_request(encode_score_request(3), limit=4) == 3
    for line in (encode_score_request(5), encode_score_request(0), b'{"op":"close"}', b'{"op":"score","rows":true}'):
        with pytest.raises(WireError):
            parse_score_request(line, limit=4)


def test_the_training_data_and_what_start_up_is_charged() -> None:
    assert parse_data(encode_data(["a", "b"], 1.5)) == (["a", "b"], 1.5)
    wrong = ('"score","files":[],"charged_s":0', '"data","files":{},"charged_s":0', '"data","files":[],"charged_s":-1')
    for line in (b'{"op":"data"}', *(f'{{"op":{rest}}}'.encode() for rest in wrong), b"[]", b"data"):
        with pytest.raises(WireError):
            parse_data(line)


@settings(deadline=None)
@given(st.integers(1, 64), st.integers(1, 300), st.integers(1, 300))
def test_tokens_and_logits_do_not_overlap(rows: int, seq_len: int, vocab_size: int) -> None:
    layout = SharedLayout(rows=rows, seq_len=seq_len, vocab_size=vocab_size)
    assert layout.logits_offset % 64 == 0
    assert 4 * rows * seq_len <= layout.logits_offset < 4 * rows * seq_len + 64
    assert layout.total_bytes - layout.logits_offset == 4 * rows * seq_len * vocab_size


def test_the_specification_survives_the_environment() -> None:
    budget = Budget(kind=BudgetKind.FLOPS, amount=1e15)
    numbers = {field.name: number for number, field in enumerate(dataclasses.fields(ChildSpec))}
    spec = ChildSpec(**{**numbers, "device": "cpu é", "budget": budget})  # pyright: ignore[reportArgumentType]
    assert ChildSpec.from_json(spec.to_json()) == spec
    for text in (
        "",
        "null",
        "{}",
        "[]",
        spec.to_json().replace("flops", "hours"),
        spec.to_json().replace("seed", "sd"),
    ):
        with pytest.raises(WireError, match="NIGHTSHIFT_SPEC"):
            ChildSpec.from_json(text)
