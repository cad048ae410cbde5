"""The one protocol every proposer speaks: it is given a context and answers with raw text.

A proposer never judges its own answer: `rails` parse and check the raw text, so that a language model, a sampler and a
recording pass through the same gate. An answer that is bad is still a `Reply`; only *no answer* is an error.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Protocol

from agents.texts import storable
from agents.transcript import CallInfo, Transcript
from memory.records import Origin, Trial
from rails.errors import ProposerError
from rails.menu import Menu
from rails.task import Task


def _never() -> bool:
    return False


def _passes(raw: str) -> str | None:
    return None


def _unheard(step: str, text: str) -> None:
    pass


KnobValue = int | float | str | bool
"""What a field of the `Knobs` dataclass may hold."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Feedback:
    """An earlier attempt at the same trial that a rail refused."""

    raw_reply: str
    """The refused text, exactly as the proposer gave it."""
    rail: str
    """The name of the rail that refused it."""
    reason: str
    """The rail's reason: short, exact and safe to show a model."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProposalContext:
    """Everything a proposer may know when it is asked. It gets no handle to anything else."""

    task: Task
    program_md: str
    """The person's research policy, read again before every proposal."""
    source: str
    """The incumbent's train.py."""
    knobs: Mapping[str, KnobValue]
    """The incumbent's knob values, in the order of the dataclass."""
    menu: Menu
    lineage: str | None
    """The lineage block; None when lineage is off."""
    trials: tuple[Trial, ...]
    """The campaign's trials so far, by seq. Statistical proposers read these and nothing else."""
    feedback: tuple[Feedback, ...] = ()
    crash: str | None = None
    """The tail of the log, when this is a repair of a candidate that crashed."""
    trial_seq: int
    attempt: int
    seed: int
    """The campaign's seed; a proposer draws from (seed, trial_seq, attempt) and keeps no random state."""
    incumbent_metric: float | None
    transcript: Transcript = field(default_factory=Transcript, compare=False)
    """What was answered before in this attempt, and the place for every further request."""
    lineage_for: Callable[[str | None, tuple[str, ...], int], str] | None = field(default=None, compare=False)
    """Renders the lineage block for a specialist with its knobs, in at most so many tokens; None: `lineage` it is."""
    check: Callable[[str], str | None] = field(default=_passes, compare=False)
    """The rails' reason against a raw proposal, or None when they would let it pass."""
    progress: Callable[[str, str], None] = field(default=_unheard, compare=False)
    """Told of every step on the way to a proposal: its name, and what is done in a few words."""
    stopping: Callable[[], bool] = field(default=_never, compare=False)
    """Whether the loop is asked to stop: then no request is sent any more, and one in flight gets a grace time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """A proposer's answer, exactly as it was given.

    `raw` may hold anything a server can send, lone surrogates included: check it first, store calls instead.
    """

    raw: str
    calls: tuple[CallInfo, ...] = ()
    """What the transcript does not have: the one answer of a proposer that asks nobody."""
    specialist: str | None = None
    """The specialist that it comes from, as task.toml names it."""
    origin: Origin = Origin.SEARCH
    """Whose idea it is."""
    critique: dict[str, Any] | None = None
    """What a critic said of it, as `Trial.critique` keeps it."""
    lineage: str | None = None
    """The lineage block that it was made with, where it is not the context's."""
    notes: tuple[str, ...] = ()
    """What a person should know of how it came about, a sentence each."""
    repeatable: bool = False
    """Whether the proposer, asked again over the same rows, answers the same and for nothing: then nothing is lost with
    an answer that is not on the disk yet."""


def local_call(raw: str, latency_s: float) -> CallInfo:
    """The record of an answer that cost no request: no model, no prompt, no tokens."""
    return CallInfo(
        model=None,
        prompt=None,
        raw_reply=storable(raw),
        error=None,
        prompt_tokens=None,
        completion_tokens=None,
        latency_s=latency_s,
        usd=None,
    )


class NoReplyKind(StrEnum):
    """What no answer says about the next try."""

    PASSING = "passing"
    """The same request may be answered later: a timeout, a lost connection, a busy or broken server."""
    LASTING = "lasting"
    """Somebody has to change something: a key, a model's name, credit, the request."""
    USED_UP = "used_up"
    """There is nothing left to answer with: a recording, a script or a menu is at its end."""


class NoReplyError(ProposerError):
    """No proposal could be had. Every request that was made is in the transcript.

    Args:
        what: what happened, without a final full stop.
        where: the address or file.
        fix: what to do next.
        kind: whether it is worth asking again.
        retry_after_s: how long the endpoint asks to be left alone; None when it does not say.
    """

    def __init__(
        self,
        what: str,
        *,
        where: str = "",
        fix: str = "",
        kind: NoReplyKind = NoReplyKind.USED_UP,
        retry_after_s: float | None = None,
    ) -> None:
        super().__init__(what, where=where, fix=fix)
        self.kind, self.retry_after_s = kind, retry_after_s


class Proposer(Protocol):
    """Who decides what to try next."""

    @property
    def name(self) -> str:
        """The name it was asked for by: that of a search (`tpe`), of a model of models.toml, `replay`, …"""
        ...

    @property
    def repairs_crashes(self) -> bool:
        """Whether it can use a traceback: then a crash of its candidate goes back to it once."""
        ...

    def check_ready(self) -> None:
        """Fail now, before a night is spent on it, if it cannot answer. Sends no request that costs anything.

        Raises:
            NoReplyError: nobody listens at its endpoint.
        """
        ...

    def propose(self, context: ProposalContext) -> Reply:
        """Answer with one proposal as raw text. Every request is tried once: waiting is the loop's business.

        Raises:
            NoReplyError: no answer could be had (endpoint refused, recording used up).
        """
        ...


ScriptedReply = str | Callable[[ProposalContext], str]
"""A raw reply, or a function that makes one from the context."""
