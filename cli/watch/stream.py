"""Following what a loop says, line by line, from the file that it leaves them in. Nothing here takes a lock."""

import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from cli.inputs.workspaces import holder_of
from graph.workspace import Workspace

EVERY_S = 0.25
"""How often there is another look."""

KILLED = "loop_killed"
"""The one event that is ours, not the loop's: it is gone, and did not say so."""


def follow(workspace: Workspace) -> Iterator[str]:
    """The lines of the loop at work from its first on, until it is gone; of the last loop, when none is at work.

    Where no loop has been yet the first one is waited for.
    """
    log, last = _Log(workspace.events_path), dict[str, Any]()
    while True:
        at_work = holder_of(workspace) is not None  # first: what is said until it is gone is read all the same
        for line, event in log.news():
            last = event
            yield line
        if last and not at_work:
            if last["event"] != "loop_ended":
                yield json.dumps({"at": last.get("at"), "event": KILLED})
            return
        time.sleep(EVERY_S)


class _Log:
    """Reads a file that grows, and goes over to the one that took its place."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: int | None = None
        self._rest = b""

    def news(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """The whole lines that are new, with what they say; one that a full disk cut is passed over."""
        while True:
            replaced = self._is_replaced()
            if self._file is not None:
                while read := os.read(self._file, 1 << 20):
                    *lines, self._rest = (self._rest + read).split(b"\n")
                    yield from filter(None, map(_parsed, lines))
            if not replaced:
                return
            self._open()

    def _is_replaced(self) -> bool:
        """Whether another file has the name: the first one, or one that was begun anew."""
        try:
            found = os.stat(self._path)
        except OSError:
            return False
        return self._file is None or found.st_ino != os.fstat(self._file).st_ino

    def _open(self) -> None:
        if self._file is not None:
            os.close(self._file)
        self._file, self._rest = None, b""
        try:
            self._file = os.open(self._path, os.O_RDONLY)
        except FileNotFoundError:
            return


def _parsed(line: bytes) -> tuple[str, dict[str, Any]] | None:
    try:
        text = line.decode("ascii")
        event = json.loads(text)
    except ValueError:
        return None
    return (text, event) if isinstance(event, dict) and "event" in event else None
