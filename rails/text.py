"""Make text from outside (a model's reply, a file) safe to print in one line and to show to the next model."""

import difflib
import json
import re
import unicodedata
from collections.abc import Iterable

UNCORRECTED = "not corrected for selection"
"""Said wherever a gain of the search is shown with its interval: what was kept was chosen for looking good."""

REASON_LIMIT = 240
"""Longest reason a rail gives, in characters."""

_ELLIPSIS = "..."
_ROLE = re.compile(r"\b(system|assistant|user|human|developer|tool|instructions?)\s*:", re.IGNORECASE)
_INSTRUCTION_TAG = re.compile(r"\[(/?\s*(?:INST|SYS|SYSTEM)\s*)\]", re.IGNORECASE)
_TEMPLATE_TAG = re.compile(r"<(?=[|｜]|/?s>|</?SYS>>|(?:start|end)_of_turn>)")
# Look-alikes keep `lr < 1e-3` readable while no chat template, Markdown fence or table sees a delimiter.
_DELIMITERS = str.maketrans({"<": "‹", ">": "›", "|": "¦", "`": "'"})

_UNSEEN_IN_JSON = re.compile("[^ -~\\n]")
_FORMULA = re.compile(r"[=+\-@\t\r\n＝＋－＠]")
_NUMBER = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?")


def shorten(text: str, limit: int) -> str:
    """Cut `text` to at most `limit` characters (at least 3), marking the cut with three dots."""
    if len(text) <= limit:
        return text
    return text[: limit - len(_ELLIPSIS)].rstrip() + _ELLIPSIS


def clean_text(text: str, limit: int) -> str:
    """One printable line of at most `limit` characters in which nothing can pass for a prompt's structure.

    Control characters and newlines become spaces, invisible ones vanish, compatibility forms are unified (so that a
    full-width `system:` is seen), role markers lose their colon, and template delimiters become look-alikes. Cleaning
    twice changes nothing.
    """
    unified = unicodedata.normalize("NFKC", text)
    visible = unicodedata.normalize("NFKC", "".join(_visible(character) for character in unified))
    line = " ".join(visible.split())
    line = _ROLE.sub(r"\1 -", line).translate(_DELIMITERS)
    line = _INSTRUCTION_TAG.sub(r"(\1)", line)
    return shorten(line, limit)


def without_template_tags(text: str) -> str:
    """A program's text in which no chat template sees a delimiter of its own; all other characters stay."""
    return _INSTRUCTION_TAG.sub(r"(\1)", _TEMPLATE_TAG.sub("< ", text))


def _visible(character: str) -> str:
    category = unicodedata.category(character)
    if category in {"Cc", "Zl", "Zp"}:
        return " "
    return "" if category.startswith("C") else character


def one_line(text: str) -> str:
    """The text as it stands on one line: control characters and line breaks become spaces, invisible ones vanish."""
    if text.isprintable():
        return text
    return "".join(map(_visible, text)).strip()


def escaped_json(text: str) -> str:
    """The same JSON in which nothing acts on a terminal or turns the direction of writing: that is escaped in it."""
    if text.isascii() and "\x7f" not in text:  # JSON has escaped all other control characters itself
        return text
    return _UNSEEN_IN_JSON.sub(lambda found: _escaped(found[0]), text)


def _escaped(character: str) -> str:
    if character == "\x7f":
        return "\\u007f"
    category = unicodedata.category(character)
    return json.dumps(character)[1:-1] if category in {"Zl", "Zp"} or category.startswith("C") else character


def spreadsheet_text(text: str) -> str:
    """The text of a table's cell, with an apostrophe before what a spreadsheet would run as a formula."""
    return f"'{text}" if _FORMULA.match(text) and not _NUMBER.fullmatch(text) else text


def quote(value: object, limit: int = 60) -> str:
    """Name a JSON value inside a reason: strings quoted, cleaned and cut; containers only by kind."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return repr(clean_text(value, limit))
    if isinstance(value, int | float):
        return number(value, limit)
    return "a list" if isinstance(value, list | tuple) else "an object"


def number(value: float, limit: int = 60) -> str:
    """Write a number as Python would, but never fail or fill the page on an enormous integer."""
    if isinstance(value, int) and value.bit_length() > 128:
        return f"an integer of {value.bit_length()} bits"
    return shorten(repr(value), limit)


def measured(value: float) -> str:
    """A measured number for people: to the fourth decimal, or with as many digits where that says nothing."""
    if value == 0 or 0.001 <= abs(value) < 1e4:
        return f"{value:.4f}"
    return f"{value:.4g}" if abs(value) < 1 else f"{value:.6g}"


def closest(name: str, known: Iterable[str]) -> str:
    """Say ` (did you mean 'x'?)` for the known name nearest to `name`, or nothing."""
    # Matching is quadratic in the length: a name is never longer than this.
    near = difflib.get_close_matches(name[:64], list(known), n=1, cutoff=0.6)
    return f" (did you mean {near[0]!r}?)" if near else ""
