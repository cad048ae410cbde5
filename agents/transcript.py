"""What was asked and answered in one attempt of a trial: a reply that was paid for is never asked for again.

A proposer that talks to a model tells its transcript of every request the moment that it is over, and takes what the
transcript holds already instead of asking. Whoever asks decides where the transcript is kept; by default, nowhere.
"""

from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from memory.records import CallRole


@dataclass(frozen=True, slots=True, kw_only=True)
class CallInfo:
    """One request to a model and what came back. Texts are safe to store: no secret, no lone surrogate."""

    model: str | None
    prompt: list[dict[str, Any]] | None
    """The messages as sent; None for a proposer that reads no text."""
    raw_reply: str | None
    error: str | None
    """Why there is no reply, in one sentence; None when there is one."""
    prompt_tokens: int | None
    completion_tokens: int | None
    latency_s: float
    usd: float | None
    """None when models.toml states no price or the server reports no usage."""
    message: dict[str, Any] | None = None
    """The model's whole message in the form of the protocol; None where there is none."""
    role: CallRole = CallRole.PROPOSE
    """What it was asked for."""
    reply_form: str | None = None
    """The form of reply that was asked for, as `agents/model/forms.py` names it; None where none was."""
    finish_reason: str | None = None
    """Why the answer ended, as the endpoint states it: `length` where it was cut; None where it does not."""

    @property
    def cut(self) -> bool:
        """Whether the answer was cut at its token limit."""
        return self.finish_reason == "length"


def forget(call: CallInfo) -> None:
    """Keep nothing of a call."""


class Transcript:
    """The answers of an attempt so far, and the place for those to come.

    Args:
        answers: what was answered before, in order; failed calls are left out by whoever gives them.
        write: puts a call on record; when it returns, the call survives a kill.
    """

    def __init__(self, answers: Iterable[CallInfo] = (), write: Callable[[CallInfo], None] = forget) -> None:
        self._answers = deque(answers)
        self._write = write

    def next_answer(self) -> CallInfo | None:
        """The next recorded answer, each once and in order; None when the model is to be asked."""
        return self._answers.popleft() if self._answers else None

    def record(self, call: CallInfo) -> None:
        """Put a call on record, answered or failed, before anything is done with it."""
        self._write(call)
