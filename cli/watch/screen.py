"""Drawing again and again in a terminal's alternate screen until a person has seen enough."""

import os
import select
import signal
import sys
import termios
import time
import tty
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from types import FrameType

from rich.console import Console
from rich.live import Live
from rich.text import Text

from cli.terminal.plot import draws_plain
from cli.watch.view import Size

EVERY_S = 0.5
"""How often there is another look, and how soon a changed size of the terminal is followed."""


def watch_terminal(console: Console, draw: Callable[[Size], list[str]]) -> None:
    """Draw until somebody types q or Ctrl-C, the process is asked to end, or the terminal is gone.

    Args:
        console: of the terminal.
        draw: gives the lines for a terminal of this size.
    """
    plain = draws_plain(sys.stdout)
    shown: list[str] = []
    live = Live(console=console, screen=True, auto_refresh=False)
    with suppress(KeyboardInterrupt), _ending_nicely(), _keys() as typed, live:
        while True:
            lines = draw(Size(console.width, console.height, plain))
            if lines != shown:
                live.update(Text("\n".join(lines), no_wrap=True, overflow="crop", end=""), refresh=True)
                shown = lines
            if typed() & {"q", "Q"}:
                return


@contextmanager
def _ending_nicely() -> Generator[None]:
    """Leave the alternate screen also when the process is asked to end."""

    def end(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@contextmanager
def _keys() -> Generator[Callable[[], set[str]]]:
    """A function that waits for a moment, or until keys are typed, and gives those; q when the terminal is gone."""
    if not sys.stdin.isatty():

        def wait() -> set[str]:
            time.sleep(EVERY_S)
            return set()

        yield wait
        return
    terminal = sys.stdin.fileno()
    before = termios.tcgetattr(terminal)

    def typed() -> set[str]:
        if not select.select([terminal], [], [], EVERY_S)[0]:
            return set()
        return set(os.read(terminal, 1024).decode("ascii", "replace") or "q")

    try:
        tty.setcbreak(terminal)
        yield typed
    finally:
        with suppress(termios.error):
            termios.tcsetattr(terminal, termios.TCSADRAIN, before)
