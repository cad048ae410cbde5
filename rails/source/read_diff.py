"""Read a unified diff of one file, as models write them.

What is strict: one file, no renames, modes or binaries. What is not: line numbers and counts, the names of the file,
the mark before a line of context, a fence around it all, words before and behind.
"""

import re
from dataclasses import dataclass, field

from rails.source.placing import Block
from rails.source.program import EditError
from rails.text import quote

FENCE = re.compile(r"\s*(?:`{3,}|~{3,})")
_RANGE = re.compile(r"@@+ -(\d{1,9})")
_OLD_NAME = re.compile(r"--- [^\s:]*[./][^\s:]*(?:\t.*)?\s*")
_NEW_NAME = re.compile(r"\+\+\+ [^\s:]*[./][^\s:]*(?:\t.*)?\s*")
_DIFF_FENCE = re.compile(r"\s*```+\s*(?:diff|patch)\b", re.IGNORECASE)
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


_MARKS = (" ", "+", "-")


@dataclass(slots=True)
class _Hunk:
    line: int | None
    """1-based line of the source where the header says that it begins."""
    body: list[str] = field(default_factory=list[str])

    def block(self, name: str) -> Block | None:
        """The lines of both versions; None when they are the same."""
        old: list[str] = []
        new: list[str] = []
        changed, last = False, " "
        for line in _without_words(self.body):
            if line.startswith("\\"):
                # "\\ No newline at end of file" speaks of the line before it, in each version that has that line.
                for side, marks in ((old, " -"), (new, " +")):
                    if side and last in marks:
                        side[-1] = side[-1].removesuffix("\n")
                continue
            last, text = (line[0], line[1:]) if line.startswith(_MARKS) else (" ", line)
            changed = changed or last != " "
            if last != "+":
                old.append(f"{text}\n")
            if last != "-":
                new.append(f"{text}\n")
        at = self.line if self.line is None or not old else self.line - 1
        return Block(name, old, new, at) if changed else None


def _without_words(body: list[str]) -> list[str]:
    """Without what follows after an empty line behind the last mark: the end of a message, or context at most."""
    marked = max((number for number, line in enumerate(body, start=1) if line.startswith((*_MARKS, "\\"))), default=0)
    blank = next((number for number, line in enumerate(body) if number >= marked and not line.strip()), len(body))
    return body[:blank]


def looks_like_diff(text: str) -> bool:
    """Whether it is a unified diff rather than another form of edit."""
    lines = text.split("\n")
    return any(
        line.startswith(("@@", *_FORBIDDEN, "diff --git ")) or _DIFF_FENCE.match(line) or _begins_file(lines, number)
        for number, line in enumerate(lines)
    )


def read_diff(text: str, file_name: str) -> list[Block]:
    """The hunks of a diff that touches only `file_name`.

    Raises:
        EditError: no hunks, none that changes anything, another file, or more than lines to change.
    """
    hunks = _hunks(text.split("\n"), file_name)
    names = [f"hunk {number} of the diff" for number in range(1, len(hunks) + 1)]
    blocks = [hunk.block(name if len(hunks) > 1 else "the diff") for name, hunk in zip(names, hunks, strict=True)]
    changing = [block for block in blocks if block is not None]
    if not changing:
        raise EditError("the diff has no line that it adds or removes (with + or - before it)")
    return changing


def _hunks(lines: list[str], file_name: str) -> list[_Hunk]:
    numbered = any(line.startswith("@@") for line in lines)
    hunks: list[_Hunk] = []
    begun = inside = False
    for number, line in enumerate(lines):
        if _begins_file(lines, number) or line.startswith("diff --git ") or FENCE.match(line):
            begun, inside = True, False
        if line.startswith("@@"):
            found = _RANGE.match(line)
            hunks.append(_Hunk(int(found[1]) if found else None))
            inside = True
        elif inside:
            hunks[-1].body.append(line)
        elif line.startswith(_FORBIDDEN):
            raise EditError(f"the diff may change lines of {file_name}, not rename, create, delete or chmod a file")
        elif line.startswith(("--- ", "+++ ")):
            _check_name(line[4:], file_name)
        elif begun and not numbered and line.startswith(_MARKS):  # a diff without hunk headers is one hunk
            hunks.append(_Hunk(None, [line]))
            inside = True
    return hunks


def _begins_file(lines: list[str], number: int) -> bool:
    """Whether the line and the next one name files, rather than remove and add lines that begin like that."""
    pair = lines[number : number + 2]
    return len(pair) == 2 and bool(_OLD_NAME.fullmatch(pair[0]) and _NEW_NAME.fullmatch(pair[1]))


def _check_name(written: str, file_name: str) -> None:
    name = written.split("\t")[0].strip()
    if name not in {file_name, f"a/{file_name}", f"b/{file_name}", f"./{file_name}"}:
        raise EditError(f"the diff touches {quote(name)}; only {file_name} may change")
