"""A request in flight keeps nobody waiting: a grace time, then it is abandoned; a second signal ends it at once."""

import signal
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest

from agents.base import NoReplyKind
from agents.model.background import AbandonedError, in_background
from agents.model.config import load_models
from agents.planner.planner import Planner
from tests.support.chat_server import GOOD, Answer, ChatServer, Received, hang, ok, tool_call
from tests.support.proposals import make_context
from tests.support.transcripts import Notes, refused


class Asked:
    """A request to stop that can be made from anywhere."""

    def __init__(self) -> None:
        self._event = threading.Event()

    def __call__(self) -> bool:
        return self._event.is_set()

    def make(self) -> None:
        self._event.set()


def planner_at(server: ChatServer, folder: Path, grace_s: float, **keys: object) -> Planner:
    (folder / "models.toml").write_text(server.models_toml("local", **keys))
    return Planner("local", load_models(folder)["local"], grace_s=grace_s)


def test_a_hanging_request_is_given_up_after_the_grace_time(tmp_path: Path) -> None:
    stop = Asked()
    with ChatServer([hang()]) as server:
        planner = planner_at(server, tmp_path, 0.3, timeout_s=60)
        threading.Timer(0.2, stop.make).start()
        started = time.monotonic()
        error, calls = refused(planner, make_context(stopping=stop))
        took = time.monotonic() - started
    assert 0.4 < took < 5
    assert error.kind is NoReplyKind.PASSING and "asked to stop, and no answer within 0.3 s" in str(error)
    assert len(calls) == 1 and calls[0].error is not None


def test_an_answer_within_the_grace_time_is_on_record(tmp_path: Path) -> None:
    stop, notes = Asked(), Notes()

    def slow(request: Received) -> Answer:
        stop.make()
        time.sleep(0.5)
        return ok()(request)

    with ChatServer([slow]) as server:
        planner = planner_at(server, tmp_path, 20.0)
        reply = planner.propose(make_context(stopping=stop, transcript=notes.transcript()))
    assert reply.raw == GOOD == notes[0].raw_reply


def test_no_further_request_is_sent_when_the_loop_stops(tmp_path: Path) -> None:
    stop = Asked()

    def stops(request: Received) -> Answer:
        stop.make()
        return tool_call("tried_values", {"knob": "depth"})(request)

    with ChatServer([stops, ok()]) as server:
        planner = planner_at(server, tmp_path, 20.0, tools=True)
        error, calls = refused(planner, make_context(stopping=stop))
        assert len(server.requests) == len(calls) == 1
        error, calls = refused(planner, replace(make_context(), stopping=stop))
        assert len(server.requests) == 1 and calls == []
    assert "nothing was asked" in str(error)


def test_a_signal_handler_that_raises_ends_a_hanging_request_at_once(tmp_path: Path) -> None:
    def interrupt(number: int, frame: object) -> None:
        raise KeyboardInterrupt

    previous = signal.signal(signal.SIGUSR1, interrupt)
    try:
        with ChatServer([hang()]) as server:
            planner = planner_at(server, tmp_path, 60.0, timeout_s=60)
            threading.Timer(0.3, signal.raise_signal, [signal.SIGUSR1]).start()
            started = time.monotonic()
            with pytest.raises(KeyboardInterrupt):
                planner.propose(make_context())
            assert time.monotonic() - started < 5
    finally:
        signal.signal(signal.SIGUSR1, previous)


def test_work_in_the_background_gives_its_result_or_its_error() -> None:
    def fails() -> int:
        raise ValueError("no")

    assert in_background(lambda: 7, lambda: False, 0.0) == 7
    assert in_background(lambda: 7, lambda: True, 5.0) == 7
    with pytest.raises(ValueError, match="no"):
        in_background(fails, lambda: False, 0.0)
    assert threading.active_count() == len([thread for thread in threading.enumerate() if thread.is_alive()])


def test_abandoned_work_does_not_hold_the_caller() -> None:
    gate = threading.Event()
    started = time.monotonic()
    with pytest.raises(AbandonedError):
        in_background(gate.wait, lambda: True, 0.0)
    assert time.monotonic() - started < 5
    gate.set()
