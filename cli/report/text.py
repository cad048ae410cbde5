"""Numbers and foreign text as a page shows them: typographic signs, units, and nothing that could be markup."""

import math
import unicodedata
from collections.abc import Iterable
from typing import Any

from cli.terminal.output import NOTHING
from memory.figures.costs import JOULES_PER_KWH
from rails.text import clean_text, measured

SPACE = "\N{NO-BREAK SPACE}"
_MINUS = "\N{MINUS SIGN}"


def line_of(text: object, limit: int = 240) -> str:
    """Foreign text as one clean line. It is escaped where it is put into a page."""
    return clean_text(str(text), limit)


def block_of(text: str) -> str:
    """Foreign text of several lines: tabs become spaces, and what cannot be seen is shown as a code point."""
    return "".join(_shown(character) for character in text.replace("\r\n", "\n").expandtabs(4))


def seen(text: str) -> str:
    """Text without what cannot be seen: the last guard before anything is written into a page."""
    return text if text.isprintable() else "".join(c for c in text if c == "\n" or unicodedata.category(c)[0] != "C")


def _shown(character: str) -> str:
    if character == "\n" or unicodedata.category(character)[0] != "C":
        return character
    return f"‹U+{ord(character):04X}›"


def metric(value: float | None) -> str:
    """A metric, as people read it."""
    return NOTHING if value is None else _signed(measured(value))


def percent(value: float | None, decimals: int = 2) -> str:
    """A relative gain in per cent, with its sign: `+0.80 %`."""
    return NOTHING if value is None else f"{_signed(f'{100 * value:+.{decimals}f}')}{SPACE}%"


def gain(value: float | None, margin: float | None) -> str:
    """A gain with half the width of its interval, to two digits of that: `+0.80 % ± 0.21`."""
    if value is None or margin is None:
        return percent(value)
    decimals = decimals_of(100 * margin)
    return f"{percent(value, decimals)}{SPACE}±{SPACE}{100 * margin:.{decimals}f}"


def estimate(value: float | None, low: float | None, high: float | None) -> str:
    """A gain to as many decimals as its interval deserves: `+19.0 %`."""
    return percent(value) if low is None or high is None else percent(value, _decimals_between(low, high))


def interval(low: float | None, high: float | None) -> str:
    """Both ends of a gain's interval in per cent: `[+0.59, +1.01]`."""
    if low is None or high is None:
        return NOTHING
    decimals = _decimals_between(low, high)
    return f"[{_signed(f'{100 * low:+.{decimals}f}')}, {_signed(f'{100 * high:+.{decimals}f}')}]"


def _decimals_between(low: float, high: float) -> int:
    return decimals_of(100 * (high - low) / 2)


def decimals_of(margin: float) -> int:
    """How many decimals show two digits of `margin`; 0 to 4."""
    if not margin or not math.isfinite(margin):
        return 2
    return min(4, max(0, 1 - math.floor(math.log10(abs(margin)))))


def share(value: float | None) -> str:
    """A share of a whole: `38 %`."""
    if value is None:
        return NOTHING
    shown = f"{100 * value:.0f}"
    if shown == "0" and value > 0:
        return f"<1{SPACE}%"
    return f">99{SPACE}%" if shown == "100" and value < 1 else f"{shown}{SPACE}%"


def duration(seconds: float | None) -> str:
    """A duration in the unit that fits: `38 s`, `42 min`, `7.1 h`, `3.2 days`."""
    if seconds is None:
        return NOTHING
    if 0 < seconds < 0.05:
        return f"<0.1{SPACE}s"
    if 0 < seconds < 9.95:
        return f"{seconds:.1f}{SPACE}s"
    for limit, size, unit in ((100, 1, "s"), (100 * 60, 60, "min"), (72 * 3600, 3600, "h")):
        if seconds < limit:
            value = seconds / size
            return f"{value:.0f}{SPACE}{unit}" if value >= 10 or unit != "h" else f"{value:.1f}{SPACE}{unit}"
    return f"{seconds / 86400:.1f}{SPACE}days"


def energy(joules: float | None) -> str:
    """An energy in the unit that fits: `640 J`, `3.1 Wh`, `0.31 kWh`; or that it was not measured."""
    if joules is None:
        return "not measured"
    if joules >= 0.1 * JOULES_PER_KWH:
        return f"{digits(joules / JOULES_PER_KWH, 2)}{SPACE}kWh"
    return f"{digits(joules / 3600, 2)}{SPACE}Wh" if joules >= 3600 else f"{joules:.0f}{SPACE}J"


def dollars(usd: float | None) -> str:
    """Money: `$12.40`, and small amounts to two digits: `$0.0043`."""
    if usd is None:
        return "not known"
    return f"${usd:.2f}" if usd >= 1 or usd == 0 else f"${digits(usd, 2)}"


def digits(value: float, count: int) -> str:
    """A number to so many significant digits, but never in powers of ten below a million."""
    if value == 0 or not math.isfinite(value):
        return f"{value:g}"
    decimals = max(0, count - 1 - math.floor(math.log10(abs(value))))
    return f"{value:.{min(decimals, 12)}f}"


def value(item: object) -> str:
    """A knob's value, or any plain value of a table."""
    if item is None:
        return NOTHING
    if isinstance(item, bool):
        return "true" if item else "false"
    if isinstance(item, float):
        return _signed(f"{item:.6g}")
    return _signed(f"{item}") if isinstance(item, int) else line_of(item, 200)


def counted(count: int, noun: str, plural: str = "") -> str:
    """`1 keep`, `4 keeps`, `10,000 trials`."""
    word = noun if count == 1 else plural or f"{noun}s"
    return f"{count:,}{SPACE}{word}"


def listed(items: Iterable[str]) -> str:
    """`a`, `a and b`, `a, b and c`."""
    *most, last = list(items) or [""]
    return f"{', '.join(most)} and {last}" if most else last


def flat(document: dict[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    """A nested document as dotted names and shown values."""
    rows: list[tuple[str, str]] = []
    for key, item in document.items():
        name = f"{prefix}{line_of(key, 80)}"
        if isinstance(item, dict):
            rows += flat(item, f"{name}.")
        elif isinstance(item, list | tuple):
            rows.append((name, line_of(", ".join(value(part) for part in item), 400) or NOTHING))
        else:
            rows.append((name, value(item)))
    return rows


def _signed(number: str) -> str:
    """With a minus sign of the width of a plus, and no sign before what is shown as zero."""
    if not any(digit in number for digit in "123456789"):
        return number.lstrip("+-")
    return _MINUS + number[1:] if number.startswith("-") else number
