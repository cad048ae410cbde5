"""Find the one JSON object in a proposer's raw reply.

Models wrap their answer: a byte order mark, a reasoning block, a sentence before it, a code fence around it. Each of
these is taken off once. Behind the object may stand an edit of code, whose header it then is. Everything else is an
error whose reason goes back to the model.
"""

import re
from typing import Any

from rails.errors import NightshiftError
from rails.strict_json import StrictJsonError, decode_object

MAX_REPLY_BYTES = 64 * 1024

_FENCE = "```"
_REASONING_END = re.compile(r"</think(?:ing)?>", re.IGNORECASE)
_REASONING_START = re.compile(r"<think(?:ing)?>", re.IGNORECASE)


class ReplyError(NightshiftError):
    """A raw reply does not hold exactly one strict JSON object. `what` is safe to show to a model."""


def split_reply(raw: str) -> tuple[dict[str, Any], str]:
    """Return the JSON object in `raw`, and the text behind it ("" when there is none).

    Tolerated once each, in this order: a byte order mark, a reasoning block (`<think>…</think>`), prose before the
    object, a code fence around it.

    Raises:
        ReplyError: oversize, empty, no object, not strict JSON (duplicate keys, NaN, infinite or endless numbers, half
            surrogate pairs, deep nesting), or a fence that is not closed.
    """
    if len(raw) > MAX_REPLY_BYTES or len(raw.encode("utf-8", "surrogatepass")) > MAX_REPLY_BYTES:
        raise ReplyError(f"the reply is longer than {MAX_REPLY_BYTES // 1024} KiB")
    text = _without_reasoning(raw.strip().removeprefix("\ufeff").strip())
    if not text:
        raise ReplyError("the reply is empty")
    start, fenced = _start_of_object(text)
    try:
        found, end = decode_object(text, start)
    except StrictJsonError as error:
        raise ReplyError(f"the reply is refused: {error}") from None
    rest = text[end:]
    if not fenced:
        return found, _without_blank_edges(rest)
    if not rest.strip():
        raise ReplyError("the code fence around the JSON object is not closed")
    if rest.lstrip().startswith(_FENCE):
        return found, _without_blank_edges(rest.lstrip()[len(_FENCE) :])
    return found, _without_blank_edges(rest)


def parse_reply(raw: str) -> dict[str, Any]:
    """Return the one JSON object in `raw`, with nothing behind it.

    Raises:
        ReplyError: as `split_reply`, or there is text behind the object.
    """
    found, behind = split_reply(raw)
    refuse_text(behind)
    return found


def refuse_text(behind: str) -> None:
    """Refuse text behind a reply's object.

    Raises:
        ReplyError: there is some.
    """
    if behind:
        raise ReplyError("there is text after the JSON object: answer with one object and nothing behind it")


def _without_blank_edges(text: str) -> str:
    """Without empty lines before and behind; the first line keeps its indentation."""
    lines = text.split("\n")
    filled = [index for index, line in enumerate(lines) if line.strip()]
    return "\n".join(lines[filled[0] : filled[-1] + 1]).rstrip() if filled else ""


def _without_reasoning(text: str) -> str:
    if text.startswith("{"):
        return text
    end = _REASONING_END.search(text)
    if end is not None:
        return text[end.end() :].strip()
    if _REASONING_START.match(text):
        raise ReplyError("the reasoning never ends: there is no answer behind it")
    return text


def _start_of_object(text: str) -> tuple[int, bool]:
    """Index of the opening brace, and whether a code fence opens before it."""
    start = text.find("{")
    if start < 0:
        raise ReplyError("there is no JSON object in the reply")
    return start, _FENCE in text[:start]
