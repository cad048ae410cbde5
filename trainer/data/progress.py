"""How preparing data tells its caller how far it is."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from threading import Lock

INTERVAL_S = 0.2


@dataclass(frozen=True, slots=True)
class PrepareProgress:
    """One report."""

    stage: str
    """What is being done, as a person reads it: "learning the vocabulary"."""
    done: int
    total: int
    """0 when it is not known."""
    unit: str
    """What is counted: "files", "bytes", "documents"; empty when the stage has no count."""


ProgressCallback = Callable[[PrepareProgress], None]


class Meter:
    """Counts within one stage and reports at its start, at most five times a second, and at its end.

    Threads may share one; the callback is never called by two at once.
    """

    def __init__(self, callback: ProgressCallback | None, stage: str, total: int = 0, unit: str = "") -> None:
        self._callback, self._stage, self._total, self._unit = callback, stage, total, unit
        self._done = 0
        self._lock = Lock()
        self._report()

    def _report(self) -> None:
        self._next = time.monotonic() + INTERVAL_S
        if self._callback is not None:
            self._callback(PrepareProgress(self._stage, self._done, self._total, self._unit))

    def add(self, amount: int = 1) -> None:
        """Count `amount` more."""
        with self._lock:
            self._done += amount
            if time.monotonic() >= self._next:
                self._report()

    def finish(self) -> None:
        """Report the final count."""
        with self._lock:
            self._report()
