"""Printing: results on stdout (a table for people or one JSON document), everything else on stderr."""

import errno
import json
import sys
import unicodedata
from collections.abc import Generator, Iterable, Sequence
from contextlib import contextmanager
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import IO, Any, TextIO, cast

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment
from rich.table import Table
from rich.text import Text

from rails.text import escaped_json

GONE = frozenset({errno.EPIPE, errno.EIO, errno.ECONNRESET})
"""How writing fails when the other end of a pipe or the terminal is gone."""

NOTHING = "–"
"""What a person sees where a value is absent; JSON has null."""


class SafeConsole(Console):
    """A console whose texts, whoever wrote them, can do nothing to a terminal; its own colours and cursor moves can.

    Args:
        file: where it writes.
        width: cells; None: those of the terminal.
    """

    def __init__(self, file: IO[str], width: int | None = None) -> None:
        super().__init__(file=file, width=width, highlight=False, markup=False, emoji=False)

    def render_str(self, text: str, **how: Any) -> Text:
        """As the original, of a text that has been made harmless: what rich drops silently is seen as an escape."""
        return super().render_str(printable(text), **how)

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """As the original; the one place that everything printed goes through."""
        for segment in super().render(renderable, options):
            yield segment if segment.control else segment._replace(text=printable(segment.text))


def stdout() -> Console:
    """The console for results. When piped, tables keep their full width instead of wrapping at 80 columns."""
    return SafeConsole(sys.stdout, width=None if sys.stdout.isatty() else 200)


def stderr() -> Console:
    """The console for progress and notes. A night goes on when nobody can see it any more."""
    return SafeConsole(cast(IO[str], Unbreakable(sys.stderr)))


class Unbreakable:
    """A text stream that goes quiet when its reader is gone: a closed terminal, or the other end of a pipe."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        """Write, if anybody is there."""
        with _nobody_there():
            return self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        """Flush, if anybody is there."""
        with _nobody_there():
            self._stream.flush()

    def isatty(self) -> bool:
        """Whether it is a terminal."""
        return self._stream.isatty()

    def fileno(self) -> int:
        """Of the stream itself."""
        return self._stream.fileno()

    @property
    def encoding(self) -> str:
        """Of the stream itself."""
        return self._stream.encoding


@contextmanager
def _nobody_there() -> Generator[None]:
    try:
        yield
    except OSError as error:
        if error.errno not in GONE:
            raise


def print_json(document: Any) -> None:
    """Print one JSON document. Times of day are ISO-8601 in UTC; NaN and infinity never appear."""
    text = json.dumps(document, default=jsonable, ensure_ascii=False, allow_nan=False, indent=2)
    sys.stdout.write(f"{escaped_json(text)}\n")


def jsonable(value: object) -> Any:
    """What JSON has of a value that it does not know itself."""
    if isinstance(value, datetime | date):
        return value.isoformat()
    if isinstance(value, Decimal):
        return float(value)
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, Path):
        return str(value)
    return str(value)


def table(columns: Sequence[str], rows: Iterable[Sequence[object]], *, right: Sequence[str] = ()) -> Table:
    """A plain table: no colour carries meaning, model-written text is never read as markup."""
    made = Table(box=None, pad_edge=False, header_style="bold", show_header=any(columns))
    for column in columns:
        made.add_column(column, justify="right" if column in right else "left", overflow="fold")
    for row in rows:
        made.add_row(*(Text(cell(value)) for value in row))
    return made


def cell(value: object) -> str:
    """One value as a person reads it."""
    if value is None:
        return NOTHING
    if isinstance(value, float):
        return f"{value:.6g}"
    return printable(str(value))


def printable(text: str) -> str:
    r"""Text of a model or a program, exact, but unable to do anything to a terminal.

    What is not seen (control characters, escape sequences, marks that turn the direction of writing) stands there as
    its escape, `\x1b`; line breaks and tabs stay.
    """
    if text.isascii() and text.isprintable():
        return text
    return "".join(c if c in "\n\t" or unicodedata.category(c)[0] != "C" else ascii(c)[1:-1] for c in text)


def printable_line(text: str) -> str:
    """The same on one line, for a list in which every line is a statement: no text can add a line of its own."""
    return printable(text).replace("\n", "\\n").replace("\t", "\\t")


def score_text(value: float | None, decimals: int = 4) -> str:
    """A score, as its task wants it shown."""
    return NOTHING if value is None else f"{value:.{decimals}f}"


def percent(value: float | None) -> str:
    """A relative gain, signed, in per cent."""
    return NOTHING if value is None else f"{100 * value:+.2f} %"


def gain_text(gain: float | None, low: float | None, high: float | None) -> str:
    """A gain with its interval when there is one."""
    if gain is None:
        return NOTHING
    if low is None or high is None:
        return percent(gain)
    return f"{percent(gain)} [{100 * low:+.2f}, {100 * high:+.2f}]"


def seconds(value: float | None) -> str:
    """A duration: 42 s, 3:07, 1:02:03."""
    if value is None:
        return NOTHING
    whole = round(value)
    if whole < 100:
        return f"{value:.0f} s"
    hours, rest = divmod(whole, 3600)
    minutes, rest = divmod(rest, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
