"""Curves in a terminal, drawn with braille dots, or in plain ASCII where there are none. No colour carries meaning."""

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TextIO

_POOR_TERMINALS = frozenset({"linux", "vt100", "vt102", "vt220"})
"""Their fonts have no braille."""

Point = tuple[float, float]
"""(x, y)."""

_LABEL_CELLS = 8
_OUTLIERS, _ENOUGH = 0.05, 40
_LARGEST = 1e100
"""Beyond this, or not a number at all, a y is not drawn."""
_BRAILLE = 0x2800
_BRAILLE_BITS = ((0x01, 0x08), (0x02, 0x10), (0x04, 0x20), (0x40, 0x80))
"""Bit of each dot of a cell, by row and column (Unicode, block Braille Patterns)."""
_ASCII_MARKS = "'-."


@dataclass(frozen=True, slots=True)
class Series:
    """One curve."""

    points: Sequence[Point]
    """By x; y that is no number, or beyond all bounds, is left out."""
    dotted: bool = False
    """Drawn with gaps, for the curve that another one is held against."""


@dataclass(frozen=True, slots=True)
class Frame:
    """Where curves are drawn."""

    width: int
    """Cells, labels included; at least 20."""
    height: int
    """Cells, without the line below that has the ends of the x axis; at least 2."""
    x_low: float
    x_high: float
    left: str
    """Label of `x_low`; likewise `right`."""
    right: str
    plain: bool = False
    """Use nothing but ASCII."""


def plot(series: Sequence[Series], frame: Frame) -> list[str]:
    """Lines with the curves, an axis of y on the left and the ends of the x axis below; none without a point.

    Of many points the highest 5 % may lie beyond the upper edge and are drawn on it: the first losses of a training
    would leave no room for those that matter.
    """
    drawn = [Series([p for p in one.points if abs(p[1]) < _LARGEST], one.dotted) for one in series]
    drawn = [one for one in drawn if one.points]
    if not drawn:
        return []
    low, high = _range([y for one in drawn for _, y in one.points])
    canvas = _Canvas(frame, low, high)
    for one in drawn:
        canvas.draw(one)
    labels = {0: high, frame.height - 1: low}
    edge = "|" if frame.plain else "│"
    lines = [
        f"{_number(labels.get(row)):>{_LABEL_CELLS}} {edge}{text}" for row, text in enumerate(canvas.lines(frame.plain))
    ]
    gap = frame.width - _LABEL_CELLS - 2 - len(frame.left) - len(frame.right)
    return [*lines, f"{'':{_LABEL_CELLS}}  {frame.left}{'':{max(1, gap)}}{frame.right}"]


def _range(values: list[float]) -> tuple[float, float]:
    """Lowest and highest y that are shown."""
    ordered = sorted(values)
    top = ordered[-1] if len(ordered) < _ENOUGH else ordered[int((1 - _OUTLIERS) * len(ordered))]
    low = ordered[0]
    if top - low <= 1e-9 * max(abs(top), abs(low)):
        margin = 0.01 * abs(low) or 1.0
        return low - margin, low + margin
    return low, top


def _number(value: float | None) -> str:
    """As many digits as there is room for."""
    texts = ["" if value is None else f"{value:.{digits}g}" for digits in (4, 3, 2, 1)]
    return next((text for text in texts if len(text) <= _LABEL_CELLS), texts[-1])


class _Canvas:
    """A grid of dots, several to a cell."""

    def __init__(self, frame: Frame, low: float, high: float) -> None:
        self._frame, self._low, self._high = frame, low, high
        self._per_cell = (1, len(_ASCII_MARKS)) if frame.plain else (2, len(_BRAILLE_BITS))
        self.columns = max(1, frame.width - _LABEL_CELLS - 2) * self._per_cell[0]
        self.rows = frame.height * self._per_cell[1]
        self._dots: set[tuple[int, int]] = set()

    def draw(self, series: Series) -> None:
        """Join the points of a curve."""
        before: tuple[int, int] | None = None
        for point in series.points:
            at = self._place(point)
            dots = [at] if before is None else _line(before, at)
            self._dots.update(dot for dot in dots if not series.dotted or dot[0] % (2 * self._per_cell[0]) == 0)
            before = at

    def lines(self, plain: bool) -> list[str]:
        """The grid as text."""
        wide, high = self._per_cell
        draw = _ascii_cell if plain else _braille_cell
        return [
            "".join(
                draw([(x, y) for y in range(high) for x in range(wide) if (column + x, row + y) in self._dots])
                for column in range(0, self.columns, wide)
            ).rstrip()
            for row in range(0, self.rows, high)
        ]

    def _place(self, point: Point) -> tuple[int, int]:
        x, y = point
        span = self._frame.x_high - self._frame.x_low
        across = (x - self._frame.x_low) / span if span > 0 else 0.0
        down = (self._high - y) / (self._high - self._low)
        return _clamped(across, self.columns), _clamped(down, self.rows)


def _clamped(share: float, cells: int) -> int:
    return max(0, min(cells - 1, round(share * (cells - 1))))


def _line(start: tuple[int, int], end: tuple[int, int]) -> Iterable[tuple[int, int]]:
    """The dots between two dots, both included."""
    steps = max(abs(end[0] - start[0]), abs(end[1] - start[1]), 1)
    for step in range(steps + 1):
        share = step / steps
        yield round(start[0] + share * (end[0] - start[0])), round(start[1] + share * (end[1] - start[1]))


def _braille_cell(dots: Sequence[tuple[int, int]]) -> str:
    return chr(_BRAILLE + sum(_BRAILLE_BITS[y][x] for x, y in dots)) if dots else " "


def _ascii_cell(dots: Sequence[tuple[int, int]]) -> str:
    rows = {y for _, y in dots}
    return " " if not rows else _ASCII_MARKS[rows.pop()] if len(rows) == 1 else "|"


def draws_plain(stream: TextIO) -> bool:
    """Whether nothing but ASCII can be drawn on this stream."""
    try:
        "⣿│·±…×–".encode(stream.encoding or "ascii")
    except (UnicodeEncodeError, LookupError):
        return True
    return os.environ.get("TERM", "") in _POOR_TERMINALS
