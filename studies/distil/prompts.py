"""The prompt of an example as it was sent, without what is private."""

from collections.abc import Sequence
from typing import Any

from memory.records import Call, CallRole

POLICY_BEGINS = "# Research policy (program.md)"
POLICY_ENDS = "\n\n# Menu of knobs"
LEFT_OUT = f"{POLICY_BEGINS}\n\n(left out)"


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
