"""Calls: requests to models, and what the rails said of the proposals in them."""

from datetime import datetime
from enum import StrEnum
from typing import Any

from memory.records.base import Record


class CallRole(StrEnum):
    """What a model was asked for."""

    PROPOSE = "propose"
    """For a step of a proposal, or for the proposal itself."""
    CRITIC = "critic"
    """For a second opinion of a proposal."""
    LESSON = "lesson"


class Call(Record):
    """One request to a model and its raw answer, stored before anything is done with it."""

    call_id: str
    trial_id: str
    attempt: int
    position: int
    """Order within the attempt: a planner may call tools before it answers."""
    proposer: str
    model: str | None = None
    prompt: list[dict[str, Any]] | None = None
    """The messages as sent; None for a proposer that reads no text."""
    raw_reply: str | None = None
    error: str | None = None
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    latency_s: float
    usd: float | None = None
    created_at: datetime
    message: dict[str, Any] | None = None
    """The model's whole message in the form of the protocol, so that a conversation cut off by a crash can go on."""
    role: CallRole = CallRole.PROPOSE
    reply_form: str | None = None
    """The form of reply that was asked for, as `agents/model/forms.py` names it; None where none was."""
    finish_reason: str | None = None
    """Why the answer ended, as the endpoint states it: `stop`, `length` where it was cut, …; None where it does not."""


class Verdict(Record):
    """What one rail said of one proposal."""

    trial_id: str
    attempt: int
    position: int
    rail: str
    ok: bool
    reason: str | None = None
