"""How a person ends the night: the first signal asks, the second stops at once."""

import signal
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager
from types import FrameType


class StopRequest:
    """Whether somebody asked the loop to stop. Anyone may wait for it instead of sleeping."""

    def __init__(self) -> None:
        self._asked = threading.Event()

    @property
    def requested(self) -> bool:
        """Whether the loop is to stop after the work in hand."""
        return self._asked.is_set()

    def ask(self) -> None:
        """Ask the loop to stop after the work in hand. Safe in a signal handler and from any thread."""
        self._asked.set()

    def wait(self, seconds: float) -> bool:
        """Sleep for so long, but not beyond a request to stop. Returns whether there is one."""
        return self._asked.wait(seconds)

    @contextmanager
    def listening(self, on_signal: Callable[[str], None]) -> Generator[None]:
        """Take SIGINT and SIGTERM for requests while the block runs.

        Args:
            on_signal: called in the handler of the first signal, with its name. The second raises KeyboardInterrupt.
        """

        def handle(number: int, frame: FrameType | None) -> None:
            if self.requested:
                raise KeyboardInterrupt
            self.ask()
            on_signal(signal.Signals(number).name)

        previous = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, old in previous.items():
                signal.signal(number, old)
