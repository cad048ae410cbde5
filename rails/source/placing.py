"""Find where a block of lines belongs in a source: by its lines alone, wherever exactly one place fits.

Lines are compared exactly; then without trailing space; then without blank lines; then without indentation, as long as
every indentation of the block stands for one of the source. What the block leaves as it is stays the source's own text.
"""

import difflib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from rails.source.program import EditError
from rails.source.spans import Span
from rails.text import quote, shorten

_TAB = 4
_SHOWN = 60
_LOOKED_UP = 12
"""How many lines of a block that fits nowhere are looked up one by one."""

_Match = Sequence[int | None]
"""For each line of the block its index in the source; None for a blank line that the source may lack."""


class NotFoundError(EditError):
    """The lines that an edit names are not in the source."""


@dataclass(frozen=True, slots=True)
class Block:
    """Lines as they stand in the source, and lines to stand there instead; all with their line feeds."""

    name: str
    """What a reason calls it: `hunk 2 of the diff`."""
    old: list[str]
    new: list[str]
    line: int | None = None
    """Index of the line where it says that it begins: decides between places that fit equally well."""

    def place(self, lines: list[str]) -> Span:
        """Where it goes.

        Raises:
            NotFoundError: its lines are not there.
            EditError: they are there more than once, or it has none.
        """
        if not self.old:
            return self._insertion(lines)
        if exact := _rows(self.old, lines):
            start = self._one_of(exact)[0] or 0
            return Span(start, start + len(self.old), self.new)
        for find, reindent in ((_spaced, False), (_filled, False), (_indented, True)):
            if matches := find(self.old, lines):
                match = self._one_of(matches)
                inside = [place for place in match if place is not None]
                table = _indentations(self.old, lines, match) if reindent else None
                return Span(inside[0], inside[-1] + 1, self._rewritten(match, lines, table or {}))
        raise NotFoundError(f"{self.name} does not fit: {_nearest(self.old, lines)}")

    def _insertion(self, lines: list[str]) -> Span:
        if self.line is None:
            raise EditError(f"{self.name} names no lines of the file: give it the lines that stand around the new ones")
        if not 0 <= self.line <= len(lines):
            raise EditError(f"{self.name} points outside the file: give it lines of context")
        return Span(self.line, self.line, self.new)

    def _one_of(self, matches: list[_Match]) -> _Match:
        if len(matches) == 1:
            return matches[0]
        starts = [next(place for place in match if place is not None) for match in matches]
        if self.line in starts:
            return matches[starts.index(self.line)]
        places = ", ".join(str(start + 1) for start in starts[:6]) + (", …" if len(starts) > 6 else "")
        what = f"{self.name} fits in {len(matches)} places (lines {places})"
        raise EditError(f"{what}: give it more of the lines around the right one")

    def _rewritten(self, match: _Match, lines: list[str], table: dict[int, int]) -> list[str]:
        """The new lines, in which what is as before is the source's own text, its blank lines included."""
        old, new = [line.rstrip() for line in self.old], [line.rstrip() for line in self.new]
        written: list[str] = []
        done = next(place for place in match if place is not None)
        for tag, i1, i2, j1, j2 in difflib.SequenceMatcher(None, old, new, autojunk=False).get_opcodes():
            places = [place for place in match[i1:i2] if place is not None]
            if places:
                written += lines[done : places[-1] + 1] if tag == "equal" else lines[done : places[0]]
                done = places[-1] + 1
            if tag in {"replace", "insert"}:
                written += [_shifted(line, table) for line in self.new[j1:j2]]
        return written


def _rows(old: list[str], lines: list[str]) -> list[_Match]:
    """Where the lines stand in the source one after another."""
    width = len(old)
    starts = range(len(lines) - width + 1)
    return [range(at, at + width) for at in starts if lines[at] == old[0] and lines[at : at + width] == old]


def _spaced(old: list[str], lines: list[str]) -> list[_Match]:
    """The same, whatever trailing space and line ends they have."""
    return _rows([line.rstrip() for line in old], [line.rstrip() for line in lines])


def _filled(old: list[str], lines: list[str]) -> list[_Match]:
    """The same, blank lines left out."""
    return _among_filled(old, lines, str.rstrip)


def _indented(old: list[str], lines: list[str]) -> list[_Match]:
    """The same, whatever their indentation, as long as it is that of the source otherwise written."""
    matches = _among_filled(old, lines, str.strip)
    return [match for match in matches if _indentations(old, lines, match) is not None]


def _among_filled(old: list[str], lines: list[str], strip: Callable[[str], str]) -> list[_Match]:
    wanted = [index for index, line in enumerate(old) if line.strip()]
    if not wanted:
        return []
    filled = [index for index, line in enumerate(lines) if line.strip()]
    found = _rows([strip(old[index]) for index in wanted], [strip(lines[index]) for index in filled])
    matches: list[_Match] = []
    for row in found:
        place_of = {index: filled[place or 0] for index, place in zip(wanted, row, strict=True)}
        matches.append([place_of.get(index) for index in range(len(old))])
    return matches


def _indentations(old: list[str], lines: list[str], match: _Match) -> dict[int, int] | None:
    """Indentation of the block to that of the source; None when the one does not tell the other."""
    table: dict[int, int] = {}
    for line, place in zip(old, match, strict=True):
        if place is not None and table.setdefault(indentation(line), indentation(lines[place])) != indentation(
            lines[place]
        ):
            return None
    ordered = [table[width] for width in sorted(table)]
    return table if ordered == sorted(ordered) else None


def _shifted(line: str, table: dict[int, int]) -> str:
    """A new line with the indentation that the source would give it."""
    if not table or not line.strip():
        return line
    width, known = indentation(line), sorted(table)
    base = max((k for k in known if k <= width), default=known[0])
    steps = known[-1] - known[0]
    scale = (table[known[-1]] - table[known[0]]) // steps if steps else 1
    return " " * max(0, table[base] + (width - base) * max(1, scale)) + line.lstrip()


def indentation(line: str) -> int:
    """How many columns a line is indented by."""
    expanded = line.expandtabs(_TAB)
    return len(expanded) - len(expanded.lstrip())


def _nearest(old: list[str], lines: list[str]) -> str:
    """Which of the block's lines are not in the source, and what stands there instead."""
    known = {line.strip(): number for number, line in reversed(list(enumerate(lines, start=1))) if line.strip()}
    wanted = [line.strip() for line in old if line.strip()]
    missing = [line for line in wanted[:_LOOKED_UP] if line not in known]
    if not missing:
        return _out_of_row(wanted, [line.strip() for line in lines if line.strip()], known)
    for line in missing:
        near = difflib.get_close_matches(line[:200], [text for text in known if len(text) <= 200], n=1, cutoff=0.5)
        if near:
            return f"no line is {_shown(line)}; the nearest, line {known[near[0]]}, is {_shown(near[0])}"
    return f"no line is {_shown(missing[0])}, nor much like it"


def _out_of_row(wanted: list[str], lines: list[str], known: dict[str, int]) -> str:
    following: dict[str, set[str]] = {}
    for line, after in pairwise(lines):
        following.setdefault(line, set()).add(after)
    for line, after in pairwise(wanted):
        actual = sorted(following.get(line, set()))
        if after not in actual:
            ending = f"is followed by {_shown(actual[0])}" if actual else "is the last"
            return f"line {known[line]}, {_shown(line)}, {ending}, not by {_shown(after)}"
    return "its lines are in the file, but not together, or not with this indentation"


def _shown(line: str) -> str:
    return quote(shorten(line, _SHOWN), _SHOWN)
