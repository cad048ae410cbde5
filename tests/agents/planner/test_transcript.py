"""A reply that was paid for is never asked for again: whatever is cut off goes on from the transcript."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from agents.base import NoReplyError
from agents.model.config import load_models
from agents.planner.planner import Planner
from agents.transcript import CallInfo, Transcript
from rails.errors import DiskFullError
from tests.support.chat_server import GOOD, Answer, ChatServer, Received, failing, ok, refusal, reset, tool_call
from tests.support.proposals import make_context, make_task
from tests.support.transcripts import Notes

CONTEXT = make_context(make_task(modes=("knob", "diff"), planner={"steps": 3}), lineage="# Lineage")
CONVERSATION = [
    tool_call("tried_values", {"knob": "depth"}),
    tool_call("read_source", '{"containing": '),
    tool_call("no_such_tool", {"a": "\ud800"}, content="hm"),
    ok(),
]


def planner_at(server: ChatServer, folder: Path) -> Planner:
    """A new planner, as after a restart: it has learnt nothing of the endpoint."""
    (folder / "models.toml").write_text(server.models_toml("local", tools=True))
    return Planner("local", load_models(folder)["local"])


class Killed(Exception):
    """Stands for the end of the process."""


def killed_after(notes: Notes, count: int) -> Callable[[CallInfo], None]:
    """Writes to `notes`, and ends everything when it holds `count` calls."""

    def write(call: CallInfo) -> None:
        notes.append(call)
        if len(notes) == count:
            raise Killed

    return write


@pytest.mark.parametrize("count", [1, 2, 3, 4])
def test_a_conversation_cut_off_after_any_answer_goes_on_without_asking_twice(count: int, tmp_path: Path) -> None:
    notes = Notes()
    with ChatServer(CONVERSATION) as server:
        with pytest.raises(Killed):
            planner_at(server, tmp_path).propose(
                replace(CONTEXT, transcript=Transcript((), killed_after(notes, count)))
            )
        assert len(server.requests) == len(notes) == count
        reply = planner_at(server, tmp_path).propose(replace(CONTEXT, transcript=notes.transcript()))
        again = planner_at(server, tmp_path).propose(replace(CONTEXT, transcript=notes.transcript()))
        assert len(server.requests) == len(CONVERSATION)
        sent = [request.messages for request in server.requests]
    with ChatServer(CONVERSATION) as server:
        assert planner_at(server, tmp_path).propose(CONTEXT).raw == reply.raw == again.raw == GOOD
        assert [request.messages for request in server.requests] == sent == [call.prompt for call in notes]


def test_a_failure_between_two_answers_costs_only_itself(tmp_path: Path) -> None:
    notes = Notes()
    script = [CONVERSATION[0], reset(), failing(500), CONVERSATION[1], ok()]
    with ChatServer(script) as server:
        planner = planner_at(server, tmp_path)
        for _ in range(2):
            with pytest.raises(NoReplyError):
                planner.propose(replace(CONTEXT, transcript=notes.transcript()))
        assert planner.propose(replace(CONTEXT, transcript=notes.transcript())).raw == GOOD
        assert len(server.requests) == len(script)
    assert [call.error is None for call in notes] == [True, False, False, True, True]


def test_nothing_is_asked_before_the_last_answer_is_on_record(tmp_path: Path) -> None:
    def full(call: CallInfo) -> None:
        raise DiskFullError("no room")

    with ChatServer(CONVERSATION) as server:
        with pytest.raises(DiskFullError):
            planner_at(server, tmp_path).propose(replace(CONTEXT, transcript=Transcript((), full)))
        assert len(server.requests) == 1


def test_a_conversation_goes_on_as_it_was_sent_even_if_a_tool_answers_differently_now(tmp_path: Path) -> None:
    notes = Notes()
    with ChatServer([tool_call("read_source", {"containing": "depth"}), CONVERSATION[0], ok()]) as server:
        with pytest.raises(Killed):
            planner_at(server, tmp_path).propose(replace(CONTEXT, transcript=Transcript((), killed_after(notes, 2))))
        other = replace(CONTEXT, source=CONTEXT.source.replace("depth: int = 2", "depth: int = 7"), program_md="new")
        planner_at(server, tmp_path).propose(replace(other, transcript=notes.transcript()))
        assert len(server.requests) == 3
        assert server.requests[2].messages[:4] == server.requests[1].messages


@pytest.mark.parametrize(
    ("behaviour", "raw"), [(ok(""), ""), (refusal("I won't."), "I won't."), (ok('{"a": "\ud800\x00"}'), None)]
)
def test_an_odd_answer_is_taken_from_the_journal_too(
    behaviour: Callable[[Received], Answer], raw: str | None, tmp_path: Path
) -> None:
    notes = Notes()
    with ChatServer([behaviour]) as server:
        first = planner_at(server, tmp_path).propose(replace(CONTEXT, transcript=notes.transcript()))
        again = planner_at(server, tmp_path).propose(replace(CONTEXT, transcript=notes.transcript()))
        assert len(server.requests) == 1
    assert first.raw == (first.raw if raw is None else raw)
    assert again.raw == notes[0].raw_reply
