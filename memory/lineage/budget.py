"""How much of the lineage block fits: tokens by an estimate of our own, lines that are shown whole or not at all."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from math import ceil

_PIECES = re.compile(r"[A-Za-z]+|[0-9]{1,3}|[^\sA-Za-z0-9]+|\n")
_MORE = "- … and {count} more"
_NO_ROOM = "\n(no room for: {titles})"


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """A heading and its lines, in the order of reading."""

    title: str
    priority: int
    """Lower is served first when room is short; 0 always fits."""
    lines: list[str]
    order: list[int] = field(default_factory=list[int])
    """Indices of `lines`, the most important first."""
    least: int = 3
    """So many lines before any section gets more."""
    enough: int = 6
    """So many lines before any section gets all of its."""
    more: int = 0
    """Lines that exist but were not made."""


@lru_cache(maxsize=4096)  # from trial to trial most lines stay the same
def count_tokens(text: str) -> int:
    """About as many tokens as a byte-pair tokenizer makes of `text`; rather too many than too few.

    Words count one token for each six letters, digits one for each three, other marks one for each two bytes, newlines
    one. Letters beyond ASCII are other marks.
    """
    total = 0
    for piece in _PIECES.findall(text):
        if piece[0].isascii() and piece[0].isalpha():
            total += ceil(len(piece) / 6)
        else:
            total += 1 if piece[0].isascii() and piece[0].isdigit() else ceil(len(piece.encode("utf-8", "replace")) / 2)
    return total


def fit(heading: str, sections: Sequence[Section], max_tokens: int) -> str:
    """The heading and as many whole lines of the sections as the budget has room for; what is left out is counted.

    A few lines of every section come first, then enough of each, then all. Sections of priority 0 are shown whatever
    the budget: keep them short. Sections without room for a line are named at the end, or only counted.

    Args:
        heading: stands first.
        sections: in the order of reading; those without lines are left out.
        max_tokens: budget by `count_tokens`.
    """
    parts = [section for section in sections if section.lines]
    budget = max_tokens - count_tokens(heading) - 1 - sum(map(_mention, parts)) - count_tokens(_NO_ROOM) - 1
    taken = dict.fromkeys((part.title for part in parts), 0)
    by_priority = sorted(parts, key=lambda part: part.priority)
    for wanted in _ROUNDS:
        for part in by_priority:
            while taken[part.title] < min(wanted(part), len(part.lines)):
                cost = _cost(part, taken[part.title])
                if cost > budget and part.priority > 0:
                    break
                budget -= cost
                taken[part.title] += 1
    shown = [_show(part, taken[part.title]) for part in parts if taken[part.title]]
    left_out = [part.title for part in parts if not taken[part.title]]
    missing = ", ".join(left_out) if budget >= 0 else f"{len(left_out)} of the sections"
    return "\n".join([heading, *shown, *([_NO_ROOM.format(titles=missing)] if left_out else [])]) + "\n"


def _mention(part: Section) -> int:
    """Tokens of naming a section that has no room; given back when it gets some."""
    return count_tokens(f"{part.title}, ")


def _all(part: Section) -> int:
    return len(part.lines)


_ROUNDS: tuple[Callable[[Section], int], ...] = (lambda part: part.least, lambda part: part.enough, _all)


def _cost(part: Section, taken: int) -> int:
    """Tokens of the next line; with the first one, those of the title and of the line that says what was left out."""
    cost = count_tokens(part.lines[part.order[taken]]) + 1
    if taken == 0:
        left = count_tokens(_MORE.format(count=len(part.lines) + part.more)) + 1
        cost += count_tokens(f"\n## {part.title}") + 1 + left - _mention(part)
    return cost


def _show(part: Section, taken: int) -> str:
    chosen = sorted(part.order[:taken])
    left = len(part.lines) - taken + part.more
    more = [_MORE.format(count=left)] if left else []
    return "\n".join(["", f"## {part.title}", *(part.lines[index] for index in chosen), *more])
