"""What an endpoint's failure means, said to a person in one sentence with the way out. Loads the openai client."""

import math
import re
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

import httpx
import openai

from agents.base import NoReplyKind
from agents.model.config import ModelConfig
from rails.text import clean_text

MAX_MESSAGE_CHARS = 160
REJECTED = frozenset({400, 413, 422})
DENIED = frozenset({401, 403})
PASSING = frozenset({408, 409, 425, 429})
"""Statuses besides 5xx after which the same request may succeed."""

_OVERFLOW = re.compile(
    r"context.{0,20}(?:size|length|window)|too (?:long|large)|too many tokens|exceed.{0,40}tokens", re.IGNORECASE
)
_CONTEXT = re.compile(r"context (?:size|length|window)\D{0,24}?(\d{3,8})", re.I)

_ELSEWHERE = "or use another proposer, such as --proposer tpe"


class UnsentError(Exception):
    """The client could not make or send the request: the next try would fail just the same."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """Why there is no answer."""

    what: str
    fix: str
    kind: NoReplyKind
    rejected: bool = False
    """Whether another form of the request may succeed."""
    retry_after_s: float | None = None
    overflow: bool = False
    """Whether the request was too long for the model's context: a shorter one may be served."""
    context_tokens: int | None = None
    """The size of the context, where the endpoint states it."""


def explain(error: Exception, config: ModelConfig) -> Refusal:
    """Read a failure of the client: refused connection, timeout, HTTP status, or an answer that is no completion."""
    if isinstance(error, openai.APITimeoutError):
        what = f"no complete answer within {config.timeout_s:g} s"
        return Refusal(what=what, fix=f"raise timeout_s in models.toml, {_ELSEWHERE}", kind=NoReplyKind.PASSING)
    if isinstance(error, openai.APIStatusError):
        return _status(error, config)
    if isinstance(error, UnsentError):
        what = f"the request could not be made ({clean_text(str(error), MAX_MESSAGE_CHARS)})"
        return _lasting(what, "report this with the trial's prompt")
    if isinstance(error, openai.APIConnectionError):
        cause = _root(error)
        what = f"the connection failed ({clean_text(str(cause) or type(cause).__name__, MAX_MESSAGE_CHARS)})"
        fix = f"start the server or correct base_url in models.toml, {_ELSEWHERE}"
        return Refusal(what=what, fix=fix, kind=NoReplyKind.PASSING)
    what = f"the answer is no chat completion ({type(error).__name__}: {clean_text(str(error), MAX_MESSAGE_CHARS)})"
    fix = f"check that base_url in models.toml ends with the API's version part, as in …/v1, {_ELSEWHERE}"
    return Refusal(what=what, fix=fix, kind=NoReplyKind.PASSING)


def _status(error: openai.APIStatusError, config: ModelConfig) -> Refusal:
    code = error.status_code
    message = f"HTTP {code}: {clean_text(_message(error), MAX_MESSAGE_CHARS)}"
    if code in DENIED:
        variable = f"the key in {config.api_key_env}" if config.api_key_env else "api_key_env in models.toml"
        return _lasting(f"the endpoint refused the key ({message})", f"check {variable}")
    if code == 404:
        what = f"the endpoint knows no such model or address ({message})"
        return _lasting(what, "correct model or base_url in models.toml")
    if code in REJECTED:
        return _rejected(error, message)
    if _out_of_credit(error):
        return _lasting(f"the account has no credit left ({message})", "top it up")
    return Refusal(
        what=f"the endpoint {'is busy' if code == 429 else 'failed'} ({message})",
        fix=f"try again later, {_ELSEWHERE}",
        kind=NoReplyKind.PASSING if code in PASSING or code >= 500 else NoReplyKind.LASTING,
        retry_after_s=retry_after_s(error.response.headers),
    )


def _rejected(error: openai.APIStatusError, message: str) -> Refusal:
    """A request that is not served in this form: another form may be, or a shorter one."""
    said = _message(error)
    if error.status_code == 413 or error.code == "context_length_exceeded" or _OVERFLOW.search(said):
        stated = _CONTEXT.search(said)
        refusal = _lasting(f"the request is too long ({message})", "lower context_tokens in models.toml", rejected=True)
        return replace(refusal, overflow=True, context_tokens=int(stated[1]) if stated else None)
    fix = "compare models.toml with what the endpoint supports"
    return _lasting(f"the endpoint rejected the request ({message})", fix, rejected=True)


def _lasting(what: str, fix: str, *, rejected: bool = False) -> Refusal:
    return Refusal(what=what, fix=f"{fix}, {_ELSEWHERE}", kind=NoReplyKind.LASTING, rejected=rejected)


def _out_of_credit(error: openai.APIStatusError) -> bool:
    return error.status_code == 402 or error.code == "insufficient_quota"


def _message(error: openai.APIStatusError) -> str:
    """The server's own words, without the wrapping that differs between servers; a page of HTML says nothing."""
    body: Any = error.body
    match body:
        case {"message": str(text)} | {"error": {"message": str(text)}} | {"error": str(text)} | {"detail": str(text)}:
            return text
        case str():
            return "an HTML page" if "<html" in body.lower() else body
        case _:
            return error.message


def retry_after_s(headers: httpx.Headers) -> float | None:
    """The server's wish in seconds, stated as such or as a date; None when it states none that makes sense."""
    stated = headers.get("retry-after", "")
    try:
        seconds = float(stated)
    except ValueError:
        until, now = _date(stated), _date(headers.get("date", ""))
        if until is None:
            return None
        # By the server's own clock where it tells the time: ours may be wrong.
        seconds = (until - (now or datetime.now(UTC))).total_seconds()
    return max(seconds, 0.0) if math.isfinite(seconds) else None


def _date(text: str) -> datetime | None:
    """An HTTP date, or None."""
    try:
        date = parsedate_to_datetime(text)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
    return date if date.tzinfo else date.replace(tzinfo=UTC)


def _root(error: BaseException) -> BaseException:
    """The first cause of an error: the one that names what happened to the socket."""
    for _ in range(10):
        cause = error.__cause__ or error.__context__
        if cause is None:
            break
        error = cause
    return error
