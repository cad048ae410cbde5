"""One OpenAI-compatible endpoint: a request, tried once, its bounds, and what went wrong in one sentence.

`ChatOpenAI` builds and reads the messages. Around it this module bounds what it leaves open: the time of a whole
request (its own timeout starts again with every byte), the size of an answer, and how long a person who stops the
loop waits for it. Trying again is not its business: see `graph/asking/outages.py`.
"""

import rails.bootstrap  # noqa: F401  # pyright: ignore[reportUnusedImport]

# isort: split
import json
import socket
import time
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

import httpx
import openai
from langchain_core.messages import AIMessage
from langchain_core.tools import BaseTool
from langchain_core.utils.function_calling import convert_to_openai_tool
from langchain_openai import ChatOpenAI
from pydantic import SecretStr

from agents.base import NoReplyError, NoReplyKind
from agents.model.background import AbandonedError, in_background
from agents.model.config import ModelConfig
from agents.model.forms import ReplyForm, response_format
from agents.model.messages import protocol_message, read_completion, reply_text
from agents.model.refusals import Refusal, UnsentError, explain
from agents.texts import storable, storable_json
from agents.transcript import CallInfo
from memory.records import CallRole

MAX_ANSWER_BYTES = 4 * 1024 * 1024
GRACE_S = 10.0
"""How long a request in flight may still take once the loop is asked to stop: its answer may be paid for."""

CONNECT_TIMEOUT_S = 5.0
"""How long `check_ready` waits for an endpoint to accept a connection."""


_UNREADABLE = (ValueError, LookupError, TypeError, AttributeError, RecursionError)
"""What the client makes of a body that it cannot read as a chat completion."""


class RequestRejectedError(Exception):
    """The endpoint understood the request and will not serve it in this form (400 or 422)."""

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(refusal.what)
        self.refusal = refusal


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What is asked of the endpoint."""

    messages: list[dict[str, Any]]
    """In the form of the chat-completions protocol."""
    seed: int
    schema: dict[str, Any] | None = None
    """Of the reply; None: any text."""
    form: ReplyForm = "text"
    """How strictly the schema is asked for."""
    tools: tuple[BaseTool, ...] = ()
    max_tokens: int | None = None
    """Longest reply; None: as models.toml has it."""
    role: CallRole = CallRole.PROPOSE


class Endpoint:
    """Sends requests to one model.

    Args:
        config: the model's entry of models.toml.
        grace_s: how long a request in flight may still take once the loop is asked to stop.

    Raises:
        UserError: the key's environment variable is not set.
    """

    def __init__(self, config: ModelConfig, *, grace_s: float = GRACE_S) -> None:
        self._config = config
        self._grace_s = grace_s
        self._key = config.api_key()
        self._chat = ChatOpenAI(
            model=config.model,
            base_url=config.base_url,
            api_key=SecretStr(self._key),
            timeout=config.timeout_s,
            max_retries=0,
            temperature=config.temperature,
            max_completion_tokens=config.max_tokens,
            use_responses_api=False,
            http_client=_bounded_client(config.timeout_s),
        )

    @property
    def place(self) -> str:
        """Model and address, for messages to a person."""
        return f"{self._config.model} at {self._config.address}"

    def check_ready(self) -> None:
        """Whether somebody listens at the address; nothing is sent.

        Raises:
            NoReplyError: the connection is refused, or the host is unknown or silent.
        """
        address = httpx.URL(self._config.base_url)
        port = address.port or {"https": 443}.get(address.scheme, 80)
        try:
            socket.create_connection((address.host, port), timeout=CONNECT_TIMEOUT_S).close()
        except OSError as error:
            what = f"nobody answers there ({error.strerror or error})"
            fix = "start the server, correct base_url in models.toml, or use --proposer tpe"
            raise NoReplyError(what, where=self.place, fix=fix, kind=NoReplyKind.PASSING) from error

    def ask(self, request: Request, record: Callable[[CallInfo], None], stopping: Callable[[], bool]) -> CallInfo:
        """Send a request, once; what came of it, as it goes on record.

        Args:
            request: what is asked.
            record: is given the request with its answer or failure, before anything is done with it.
            stopping: whether the loop is asked to stop.

        Raises:
            RequestRejectedError: 400 or 422: another form of the request may be served.
            NoReplyError: no answer.
        """
        if stopping():
            raise self.no_reply(_stopped("nothing was asked"))
        started = time.monotonic()
        try:
            message, usage = in_background(lambda: self._send(request), stopping, self._grace_s)
        except AbandonedError:
            refusal = _stopped(f"no answer within {self._grace_s:g} s")
        except (openai.OpenAIError, UnsentError, *_UNREADABLE) as error:
            refusal = explain(error, self._config)
        else:
            answered = self._answered(request, message, usage, time.monotonic() - started)
            record(answered)
            return answered
        record(self._failed(request, refusal, time.monotonic() - started))
        if refusal.rejected:
            raise RequestRejectedError(refusal)
        raise self.no_reply(refusal)

    def no_reply(self, refusal: Refusal) -> NoReplyError:
        """The error that ends a proposal, with address and way out."""
        return NoReplyError(
            self._safe(refusal.what),
            where=self.place,
            fix=refusal.fix,
            kind=refusal.kind,
            retry_after_s=refusal.retry_after_s,
        )

    def _send(self, request: Request) -> tuple[AIMessage, tuple[int, int] | None]:
        """The answer, and the tokens of prompt and reply. Runs in a thread of its own and touches nothing else."""
        extra: dict[str, Any] = {}
        wanted = None if request.schema is None else response_format(request.form, request.schema)
        if wanted is not None:
            # Not as `response_format`: the client would then parse the reply itself and lose a truncated one.
            extra["extra_body"] = {"response_format": wanted}
        if request.max_tokens is not None:
            extra["max_completion_tokens"] = request.max_tokens
        if request.tools:
            extra["tools"] = [convert_to_openai_tool(tool) for tool in request.tools]
        received = _Received()
        _received.set(received)
        try:
            message: Any = self._chat.bind(seed=request.seed, **extra).invoke(request.messages)
            if not isinstance(message, AIMessage):
                raise TypeError(f"a message of the {message.type}")
        except _UNREADABLE as error:
            if not received.arrived:
                raise UnsentError(repr(error)) from error
            salvaged = read_completion(bytes(received.body))
            if salvaged is None:
                raise
            return salvaged
        usage = message.usage_metadata
        return message, (usage["input_tokens"], usage["output_tokens"]) if usage else None

    def _answered(
        self, request: Request, message: AIMessage, usage: tuple[int, int] | None, latency_s: float
    ) -> CallInfo:
        prompt_tokens, completion_tokens = usage or (None, None)
        whole = protocol_message(message)
        return CallInfo(
            model=self._config.model,
            prompt=self._safe_messages(request.messages),
            raw_reply=self._safe(reply_text(message)),
            error=None,
            prompt_tokens=prompt_tokens,
            completion_tokens=completion_tokens,
            latency_s=latency_s,
            usd=self._config.usd(prompt_tokens, completion_tokens),
            message=self._safe_messages([whole])[0],
            role=request.role,
            reply_form=_form_of(request),
            finish_reason=_finish_reason(message),
        )

    def _failed(self, request: Request, refusal: Refusal, latency_s: float) -> CallInfo:
        return CallInfo(
            model=self._config.model,
            prompt=self._safe_messages(request.messages),
            raw_reply=None,
            error=self._safe(refusal.what),
            prompt_tokens=None,
            completion_tokens=None,
            latency_s=latency_s,
            usd=None,
            role=request.role,
            reply_form=_form_of(request),
        )

    def _safe_messages(self, messages: list[dict[str, Any]]) -> list[dict[str, Any]]:
        return json.loads(self._safe(json.dumps(storable_json(messages))))

    def _safe(self, text: str) -> str:
        """`text` without the key, in a form that can be stored."""
        secret = self._config.api_key_env and self._key
        return storable(text.replace(secret, "[key]") if secret else text)


def _form_of(request: Request) -> ReplyForm | None:
    return None if request.schema is None else request.form


def _finish_reason(message: AIMessage) -> str | None:
    stated = message.response_metadata.get("finish_reason")
    return storable(stated) if isinstance(stated, str) else None


@dataclass(slots=True)
class _Received:
    """What came back for a request: kept for when the client cannot read it."""

    body: bytearray = field(default_factory=bytearray)
    arrived: bool = False
    """Whether the server said anything at all."""


_received: ContextVar[_Received | None] = ContextVar("received", default=None)
"""What comes back for this thread's request."""


def _stopped(what: str) -> Refusal:
    return Refusal(what=f"the loop was asked to stop, and {what}", fix="run again to go on", kind=NoReplyKind.PASSING)


class _BoundedStream(httpx.SyncByteStream):
    """A response body that ends with an error once it is late or too large."""

    def __init__(self, inner: httpx.SyncByteStream, deadline: float) -> None:
        self._inner = inner
        self._deadline = deadline

    def __iter__(self) -> Iterator[bytes]:
        size, received = 0, _received.get()
        for chunk in self._inner:
            size += len(chunk)
            if time.monotonic() > self._deadline:
                raise httpx.ReadTimeout("the answer was not complete in time")
            if size > MAX_ANSWER_BYTES:
                raise httpx.ReadError(f"the answer is larger than {MAX_ANSWER_BYTES >> 20} MiB")
            if received is not None:
                received.body += chunk
            yield chunk

    def close(self) -> None:
        """Close the connection."""
        self._inner.close()


def _bounded_client(timeout_s: float) -> httpx.Client:
    """An HTTP client whose requests take at most `timeout_s` from sending to the last byte.

    Connections are not kept: minutes of training lie between two requests, and half-dead ones would fail the second.
    """

    def start(request: httpx.Request) -> None:
        """Note when a request began."""
        request.extensions = {**request.extensions, "started": time.monotonic()}

    def bound(response: httpx.Response) -> None:
        """Put the bounds around a response's body."""
        if (received := _received.get()) is not None:
            received.arrived = True
        if isinstance(response.stream, httpx.SyncByteStream):
            deadline = response.request.extensions["started"] + timeout_s
            response.stream = _BoundedStream(response.stream, deadline)

    return httpx.Client(
        timeout=timeout_s,
        limits=httpx.Limits(max_keepalive_connections=0),
        headers={"Accept-Encoding": "identity"},  # or a small answer could unpack to a huge one
        event_hooks={"request": [start], "response": [bound]},
    )
