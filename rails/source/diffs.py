"""Unified diffs of one file: written, and applied strictly.

What is strict: exactly one file, no renames, modes or binaries, and every context and removed line must be in the
source exactly. What is not: the line numbers and counts in hunk headers. Models cannot count, and the lines themselves
say where they belong: a hunk goes where its header points if it fits there, else to the only place where it fits.
"""

import difflib
import re
from dataclasses import dataclass, field

from rails.source.program import EditError
from rails.text import quote

_HUNK = re.compile(r"@@ -(\d{1,9})(?:,\d{1,9})? \+\d{1,9}(?:,\d{1,9})? @@")
_RANGES = re.compile(r"@@ -(\d+)(,\d+)? \+(\d+)(,\d+)? @@")
_CONTEXT = 3
_NO_NEWLINE = "\\ No newline at end of file"
_FORBIDDEN = (
    "rename ",
    "copy ",
    "new file",
    "deleted file",
    "old mode",
    "new mode",
    "similarity ",
    "GIT binary",
    "Binary ",
)


def unified_diff(old: str, new: str, file_name: str) -> str:
    """The unified diff from `old` to `new`, three lines of context, with `a/` and `b/` names; "" when equal."""
    a, b = _lines(old), _lines(new)
    first = _common(a, b)
    last = _common(a[first:][::-1], b[first:][::-1])
    # difflib is quadratic: it gets only the part that differs, with its context.
    start = max(0, first - _CONTEXT)
    a_part = a[start : min(len(a), len(a) - last + _CONTEXT)]
    b_part = b[start : min(len(b), len(b) - last + _CONTEXT)]
    written: list[str] = []
    for line in difflib.unified_diff(a_part, b_part, f"a/{file_name}", f"b/{file_name}", n=_CONTEXT):
        text = _shifted(line, start) if line.startswith("@@") else line
        written.append(text if text.endswith("\n") else f"{text}\n{_NO_NEWLINE}\n")
    return "".join(written)


def _common(a: list[str], b: list[str]) -> int:
    count = 0
    for left, right in zip(a, b, strict=False):
        if left != right:
            break
        count += 1
    return count


def _shifted(header: str, lines: int) -> str:
    def shift(match: re.Match[str]) -> str:
        old, old_count, new, new_count = match.groups(default="")
        return f"@@ -{int(old) + lines}{old_count} +{int(new) + lines}{new_count} @@"

    return _RANGES.sub(shift, header, count=1)


@dataclass(slots=True)
class _Hunk:
    line: int
    """1-based line of the source where the header says that it begins."""
    old: list[str] = field(default_factory=list)
    new: list[str] = field(default_factory=list)
    changed: int = 0
    last_mark: str = " "
    trailing_blank: int = 0
    """How many empty lines end it: possibly not lines of the file, but the end of the model's message."""


def apply_diff(source: str, diff: str, file_name: str) -> str:
    """Apply a unified diff that touches only `file_name`.

    Raises:
        EditError: not a unified diff, another or more than one file, a hunk that fits nowhere or in several places,
            hunks that overlap or change nothing.
    """
    lines = _lines(source)
    result: list[str] = []
    done = 0
    for index, hunk in enumerate(_parse(diff, file_name), start=1):
        start = _place(hunk, lines, done, index)
        result += lines[done:start] + hunk.new
        done = start + len(hunk.old)
    return "".join(result + lines[done:])


def changed_lines(diff: str, file_name: str) -> int:
    """How many lines a diff adds and removes.

    Raises:
        EditError: as `apply_diff` for the diff itself.
    """
    return sum(hunk.changed for hunk in _parse(diff, file_name))


def _lines(text: str) -> list[str]:
    """Lines with their line feeds. Only the line feed counts: str.splitlines breaks at a dozen other characters."""
    parts = text.split("\n")
    return [f"{part}\n" for part in parts[:-1]] + ([parts[-1]] if parts[-1] else [])


def _parse(diff: str, file_name: str) -> list[_Hunk]:
    lines = diff.split("\n")
    if lines and lines[-1] == "":
        lines.pop()
    start = _after_file_header(lines, file_name)
    hunks: list[_Hunk] = []
    for number, line in enumerate(lines[start:], start=start):
        match = _HUNK.match(line)
        if match is not None:
            hunks.append(_Hunk(int(match[1])))
        elif not hunks:
            raise EditError("the diff has no hunk header (@@ -line,count +line,count @@) after the file names")
        elif line.startswith(("diff --git ", *_FORBIDDEN)) or _begins_file(lines, number):
            raise EditError(f"the diff must change {file_name} only, in one section")
        else:
            _add_line(hunks[-1], line)
    for index, hunk in enumerate(hunks, start=1):
        if not hunk.changed:
            raise EditError(f"hunk {index} of the diff changes nothing")
    if not hunks:
        raise EditError("the diff has no hunks")
    return hunks


def _begins_file(lines: list[str], number: int) -> bool:
    following = lines[number + 1 : number + 3]
    return (
        lines[number].startswith("--- ")
        and len(following) == 2
        and following[0].startswith("+++ ")
        and following[1].startswith("@@ ")
    )


def _after_file_header(lines: list[str], file_name: str) -> int:
    """Index of the first line after the `+++` line."""
    for number, line in enumerate(lines):
        if line.startswith("--- "):
            following = lines[number + 1] if number + 1 < len(lines) else ""
            if not following.startswith("+++ "):
                break
            for name in (line[4:], following[4:]):
                _check_name(name, file_name)
            return number + 2
        if line.startswith(_FORBIDDEN):
            raise EditError(f"the diff may change lines of {file_name}, not rename, create, delete or chmod a file")
        if line.strip() and not line.startswith(("diff --git ", "index ")):
            break
    raise EditError(f"not a unified diff: it must begin with --- a/{file_name} and +++ b/{file_name}")


def _check_name(written: str, file_name: str) -> None:
    name = written.split("\t")[0].strip()
    if name not in {file_name, f"a/{file_name}", f"b/{file_name}"}:
        raise EditError(f"the diff touches {quote(name)}; only {file_name} may change")


def _add_line(hunk: _Hunk, line: str) -> None:
    mark, text = line[:1] or " ", f"{line[1:]}\n"
    if mark == "\\":
        # "\\ No newline at end of file" speaks of the line before it, in each version that has that line.
        for side, marks in ((hunk.old, " -"), (hunk.new, " +")):
            if side and hunk.last_mark in marks:
                side[-1] = side[-1].removesuffix("\n")
        return
    if mark not in " +-":
        raise EditError(f"a line of a hunk must begin with a space, + or -; got {quote(line)}")
    if mark in " -":
        hunk.old.append(text)
    if mark in " +":
        hunk.new.append(text)
    hunk.changed += mark != " "
    hunk.last_mark = mark
    hunk.trailing_blank = hunk.trailing_blank + 1 if not line else 0


def _place(hunk: _Hunk, lines: list[str], done: int, index: int) -> int:
    """Where the hunk goes, as an index into `lines`. Blank lines that end the hunk may turn out not to belong to it."""
    if not hunk.old:
        if not done <= hunk.line <= len(lines):
            raise EditError(f"hunk {index} of the diff points outside the file: give it lines of context")
        return hunk.line
    while True:
        found = _fitting(hunk.old, lines, done)
        if hunk.line - 1 in found:
            return hunk.line - 1
        if len(found) == 1:
            return found[0]
        if found:
            raise EditError(f"hunk {index} of the diff fits in {len(found)} places: give it more lines of context")
        if not hunk.trailing_blank or len(hunk.old) == 1:
            raise EditError(f"hunk {index} of the diff does not fit: its context and removed lines are not in the file")
        hunk.trailing_blank -= 1
        hunk.old.pop()
        hunk.new.pop()


def _fitting(wanted: list[str], lines: list[str], done: int) -> list[int]:
    last = len(lines) - len(wanted)
    return [start for start in range(done, last + 1) if lines[start : start + len(wanted)] == wanted]
