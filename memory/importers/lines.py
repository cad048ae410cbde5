"""The lines of a text file, whatever bytes it holds."""

from collections.abc import Callable, Iterator
from pathlib import Path

Tick = Callable[[int], None]
"""Told how many bytes more have been read."""


def unheard(_: int) -> None:
    """For whoever shows no progress."""


def lines_of(path: Path, tick: Tick = unheard) -> Iterator[tuple[int, str]]:
    """Line numbers from 1 and texts, empty lines left out.

    Only a newline ends a line: other separators of Unicode stand in free text. What is no UTF-8 is replaced, so that
    one damaged letter costs no row.

    Raises:
        OSError: it cannot be read.
    """
    with path.open("rb") as file:
        for number, raw in enumerate(file, 1):
            tick(len(raw))
            text = raw.decode("utf-8", "replace").rstrip("\r\n")
            if number == 1:
                text = text.removeprefix("\ufeff")
            if text.strip():
                yield number, text
