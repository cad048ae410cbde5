"""How a person ends the night: the first signal asks, the second stops at once."""

import signal
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager
from types import FrameType
from typing import NoReturn


class StopRequest:
    """Whether somebody asked the loop to stop. Anyone may wait for it instead of sleeping."""

    def __init__(self) -> None:
        self._asked = threading.Event()
        self.signal: str | None = None
        """The name of the signal that asked; None when none did."""
        self._at_once = False

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

    def end_at_once(self) -> NoReturn:
        """Leave everything as it is, now. For signal handlers inside `listening`.

        Raises:
            KeyboardInterrupt: always.
        """
        self._at_once = True
        raise KeyboardInterrupt

    @contextmanager
    def listening(self, on_signal: Callable[[str], None]) -> Generator[None]:
        """Take SIGINT, SIGTERM and SIGHUP for requests while the block runs.

        A terminal that closes sends SIGHUP, often twice: that never counts as the second one. Who started the loop with
        `nohup` has SIGHUP ignored, and it stays so.

        Args:
            on_signal: called in the handler of the first signal, with its name. The second raises KeyboardInterrupt.

        Raises:
            KeyboardInterrupt: a second signal came, or `end_at_once` was called, whatever became of that on its way.
        """

        def handle(number: int, frame: FrameType | None) -> None:
            if self.signal is not None:
                if number != signal.SIGHUP:
                    self.end_at_once()
                return
            self.signal = signal.Signals(number).name
            self.ask()
            on_signal(self.signal)

        taken = [signal.SIGINT, signal.SIGTERM]
        if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
            taken.append(signal.SIGHUP)
        previous = {number: signal.signal(number, handle) for number in taken}
        try:
            yield
        except Exception as error:
            if self._at_once:  # a C extension that is cut into by a handler's exception raises its own: DuckDB does
                raise KeyboardInterrupt from error
            raise
        finally:
            for number, old in previous.items():
                signal.signal(number, old)
