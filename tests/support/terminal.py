"""A command in a terminal of its own, and what is to be seen there."""

import fcntl
import os
import pty
import re
import struct
import subprocess
import termios
import time
from collections.abc import Generator
from contextlib import contextmanager, suppress
from select import select

from tests.support.command import argv

ALTERNATE, MAIN = "\x1b[?1049h", "\x1b[?1049l"
"""What switches a terminal to its alternate screen, and back."""
_CONTROL = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
_PATIENCE_S = 60.0


class Terminal:
    """The far end of a pseudo-terminal with a command in it."""

    def __init__(self, process: "subprocess.Popen[bytes]", end: int) -> None:
        self.process, self._end = process, end
        self.output = ""

    def resize(self, width: int, height: int) -> None:
        fcntl.ioctl(self._end, termios.TIOCSWINSZ, struct.pack("HHHH", height, width, 0, 0))

    def type(self, keys: str) -> None:
        os.write(self._end, keys.encode())

    def read(self, seconds: float = 0.1) -> str:
        """Read what comes within so long; the last frame that was drawn, as text."""
        with suppress(OSError):  # the other end is closed
            while select([self._end], [], [], seconds)[0]:
                self.output += os.read(self._end, 65536).decode("utf-8", "replace")
        return self.frame

    @property
    def frame(self) -> str:
        return _CONTROL.sub("", self.output.rsplit("\x1b[H", 1)[-1]).replace("\r", "")

    def wait_for(self, *texts: str) -> str:
        """The first frame that has one of the texts."""
        until = time.monotonic() + _PATIENCE_S
        while time.monotonic() < until:
            frame = self.read()
            if any(text in frame for text in texts):
                return frame
        raise AssertionError(f"none of {texts!r} ever came; the last frame:\n{self.frame}")

    def left(self) -> int:
        """How the command ended."""
        until = time.monotonic() + _PATIENCE_S
        while time.monotonic() < until and self.process.poll() is None:
            self.read()
        self.read()
        return self.process.wait(1)


@contextmanager
def in_terminal(
    *arguments: object, width: int = 80, height: int = 24, env: dict[str, str] | None = None
) -> Generator[Terminal]:
    """Run a `nightshift` command in a terminal of this size."""
    ours, theirs = pty.openpty()
    whole = {**os.environ, "TERM": "xterm-256color", **(env or {})}
    for name in ("COLUMNS", "LINES"):
        whole.pop(name, None)
    fcntl.ioctl(ours, termios.TIOCSWINSZ, struct.pack("HHHH", height, width, 0, 0))
    with subprocess.Popen(
        argv(*arguments), env=whole, start_new_session=True, stdin=theirs, stdout=theirs, stderr=theirs
    ) as process:
        os.close(theirs)
        try:
            yield Terminal(process, ours)
        finally:
            process.kill()
            process.wait()
            os.close(ours)
