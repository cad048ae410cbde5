"""What an endpoint's failure means, said to a person in one sentence with the way out. Loads the openai client."""

import math
from dataclasses import dataclass
from typing import Any

import openai

from agents.models import ModelConfig
from rails.text import clean_text

MAX_MESSAGE_CHARS = 160
REJECTED = frozenset({400, 422})
DENIED = frozenset({401, 403})
PASSING = frozenset({408, 409, 425, 429})
"""Statuses besides 5xx after which the same request may succeed."""

_ELSEWHERE = "or use another proposer, such as --proposer tpe"


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """Why there is no answer."""

    what: str
    fix: str
    transient: bool = False
    """Whether the same request may succeed in a moment."""
    rejected: bool = False
    """Whether another form of the request may succeed."""
    retry_after_s: float | None = None


def explain(error: Exception, config: ModelConfig) -> Refusal:
    """Read a failure of the client: refused connection, timeout, HTTP status, or an answer that is no completion."""
    if isinstance(error, openai.APITimeoutError):
        what = f"no complete answer within {config.timeout_s:g} s"
        return Refusal(what=what, fix=f"raise timeout_s in models.toml, {_ELSEWHERE}", transient=True)
    if isinstance(error, openai.APIStatusError):
        return _status(error, config)
    if isinstance(error, openai.APIConnectionError):
        cause = _root(error)
        what = f"the connection failed ({clean_text(str(cause) or type(cause).__name__, MAX_MESSAGE_CHARS)})"
        fix = f"start the server or correct base_url in models.toml, {_ELSEWHERE}"
        return Refusal(what=what, fix=fix, transient=True)
    what = f"the answer is no chat completion ({type(error).__name__}: {clean_text(str(error), MAX_MESSAGE_CHARS)})"
    fix = f"check that base_url in models.toml ends with the API's version part, as in …/v1, {_ELSEWHERE}"
    return Refusal(what=what, fix=fix, transient=True)


def _status(error: openai.APIStatusError, config: ModelConfig) -> Refusal:
    code = error.status_code
    message = f"HTTP {code}: {clean_text(_message(error), MAX_MESSAGE_CHARS)}"
    if code in DENIED:
        variable = f"the key in {config.api_key_env}" if config.api_key_env else "api_key_env in models.toml"
        return Refusal(what=f"the endpoint refused the key ({message})", fix=f"check {variable}, {_ELSEWHERE}")
    if code == 404:
        what = f"the endpoint knows no such model or address ({message})"
        return Refusal(what=what, fix=f"correct model or base_url in models.toml, {_ELSEWHERE}")
    if code in REJECTED:
        fix = f"compare models.toml with what the endpoint supports, {_ELSEWHERE}"
        return Refusal(what=f"the endpoint rejected the request ({message})", fix=fix, rejected=True)
    if _out_of_credit(error):
        what = f"the account has no credit left ({message})"
        return Refusal(what=what, fix=f"top it up, {_ELSEWHERE}")
    return Refusal(
        what=f"the endpoint {'is busy' if code == 429 else 'failed'} ({message})",
        fix=f"try again later, {_ELSEWHERE}",
        transient=code in PASSING or code >= 500,
        retry_after_s=_retry_after_s(error),
    )


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


def _retry_after_s(error: openai.APIStatusError) -> float | None:
    """The server's wish in seconds; None when it states none, or a date."""
    try:
        seconds = float(error.response.headers.get("retry-after", ""))
    except ValueError:
        return None
    return max(seconds, 0.0) if math.isfinite(seconds) else None


def _root(error: BaseException) -> BaseException:
    """The first cause of an error: the one that names what happened to the socket."""
    for _ in range(10):
        cause = error.__cause__ or error.__context__
        if cause is None:
            break
        error = cause
    return error
