"""The forms in which a structured reply can be asked for, strictest first, and how each is written and read.

Servers differ in what they take: llama.cpp and vLLM take a union at a schema's root, OpenAI's strict mode wants one
object there and knows no length of a text, older ones know only "some JSON object", and some nothing at all.
"""

import json
from typing import Any, Literal

from agents.model.config import ReplyFormat

ReplyForm = Literal["union", "wrapped", "json_object", "text"]
FORMS: tuple[ReplyForm, ...] = ("union", "wrapped", "json_object", "text")
"""Strictest first: `union` is the schema as it is, `wrapped` the same as the one key of an object."""

KEY = "proposal"
"""The key of the wrapping object."""

_FIRST: dict[ReplyFormat, ReplyForm] = {"json_schema": "union", "json_object": "json_object", "text": "text"}
_NOT_STRICT = frozenset({"maxLength", "minLength", "maxItems", "minItems"})


def first_form(reply_format: ReplyFormat) -> ReplyForm:
    """The form that models.toml's `reply_format` begins with."""
    return _FIRST[reply_format]


def forms_from(form: ReplyForm) -> tuple[ReplyForm, ...]:
    """A form and all that are less strict."""
    return FORMS[FORMS.index(form) :]


def reply_format_of(form: ReplyForm) -> ReplyFormat:
    """The `reply_format` of models.toml that begins with this form, or, of a wrapped one, comes to it."""
    return "json_schema" if form in ("union", "wrapped") else form


def response_format(form: ReplyForm, schema: dict[str, Any]) -> dict[str, Any] | None:
    """What `response_format` of the chat-completions protocol asks for; None where it is left out.

    Args:
        form: how strictly.
        schema: of the reply, as JSON schema; only `union` and `wrapped` state it.
    """
    if form == "text":
        return None
    if form == "json_object":
        return {"type": "json_object"}
    if form == "wrapped":
        schema = {
            "type": "object",
            "properties": {KEY: _without_lengths(schema)},
            "required": [KEY],
            "additionalProperties": False,
        }
    return {"type": "json_schema", "json_schema": {"name": KEY, "schema": schema, "strict": True}}


def unwrapped(raw: str) -> str:
    """A reply without the wrapping object, where it has one; any other reply as it is."""
    try:
        read: Any = json.loads(raw)
    except (ValueError, RecursionError):
        return raw
    match read:
        case {"proposal": dict() as inner} if len(read) == 1:
            return json.dumps(inner, ensure_ascii=False)
        case _:
            return raw


def _without_lengths(schema: Any) -> Any:
    """A schema without the keywords that strict endpoints refuse."""
    if isinstance(schema, dict):
        return {key: _without_lengths(value) for key, value in schema.items() if key not in _NOT_STRICT}
    if isinstance(schema, list):
        return [_without_lengths(item) for item in schema]
    return schema
