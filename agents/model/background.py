"""Waiting for somebody else in a thread of its own, so that a person who stops the loop is not kept waiting."""

import threading
import time
from collections.abc import Callable
from typing import TypeVar

POLL_S = 0.1
"""How soon a request to stop is noticed. The end of the work is noticed at once."""

T = TypeVar("T")


class AbandonedError(Exception):
    """The loop was asked to stop, and the work was not done within its grace time."""


def in_background(work: Callable[[], T], stopping: Callable[[], bool], grace_s: float) -> T:
    """Do `work` in a thread, and wait for it in this one, where signals are handled at once.

    Work that is abandoned goes on until it ends by itself; what it returns is dropped. Its thread does not keep the
    process alive.

    Args:
        work: touches nothing that is not safe to leave behind.
        stopping: whether the loop is asked to stop.
        grace_s: how long the work may still take from then on.

    Raises:
        AbandonedError: it took longer.
    """
    done = threading.Event()
    results: list[T] = []
    failures: list[BaseException] = []

    def run() -> None:
        try:
            results.append(work())
        except BaseException as error:  # noqa: BLE001  # raised below, in the thread that waits for it
            failures.append(error)
        finally:
            done.set()

    thread = threading.Thread(target=run, name="nightshift request", daemon=True)
    thread.start()
    give_up_at: float | None = None
    while not done.wait(POLL_S):
        if give_up_at is None and stopping():
            give_up_at = time.monotonic() + grace_s
        if give_up_at is not None and time.monotonic() >= give_up_at:
            raise AbandonedError
    thread.join()  # it has nothing left to do: nobody forks beside a thread that is about to end
    if failures:
        raise failures[0]
    return results[0]
