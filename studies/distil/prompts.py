"""The prompt of an example: as it was sent, without what is private, or rebuilt from the record."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from agents.base import KnobValue
from agents.statistical.history import Outcome
from memory.records import Call, CallRole
from rails.menu import Menu
from rails.text import clean_text

POLICY_BEGINS = "# Research policy (program.md)"
POLICY_ENDS = "\n\n# Menu of knobs"
LEFT_OUT = f"{POLICY_BEGINS}\n\n(left out)"

LAST_SHOWN = 5
"""Rows of history in a rebuilt prompt."""


def sent_prompt(calls: Sequence[Call], *, private: bool) -> list[dict[str, Any]] | None:
    """The messages of the request that a proposal began with; None where no call holds any.

    Args:
        calls: of one trial.
        private: whether program.md may stay in them.
    """
    asked = [call for call in calls if call.role is CallRole.PROPOSE and call.prompt]
    if not asked:
        return None
    latest = max(call.attempt for call in asked)
    first = min((call for call in asked if call.attempt == latest), key=lambda call: call.position)
    messages = first.prompt or []
    return messages if private else [_without_policy(message) for message in messages]


def _without_policy(message: dict[str, Any]) -> dict[str, Any]:
    """A message without program.md: cut to the last place where it could end, so that nothing in it saves a part."""
    content = message.get("content")
    if not isinstance(content, str) or POLICY_BEGINS not in content:
        return message
    before, _, rest = content.partition(POLICY_BEGINS)
    end = rest.rfind(POLICY_ENDS)
    return {**message, "content": before + LEFT_OUT + (rest[end:] if end >= 0 else "")}


def rebuilt_prompt(
    menu: Menu, knobs: Mapping[str, KnobValue], outcomes: Sequence[Outcome], seq: int
) -> list[dict[str, Any]]:
    """A short prompt that says the same: where the incumbent differs from the menu's defaults, and the last moves.

    The menu is not in it: whoever scores options gets them one by one.

    Args:
        menu: for its defaults.
        knobs: the incumbent's values.
        outcomes: what was tried before.
        seq: the number of the trial.
    """
    defaults = menu.defaults()
    changed = {name: value for name, value in knobs.items() if defaults.get(name, value) != value}
    lines = [
        f"{outcome.knob}={_plain(outcome.value)} {_result(outcome.gain, outcome.kept)}"
        for outcome in outcomes[-LAST_SHOWN:]
    ]
    start = ", ".join(f"{name}={_plain(value)}" for name, value in changed.items()) or "the defaults"
    text = "\n".join([f"Trial {seq}. Program: {start}.", *lines, "Next change:"])
    return [{"role": "user", "content": text}]


def _plain(value: object) -> str:
    return clean_text(value, 60) if isinstance(value, str) else json.dumps(value)


def _result(gain: float | None, kept: bool) -> str:
    if gain is None:
        return "failed"
    return f"{100 * gain:+.2f} % {'kept' if kept else 'no'}"
