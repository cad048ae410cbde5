"""The requests of one attempt at a proposal: kept within the context, the budget and the forms that the endpoint takes.

What the transcript holds already is taken from there, so that an attempt that was cut off goes on where it was and asks
nothing twice. What was learnt of the endpoint (the form of reply it takes, the size of its context) is kept beyond the
attempt, in `Learnt`.
"""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, cast

from langchain_core.messages import AIMessage
from langchain_core.tools import BaseTool

from agents.base import NoReplyError, NoReplyKind, ProposalContext
from agents.model.config import ModelConfig
from agents.model.endpoint import Endpoint, Request, RequestRejectedError
from agents.model.forms import ReplyForm, first_form, forms_from
from agents.model.messages import read_message
from agents.transcript import CallInfo
from memory.lineage.budget import count_tokens
from memory.records import CallRole

MARGIN = 0.9
"""Share of a model's context that is used: tokens are estimated, and templates add some."""

REPLY_SHARE = 0.25
"""Most of the context that is kept free for a reply."""

SHRINK = 0.6
"""What is left of the room when a prompt turned out to be too long and the endpoint did not say how much it takes."""

MAX_SHRINKS = 4
LEAST_ROOM_TOKENS = 500

CHARS_A_TOKEN = 8.0
"""No tokenizer makes fewer tokens of English and Python than one for so many characters: a server that counts fewer has
cut the prompt."""

Build = Callable[[int], list[dict[str, Any]]]
"""Makes the opening messages for so many tokens of room."""


@dataclass(slots=True)
class Learnt:
    """What earlier requests showed of an endpoint."""

    form: ReplyForm
    """The strictest form of reply that it takes."""
    context_tokens: int
    """How much fits into one request, prompt and reply."""
    native_tools: bool
    """Whether it takes tools of the protocol."""

    @staticmethod
    def of(config: ModelConfig, form: ReplyForm | None = None) -> "Learnt":
        """What models.toml says of it, and the form that served this campaign before."""
        return Learnt(form or first_form(config.reply_format), config.context_tokens, config.tools)


@dataclass(slots=True)
class Conversation:
    """What was said in one attempt, and the way to say more.

    Attributes:
        context: of the proposal; has the transcript.
        endpoint: whom to ask.
        config: its entry in models.toml.
        learnt: what is known of it; changed by what is found out.
        build: makes the opening messages anew for less room.
        opening: these messages.
        tail: what was said since.
        asked: answered requests so far.
        tokens: that these took, prompts and replies.
        seconds: that these took. As recorded: taken up again, an attempt must decide as it did.
        notes: what a person should know of them.
    """

    context: ProposalContext
    endpoint: Endpoint
    config: ModelConfig
    learnt: Learnt
    build: Build
    opening: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    tail: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    asked: int = 0
    tokens: int = 0
    seconds: float = 0.0
    notes: list[str] = field(default_factory=list[str])

    def __post_init__(self) -> None:
        self.opening = self.build(self.room_tokens)

    @property
    def room_tokens(self) -> int:
        """For the prompt, by our estimate."""
        return max(LEAST_ROOM_TOKENS, int(MARGIN * self.learnt.context_tokens) - self.reply_tokens)

    @property
    def reply_tokens(self) -> int:
        """For the reply."""
        return min(self.config.max_tokens, max(64, int(REPLY_SHARE * self.learnt.context_tokens)))

    @property
    def used_tokens(self) -> int:
        """Of the room, by what is to be sent next."""
        return sum(count_tokens(str(message.get("content") or "")) + 8 for message in (*self.opening, *self.tail))

    def say(self, *messages: dict[str, Any]) -> None:
        """Add to what the next request shows."""
        self.tail += messages

    def ask_reply(self, schema: dict[str, Any], role: CallRole = CallRole.PROPOSE) -> CallInfo:
        """A reply that follows a schema, in the strictest form that the endpoint takes; a cut one is asked for again.

        Raises:
            NoReplyError: no answer could be had.
        """
        for form in forms_from(self.learnt.form):
            try:
                call = self._whole(schema, form, role)
            except RequestRejectedError as error:
                if form == "text":
                    raise self.endpoint.no_reply(error.refusal) from error
            else:
                self.learnt.form = form
                return call
        raise AssertionError("the last form returns or raises")

    def ask_text(self) -> CallInfo:
        """A reply of any text.

        Raises:
            NoReplyError: no answer could be had.
        """
        try:
            return self._whole(None, "text", CallRole.PROPOSE)
        except RequestRejectedError as error:
            raise self.endpoint.no_reply(error.refusal) from error

    def ask_with_tools(self, tools: Sequence[BaseTool]) -> tuple[CallInfo, AIMessage] | None:
        """A message that may call tools of the protocol; None where the endpoint does not take them."""
        try:
            call = self._request(Request(messages=[], seed=0, tools=tuple(tools)))
        except RequestRejectedError:
            self.learnt.native_tools = bool(self.tail)  # later in a conversation it was something else
            return None
        return call, read_message(call.message or {"content": call.raw_reply})

    def _whole(self, schema: dict[str, Any] | None, form: ReplyForm, role: CallRole) -> CallInfo:
        """A reply that was not cut at its token limit, where twice the room is enough."""
        request = Request(messages=[], seed=0, schema=schema, form=form, role=role, max_tokens=self.reply_tokens)
        call = self._request(request)
        if call.cut:
            self.context.progress("reply cut", f"at {self.reply_tokens} tokens; asking again with more room")
            more = min(2 * self.reply_tokens, self.learnt.context_tokens // 2)
            call = self._request(
                Request(messages=[], seed=0, schema=schema, form=form, role=role, max_tokens=max(more, 64))
            )
        return call

    def _request(self, request: Request) -> CallInfo:
        """One answered request: from the transcript if it is there, else from the endpoint, shortened until it fits."""
        for shrinks in range(MAX_SHRINKS + 1):
            earlier = self.context.transcript.next_answer()
            try:
                call = self._send(request) if earlier is None else self._take_up(earlier)
            except RequestRejectedError as error:
                if not error.refusal.overflow or shrinks == MAX_SHRINKS:
                    raise
                self._shrink(error.refusal.context_tokens)
                continue
            self._count(call)
            if shrinks == MAX_SHRINKS or not self._was_cut_in_silence(call):
                return call
        raise AssertionError("the last try returns or raises")

    def _send(self, request: Request) -> CallInfo:
        sent = replace(request, messages=[*self.opening, *self.tail], seed=self._seed())
        return self.endpoint.ask(sent, self.context.transcript.record, self.context.stopping)

    def _take_up(self, earlier: CallInfo) -> CallInfo:
        """Go on from a recorded prompt as it was sent: a tool may answer differently by now."""
        if earlier.prompt is not None:
            opening = len(self.opening)
            self.opening, self.tail = earlier.prompt[:opening], earlier.prompt[opening:]
        if earlier.reply_form is not None:
            self.learnt.form = cast(ReplyForm, earlier.reply_form)
        return earlier

    def _count(self, call: CallInfo) -> None:
        self.asked += 1
        self.seconds += call.latency_s
        self.tokens += (call.prompt_tokens or self.used_tokens) + (call.completion_tokens or 0)

    def _shrink(self, stated: int | None) -> None:
        """Make do with less context, for the rest of the campaign."""
        before = self.learnt.context_tokens
        less = int(SHRINK * before)
        self.learnt.context_tokens = stated if stated is not None and stated < before else less
        if self.learnt.context_tokens < 2 * LEAST_ROOM_TOKENS:
            fix = "choose a model with a larger context"
            what = f"the smallest prompt does not fit into {self.learnt.context_tokens} tokens"
            raise NoReplyError(what, where=self.endpoint.place, fix=fix, kind=NoReplyKind.LASTING)
        self._note(f"a prompt for {before} tokens was too long: going on with {self.learnt.context_tokens}")

    def _was_cut_in_silence(self, call: CallInfo) -> bool:
        """Whether the server read far less than was sent; then the next prompt is made for what it read."""
        chars = sum(len(str(message.get("content") or "")) for message in call.prompt or ())
        read = call.prompt_tokens
        if read is None or read == 0 or read >= chars / CHARS_A_TOKEN or read < LEAST_ROOM_TOKENS // 2:
            return False
        stated = read + self.reply_tokens
        if stated >= self.learnt.context_tokens:
            return False
        self.learnt.context_tokens = max(2 * LEAST_ROOM_TOKENS, stated)
        self._note(
            f"the server read {read} tokens of a prompt of {chars} characters: it cuts in silence; going on with a "
            f"context of {self.learnt.context_tokens} tokens (state context_tokens in models.toml)"
        )
        return True

    def _note(self, sentence: str) -> None:
        self.notes.append(f"{self.endpoint.place}: {sentence}")
        self.context.progress("shorter prompt", sentence)
        self.opening = self.build(self.room_tokens)

    def _seed(self) -> int:
        """A seed for the endpoint's sampler that fits 31 bits and differs for every request of a campaign."""
        context = self.context
        text = f"{context.seed}:{context.trial_seq}:{context.attempt}:{self.asked}"
        return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big") >> 1
