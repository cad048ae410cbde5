"""Whether readers hold up the writer: how long deciding and publishing take with a reader beside the loop and without.

One campaign in this process; the reader, a process of its own, polls and rests by turns, so that both halves see the
same machine and the same store.
"""

import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.soaks.kills import reader_of
from graph.campaign.options import RunOptions
from graph.night import run_night
from graph.services import Services
from graph.watching.events import Observer
from memory.records import Trial
from tests.support.workspaces import make_standin_workspace

TURN = 10
"""Trials between two changes."""


class _Turns(Observer):
    """Sends the reader to rest, and calls it back."""

    def __init__(self, rest: Path) -> None:
        self._rest = rest
        rest.touch()

    @property
    def beside(self) -> bool:
        """Whether the reader polls."""
        return not self._rest.exists()

    def decided(self, trial: Trial) -> None:
        """See `Observer`."""
        if trial.seq % TURN == 0:
            self._rest.touch() if self.beside else self._rest.unlink()


def measure(folder: Path, trials: int) -> dict[str, Any]:
    """Milliseconds of each write, with the reader and without, and the ratio of their medians.

    Args:
        folder: for everything.
        trials: of the campaign.
    """
    root, news = make_standin_workspace(folder / "writes"), folder / "writes.json"
    turns = _Turns(news.with_suffix(".rest"))
    times: dict[tuple[str, bool], list[float]] = {(w, b): [] for w in ("decide", "publish") for b in (False, True)}

    def timed(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **named: Any) -> Any:
            beside, started = turns.beside, time.perf_counter()
            try:
                return function(*arguments, **named)
            finally:
                times[name, beside].append(time.perf_counter() - started)

        return call

    decide, publish = Services.decide, Services.publish
    Services.decide, Services.publish = timed("decide", decide), timed("publish", publish)
    try:
        with reader_of(root, news):
            run_night(root, RunOptions(proposer="random", trials=trials, tag="writes"), turns)
    finally:
        Services.decide, Services.publish = decide, publish
    return {name: _compare(times[name, False], times[name, True]) for name in ("decide", "publish")}


def _compare(alone: list[float], beside: list[float]) -> dict[str, float]:
    return {
        "alone_ms": round(1e3 * statistics.median(alone), 2),
        "beside_a_reader_ms": round(1e3 * statistics.median(beside), 2),
        "ratio": round(statistics.median(beside) / statistics.median(alone), 2),
        "longest_alone_ms": round(1e3 * max(alone), 1),
        "longest_beside_a_reader_ms": round(1e3 * max(beside), 1),
    }
