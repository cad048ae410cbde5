"""One OpenAI-compatible endpoint: a request, its bounds, its retries, and what went wrong in one sentence.

`ChatOpenAI` builds and reads the messages. Around it this module bounds what it leaves open: the time of a whole
request (its own timeout starts again with every byte), the size of an answer, and the retries.
"""

import rails.bootstrap  # noqa: F401  # pyright: ignore[reportUnusedImport]

# isort: split
import json
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import httpx
import openai
from langchain_core.messages import AIMessage
from langchain_core.tools import BaseTool
from langchain_core.utils.function_calling import convert_to_openai_tool
from langchain_openai import ChatOpenAI
from pydantic import SecretStr

from agents.base import CallInfo, NoReplyError
from agents.models import ModelConfig
from agents.refusals import Refusal, explain
from agents.texts import storable

MAX_RETRIES = 2
"""Further tries after a failure that may pass by itself."""

MAX_WAIT_S = 30.0
"""Longest wait before a retry, whatever the endpoint asks for."""

FIRST_WAIT_S = 1.0
MAX_ANSWER_BYTES = 4 * 1024 * 1024


CONNECT_TIMEOUT_S = 5.0
"""How long `check_ready` waits for an endpoint to accept a connection."""


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
    response_format: dict[str, Any] | None = None
    tools: tuple[BaseTool, ...] = ()


class Endpoint:
    """Sends requests to one model.

    Args:
        config: the model's entry of models.toml.
        sleep: waits between retries; tests put their own here.

    Raises:
        UserError: the key's environment variable is not set.
    """

    def __init__(self, config: ModelConfig, *, sleep: Callable[[float], None] = time.sleep) -> None:
        self._config = config
        self._sleep = sleep
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
            raise NoReplyError(what, where=self.place, fix=fix) from error

    def ask(self, request: Request, calls: list[CallInfo]) -> AIMessage:
        """Send a request, again after failures that may pass. Every try is appended to `calls`.

        Raises:
            RequestRejectedError: 400 or 422: another form of the request may be served.
            NoReplyError: no answer; carries `calls`.
        """
        wait_s = FIRST_WAIT_S
        for tries_left in range(MAX_RETRIES, -1, -1):
            answer = self._try(request, calls)
            if isinstance(answer, AIMessage):
                return answer
            if answer.rejected:
                raise RequestRejectedError(answer)
            if not answer.transient or not tries_left:
                raise self.no_reply(answer, calls)
            asked_s = wait_s if answer.retry_after_s is None else answer.retry_after_s
            self._sleep(min(asked_s, MAX_WAIT_S))
            wait_s *= 2
        raise AssertionError("the last try returns or raises")

    def no_reply(self, refusal: Refusal, calls: Sequence[CallInfo]) -> NoReplyError:
        """The error that ends a proposal, with address and way out."""
        return NoReplyError(self._safe(refusal.what), where=self.place, fix=refusal.fix, calls=tuple(calls))

    def _try(self, request: Request, calls: list[CallInfo]) -> AIMessage | Refusal:
        extra: dict[str, Any] = {}
        if request.response_format is not None:
            # Not as `response_format`: the client would then parse the reply itself and lose a truncated one.
            extra["extra_body"] = {"response_format": request.response_format}
        if request.tools:
            extra["tools"] = [convert_to_openai_tool(tool) for tool in request.tools]
        started = time.monotonic()
        try:
            message = self._chat.bind(seed=request.seed, **extra).invoke(request.messages)
        except (openai.OpenAIError, ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
            # The last five are what the client makes of an answer that is no chat completion.
            refusal = explain(error, self._config)
            calls.append(self._call(request, None, self._safe(refusal.what), time.monotonic() - started))
            return refusal
        calls.append(self._call(request, message, None, time.monotonic() - started))
        return message

    def _call(self, request: Request, message: AIMessage | None, error: str | None, latency_s: float) -> CallInfo:
        usage = message.usage_metadata if message else None
        prompt_tokens, completion_tokens = (usage["input_tokens"], usage["output_tokens"]) if usage else (None, None)
        return CallInfo(
            model=self._config.model,
            prompt=json.loads(self._safe(json.dumps(request.messages))),
            raw_reply=None if message is None else self._safe(reply_text(message)),
            error=error,
            prompt_tokens=prompt_tokens,
            completion_tokens=completion_tokens,
            latency_s=latency_s,
            usd=self._config.usd(prompt_tokens, completion_tokens),
        )

    def _safe(self, text: str) -> str:
        """`text` without the key, in a form that can be stored."""
        secret = self._config.api_key_env and self._key
        return storable(text.replace(secret, "[key]") if secret else text)


def reply_text(message: AIMessage) -> str:
    """The raw text of an answer: its content, or else its refusal, or else its tool calls as JSON."""
    content: Any = message.content
    text = content if isinstance(content, str) else "".join(_parts(content))
    if text:
        return text
    refusal = message.additional_kwargs.get("refusal")
    if isinstance(refusal, str) and refusal:
        return refusal
    called = [*message.tool_calls, *message.invalid_tool_calls]
    return json.dumps({"tool_calls": [{"name": c["name"], "args": c["args"]} for c in called]}) if called else ""


def _parts(content: list[Any]) -> Iterator[str]:
    for part in content:
        match part:
            case str():
                yield part
            case {"text": str(text)}:
                yield text
            case _:
                continue


class _BoundedStream(httpx.SyncByteStream):
    """A response body that ends with an error once it is late or too large."""

    def __init__(self, inner: httpx.SyncByteStream, deadline: float) -> None:
        self._inner = inner
        self._deadline = deadline

    def __iter__(self) -> Iterator[bytes]:
        size = 0
        for chunk in self._inner:
            size += len(chunk)
            if time.monotonic() > self._deadline:
                raise httpx.ReadTimeout("the answer was not complete in time")
            if size > MAX_ANSWER_BYTES:
                raise httpx.ReadError(f"the answer is larger than {MAX_ANSWER_BYTES >> 20} MiB")
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
        if isinstance(response.stream, httpx.SyncByteStream):
            deadline = response.request.extensions["started"] + timeout_s
            response.stream = _BoundedStream(response.stream, deadline)

    return httpx.Client(
        timeout=timeout_s,
        limits=httpx.Limits(max_keepalive_connections=0),
        headers={"Accept-Encoding": "identity"},  # or a small answer could unpack to a huge one
        event_hooks={"request": [start], "response": [bound]},
    )
