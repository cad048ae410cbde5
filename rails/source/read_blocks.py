"""Read edits of code from plain text: SEARCH and REPLACE blocks, and whole definitions under their names."""

import re
from dataclasses import dataclass, field

from rails.source.definitions import Definition, refuse_gaps
from rails.source.placing import Block
from rails.source.program import EditError
from rails.source.spans import Edit
from rails.text import quote

_SEARCH = re.compile(r"\s*<{5,9}(?!<).*")
_DIVIDER = re.compile(r"\s*={5,9}\s*")
_REPLACE = re.compile(r"\s*>{5,9}(?!>).*")
_BARE = r"(?:FUNCTION|METHOD|CLASS)"
_NAMED = re.compile(
    rf"\W*(?:(?i:replace|rewrite)\s+(?:(?i:the|whole)\s+)*(?i:{_BARE})|{_BARE})\s*:?\s+[`*'\"]*([\w.]+)[`*'\"]*(?:\(\))?[:`*\s]*"
)
_FILE = re.compile(
    r"[\s#*`'\"]*(?:(?i:file)\s*:?\s*)?[`'\"]?([\w./-]*[\w-]\.(?:py|toml|md|txt|json|ya?ml|sh|cfg))[`'\":*\s]*"
)
_FENCE = re.compile(r"\s*(?:`{3,}|~{3,}).*")
_NUMBERED = re.compile(r"\s*\d+\s*[|│] ?")
"""A line as listings show it."""
_EDIT_LIKE = re.compile(r"@@|diff --git |(?:async )?def |class ")


@dataclass(slots=True)
class _Reading:
    """Where reading stands."""

    lines: list[str]
    source: str
    file_name: str
    at: int = 0
    edits: list[Edit] = field(default_factory=list[Edit])

    def rest_until(self, *ends: re.Pattern[str]) -> list[str]:
        """The lines from here to before the next one that is one of `ends`, or to the end of the text."""
        start = self.at
        while self.at < len(self.lines) and not any(end.fullmatch(self.lines[self.at]) for end in ends):
            self.at += 1
        return self.lines[start : self.at]


def has_sections(text: str) -> bool:
    """Whether a text has SEARCH blocks, or definitions under a line that names them."""
    return any(_SEARCH.fullmatch(line) or _NAMED.fullmatch(line) for line in text.split("\n"))


def read_sections(text: str, source: str, file_name: str) -> list[Edit]:
    """The edits of a text that has sections; words and fences between them do not matter.

    Raises:
        EditError: a block that is not whole, another file, code that belongs to no section, something left out.
    """
    reading = _Reading(text.split("\n"), source, file_name)
    while reading.at < len(reading.lines):
        line = reading.lines[reading.at]
        reading.at += 1
        if _SEARCH.fullmatch(line):
            _read_block(reading)
        elif named := _NAMED.fullmatch(line):
            _read_named(reading, named[1])
        elif _DIVIDER.fullmatch(line) or _REPLACE.fullmatch(line):
            raise EditError(f"line {reading.at} of the edit, {quote(line.strip())}, belongs to no SEARCH block")
        elif _EDIT_LIKE.match(line):
            raise EditError(f"line {reading.at} of the edit, {quote(line.strip())}, stands outside of the blocks")
        elif (found := _FILE.fullmatch(line)) and found[1].removeprefix("./") != file_name:
            raise EditError(f"the edit names {quote(found[1])}; only {file_name} may change")
    return reading.edits


def _read_block(reading: _Reading) -> None:
    first = reading.at
    old = reading.rest_until(_DIVIDER, _SEARCH, _REPLACE)
    if not _at(reading, _DIVIDER):
        raise EditError(f"the SEARCH block at line {first} of the edit has no ======= before its replacement")
    new = reading.rest_until(_REPLACE, _SEARCH, _DIVIDER)
    if not _at(reading, _REPLACE):
        raise EditError(f"the SEARCH block at line {first} of the edit does not end with >>>>>>> REPLACE")
    refuse_gaps("\n".join(new), reading.source)
    count = sum(isinstance(edit, Block) for edit in reading.edits) + 1
    block = Block(f"SEARCH block {count}", _part(old), _part(new))
    if not any(line.strip() for line in block.old):
        raise EditError(
            f"{block.name} is empty: give it the lines that stand beside the new ones, and repeat them below"
        )
    if block.old != block.new and not any(_same(block, edit) for edit in reading.edits):
        reading.edits.append(block)


def _at(reading: _Reading, mark: re.Pattern[str]) -> bool:
    """Step over a mark, if it stands here."""
    here = reading.at < len(reading.lines) and bool(mark.fullmatch(reading.lines[reading.at]))
    reading.at += here
    return here


def _same(block: Block, other: Edit) -> bool:
    """Whether a block only says again what another one says."""
    return isinstance(other, Block) and (block.old, block.new) == (other.old, other.new)


def _part(lines: list[str]) -> list[str]:
    """One half of a block, with line feeds and without a fence or line numbers of its own."""
    filled = [index for index, line in enumerate(lines) if line.strip()]
    if len(filled) > 1 and _FENCE.fullmatch(lines[filled[0]]) and _FENCE.fullmatch(lines[filled[-1]]):
        lines = lines[filled[0] + 1 : filled[-1]]
    if lines and all(_NUMBERED.match(line) for line in lines if line.strip()):
        lines = [_NUMBERED.sub("", line, count=1) for line in lines]
    return [f"{line}\n" for line in lines]


def _read_named(reading: _Reading, target: str) -> None:
    while reading.at < len(reading.lines) and not reading.lines[reading.at].strip():
        reading.at += 1
    if reading.at < len(reading.lines) and _FENCE.fullmatch(reading.lines[reading.at]):
        reading.at += 1
        body = reading.rest_until(_FENCE, _SEARCH, _NAMED)
    else:
        body = _without_words(reading.rest_until(_FENCE, _SEARCH, _NAMED))
    text = "\n".join(body)
    refuse_gaps(text, reading.source)
    reading.edits.append(Definition(target, text))


def _without_words(body: list[str]) -> list[str]:
    """Without a last paragraph that is a sentence: a model's remark behind its code."""
    filled = [index for index, line in enumerate(body) if line.strip()]
    while filled:
        start = max((index + 1 for index in range(filled[-1]) if not body[index].strip()), default=0)
        if start == 0 or not re.match(r"[A-Z][a-z']* [A-Za-z'-]+ ", body[start]):
            break
        body = body[:start]
        filled = [index for index in filled if index < start]
    return body
