"""Unified diffs of one file: written."""

import difflib
import re

from rails.source.spans import split_lines

_RANGES = re.compile(r"@@ -(\d+)(,\d+)? \+(\d+)(,\d+)? @@")
_CONTEXT = 3
_NO_NEWLINE = "\\ No newline at end of file"


def unified_diff(old: str, new: str, file_name: str) -> str:
    """The unified diff from `old` to `new`, three lines of context, with `a/` and `b/` names; "" when equal."""
    a, b = split_lines(old), split_lines(new)
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


def changed_lines(diff: str) -> int:
    """How many lines one of our own diffs adds and removes."""
    return sum(line.startswith(("+", "-")) for line in diff.split("\n")[2:])
