"""What a reply of the planner may be, as JSON schema: a branch for each knob and action, none for what is refused."""

from collections.abc import Mapping, Sequence
from typing import Any

from langchain_core.tools import BaseTool

from agents.base import KnobValue
from agents.planner.moves import Moves

MAX_REASON_CHARS = 240
"""Longest reason that is asked for; the rails take longer ones."""

MAX_ARGUMENT_CHARS = 400
"""Longest text argument of an action."""

WRITE_CODE = "write_code"
"""The action that announces a change of the code: the code itself follows as plain text."""

_TYPES = {"string", "integer", "number", "boolean"}


def reply_schema(moves: Moves, tools: Sequence[BaseTool] = (), *, code: bool = False) -> dict[str, Any]:
    """One step of the planner: a proposal, or an action that looks something up first.

    Args:
        moves: what may be proposed, by knob.
        tools: what may be looked up; none: a proposal is due.
        code: whether a change of the code may be announced.
    """
    branches = [_proposal(name, values) for name, values in moves.items()]
    branches += [_action(tool) for tool in tools]
    if code:
        branches.append(_object({"action": _const(WRITE_CODE), "idea": _text(MAX_REASON_CHARS)}))
    return branches[0] if len(branches) == 1 else {"anyOf": branches}


def _proposal(knob: str, values: Sequence[KnobValue]) -> dict[str, Any]:
    return _object({"knob": _const(knob), "new_value": {"enum": list(values)}, "reason": _text(MAX_REASON_CHARS)})


def _action(tool: BaseTool) -> dict[str, Any]:
    arguments: Mapping[str, Any] = tool.args
    return _object({"action": _const(tool.name), **{name: _argument(given) for name, given in arguments.items()}})


def _argument(given: Mapping[str, Any]) -> dict[str, Any]:
    """One argument: its type alone, with a text's length bounded. A union keeps its types."""
    if "anyOf" in given:
        return {"type": [part["type"] for part in given["anyOf"] if part.get("type") in _TYPES]}
    if given.get("type") == "string":  # one may be left empty: `containing` of read_source
        return {"type": "string", "maxLength": MAX_ARGUMENT_CHARS}
    return {"type": given.get("type", "string")}


def _object(properties: dict[str, Any]) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": list(properties), "additionalProperties": False}


def _const(value: str) -> dict[str, Any]:
    return {"type": "string", "const": value}


def _text(length: int) -> dict[str, Any]:
    return {"type": "string", "minLength": 1, "maxLength": length}


def critique_schema(grounds: Sequence[str]) -> dict[str, Any]:
    """A critic's answer: what to do with a draft, on which ground, and which trial it repeats.

    Args:
        grounds: what may be stated against a draft.
    """
    return _object(
        {
            "reason": _text(MAX_REASON_CHARS),
            "verdict": {"type": "string", "enum": ["pass", "revise", "veto"]},
            "ground": {"type": "string", "enum": [*grounds, "none"]},
            "trial": {"type": ["integer", "null"]},
        }
    )
