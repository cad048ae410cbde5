"""Requests to stop, by signals and otherwise."""

import os
import signal
import time

import pytest

from graph.limits.stopping import StopRequest


def test_a_wait_ends_with_the_request() -> None:
    stop = StopRequest()
    assert not stop.wait(0.0)
    heard: list[str] = []
    with stop.listening(heard.append):
        os.kill(os.getpid(), signal.SIGTERM)
        started = time.monotonic()
        assert stop.wait(60.0)
    assert time.monotonic() - started < 30
    assert heard == ["SIGTERM"]
    assert stop.signal == "SIGTERM"


def test_a_second_signal_ends_at_once_whatever_an_extension_makes_of_it() -> None:
    stop = StopRequest()

    def query() -> None:
        try:
            os.kill(os.getpid(), signal.SIGINT)
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(1.0)
        except KeyboardInterrupt:
            raise RuntimeError("Query interrupted") from None

    with pytest.raises(KeyboardInterrupt), stop.listening(lambda name: None):
        query()


def test_an_error_of_another_kind_stays_what_it_is() -> None:
    with pytest.raises(RuntimeError, match="mine"), StopRequest().listening(lambda name: None):
        raise RuntimeError("mine")


def test_a_request_that_nobody_signalled_leaves_the_first_signal_the_first() -> None:
    stop, heard = StopRequest(), list[str]()
    stop.ask()
    with stop.listening(heard.append):
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(0.01)
    assert heard == ["SIGTERM"]
