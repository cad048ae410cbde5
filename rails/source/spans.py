"""Exchange lines of a text: spans of them, all at once."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from rails.source.program import EditError


@dataclass(frozen=True, slots=True)
class Span:
    """Lines of a source, from `start` to before `end`, and what stands there instead."""

    start: int
    end: int
    lines: list[str]


class Edit(Protocol):
    """One edit of a source, which knows where it belongs."""

    def place(self, lines: list[str]) -> Span:
        """Where it goes in the lines of a source.

        Raises:
            EditError: nowhere, or in more than one place.
        """
        ...


class OverlapError(EditError):
    """Two edits change the same lines."""


def split_lines(text: str) -> list[str]:
    """Lines with their line feeds. Only the line feed counts: str.splitlines breaks at a dozen other characters."""
    parts = text.split("\n")
    return [f"{part}\n" for part in parts[:-1]] + ([parts[-1]] if parts[-1] else [])


def exchanged(lines: list[str], spans: Sequence[Span]) -> str:
    """The text with the spans exchanged.

    Raises:
        OverlapError: two of them have lines in common.
    """
    written: list[str] = []
    done = 0
    for span in sorted(spans, key=lambda span: (span.start, span.end)):
        if span.start < done:
            raise OverlapError(f"two of the edits change the same lines, from line {span.start + 1} on")
        written += lines[done : span.start] + span.lines
        done = span.end
    written += lines[done:]
    whole = [line if line.endswith("\n") else f"{line}\n" for line in written[:-1]]
    return "".join(whole + written[-1:])
