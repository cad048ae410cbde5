"""An endpoint that refuses: one sentence with address and way out, one try, every request on record."""

import socket
import time
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path

import httpx
import pytest

from agents.base import NoReplyError, NoReplyKind
from agents.model.config import load_models
from agents.model.endpoint import Endpoint, Request
from agents.model.refusals import retry_after_s
from agents.planner.planner import Planner
from agents.transcript import CallInfo, Transcript
from rails.errors import DiskFullError, UserError
from tests.support.chat_server import (
    GOOD,
    Behaviour,
    ChatServer,
    dripping,
    failing,
    hang,
    html,
    ok,
    raw_body,
    reset,
)
from tests.support.proposals import make_context
from tests.support.transcripts import noted, refused

KEY = "sk-very-secret-0123456789"


def planner_at(server: ChatServer, folder: Path, **keys: object) -> Planner:
    (folder / "models.toml").write_text(server.models_toml("local", **keys))
    return Planner("local", load_models(folder)["local"])


PASSING, LASTING = NoReplyKind.PASSING, NoReplyKind.LASTING


@pytest.mark.parametrize(
    ("behaviour", "kind", "said"),
    [
        (failing(401, "bad key"), LASTING, "refused the key (HTTP 401: bad key)"),
        (failing(403), LASTING, "refused the key"),
        (failing(404, "model `local` does not exist"), LASTING, "knows no such model or address"),
        (failing(400, "no such field"), LASTING, "rejected the request (HTTP 400: no such field)"),
        (failing(400, "context too long"), LASTING, "the smallest prompt does not fit"),
        (failing(429, "insufficient", code="insufficient_quota"), LASTING, "no credit left"),
        (failing(402, "pay"), LASTING, "no credit left"),
        (failing(405), LASTING, "failed (HTTP 405"),
        (failing(408), PASSING, "failed (HTTP 408"),
        (failing(409), PASSING, "failed (HTTP 409"),
        (failing(425), PASSING, "failed (HTTP 425"),
        (failing(429, "slow down"), PASSING, "is busy (HTTP 429: slow down)"),
        (failing(500), PASSING, "failed (HTTP 500: it broke)"),
        (failing(503), PASSING, "failed (HTTP 503"),
        (html(502), PASSING, "failed (HTTP 502: an HTML page)"),
        (html(200), PASSING, "no chat completion"),
        (raw_body(b'{"id": '), PASSING, "no chat completion"),
        (raw_body(b"[1, 2]"), PASSING, "no chat completion"),
        (raw_body(b'{"choices": []}'), PASSING, "no chat completion"),
        (raw_body(b'{"choices": null}'), PASSING, "no chat completion"),
        (raw_body(b'{"choices": [{"message": null}]}'), PASSING, "no chat completion"),
        (raw_body(b'{"x": ' + b"9" * 5_000 + b"}"), PASSING, "no chat completion"),
        (raw_body(b"[" * 100_000), PASSING, "no chat completion"),
        (raw_body(b"\xff\xfe\x00"), PASSING, "no chat completion"),
        (raw_body(b'{"error": {"message": "overloaded", "code": 503}}'), PASSING, "no chat completion"),
        (reset(), PASSING, "the connection failed"),
    ],
)
def test_what_happened_is_said_once(behaviour: Behaviour, kind: NoReplyKind, said: str, tmp_path: Path) -> None:
    with ChatServer([behaviour]) as server:
        error, calls = refused(planner_at(server, tmp_path))
        address = server.base_url
    assert error.kind is kind
    assert said in str(error)
    assert address in str(error) and error.fix
    assert "\n" not in str(error) and len(str(error)) < 600
    if "does not fit" not in said:  # then it was tried with less and less
        assert len(calls) == len(server.requests) == (4 if "rejected" in said else 1)
    assert all(call.error and call.raw_reply is None and call.message is None and call.prompt for call in calls)


def test_nobody_listens(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{taken.getsockname()[1]}/v1"
        (tmp_path / "models.toml").write_text(f'[models.m]\nbase_url = "{address}"\nmodel = "m"\n')
        planner = Planner("m", load_models(tmp_path)["m"])
        error, calls = refused(planner)
        with pytest.raises(NoReplyError, match="nobody answers there") as caught:
            planner.check_ready()
    assert str(error).startswith(f"m at {address}: the connection failed (") and "Connection refused" in str(error)
    assert error.kind is caught.value.kind is PASSING
    assert len(calls) == 1


@pytest.mark.parametrize("behaviour", [hang(), dripping(0.02)])
def test_a_late_answer_is_a_timeout_however_it_is_late(behaviour: Behaviour, tmp_path: Path) -> None:
    started = time.monotonic()
    with ChatServer([behaviour]) as server:
        error, calls = refused(planner_at(server, tmp_path, timeout_s=0.2))
    assert "no complete answer within 0.2 s" in str(error) and error.kind is PASSING
    assert len(calls) == 1
    assert time.monotonic() - started < 20


def test_an_endless_answer_is_cut_off(tmp_path: Path) -> None:
    with ChatServer([raw_body(b" " * (5 * 1024 * 1024))]) as server:
        error, _ = refused(planner_at(server, tmp_path))
    assert "larger than 4 MiB" in str(error) and error.kind is PASSING


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry-after": "7"}, 7.0),
        ({"retry-after": "0.5"}, 0.5),
        ({"retry-after": "-5"}, 0.0),
        ({"retry-after": "nan"}, None),
        ({"retry-after": "inf"}, None),
        ({"retry-after": "soon"}, None),
        ({"retry-after": ""}, None),
        ({}, None),
        ({"retry-after": "Wed, 21 Oct 2037 07:28:30 GMT", "date": "Wed, 21 Oct 2037 07:28:00 GMT"}, 30.0),
        ({"retry-after": "Wed, 21 Oct 2037 07:27:00 GMT", "date": "Wed, 21 Oct 2037 07:28:00 GMT"}, 0.0),
        ({"retry-after": "Fri, 21 Oct 2016 07:28:00 GMT"}, 0.0),
        ({"retry-after": "Wed, 99 Oct 2037 07:28:30 GMT"}, None),
    ],
)
def test_a_servers_wish_is_read_in_seconds_and_as_a_date(headers: dict[str, str], seconds: float | None) -> None:
    assert retry_after_s(httpx.Headers(headers)) == seconds


def test_a_date_without_the_servers_time_is_compared_with_our_clock() -> None:
    date = format_datetime(datetime.now(UTC) + timedelta(seconds=100), usegmt=True)
    assert retry_after_s(httpx.Headers({"retry-after": date})) == pytest.approx(100, abs=5)


@pytest.mark.parametrize("status", [429, 503])
def test_the_wish_reaches_the_loop(status: int, tmp_path: Path) -> None:
    with ChatServer([failing(status, retry_after="7")]) as server:
        error, _ = refused(planner_at(server, tmp_path))
    assert error.retry_after_s == 7.0


def test_every_request_is_tried_once(tmp_path: Path) -> None:
    with ChatServer([failing(429, retry_after="0"), ok()]) as server:
        planner = planner_at(server, tmp_path)
        refused(planner)
        assert len(server.requests) == 1
        assert planner.propose(make_context()).raw == GOOD


def test_a_failure_is_on_record_before_it_is_told(tmp_path: Path) -> None:
    def full(call: CallInfo) -> None:
        raise DiskFullError("no room")

    with ChatServer([failing(500)]) as server, pytest.raises(DiskFullError):
        planner_at(server, tmp_path).propose(make_context(transcript=Transcript((), full)))


def test_the_key_is_sent_and_never_stored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_KEY", KEY)
    with ChatServer([failing(401, f"Incorrect API key provided: {KEY}"), ok(f"your key is {KEY}")]) as server:
        planner = planner_at(server, tmp_path, api_key_env="MY_KEY")
        context = make_context(program_md=f"the key is {KEY}")
        error, failed = refused(planner, context)
        _, answered = noted(planner, context)
    assert server.requests[0].headers["Authorization"] == f"Bearer {KEY}"
    assert "MY_KEY" in str(error)
    assert KEY not in str(error)
    assert KEY not in repr(failed) and KEY not in repr(answered)
    assert answered[0].message == {"role": "assistant", "content": "your key is [key]"}


def test_another_services_key_is_not_sent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    with ChatServer() as server:
        planner_at(server, tmp_path).propose(make_context())
    assert KEY not in repr(server.requests[0].headers)


def test_a_key_that_is_not_set_is_said_before_anything_is_sent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MY_KEY", raising=False)
    with ChatServer() as server, pytest.raises(UserError, match="MY_KEY is not set"):
        planner_at(server, tmp_path, api_key_env="MY_KEY")
    assert server.requests == []


def test_user_and_password_of_an_address_are_not_shown(tmp_path: Path) -> None:
    with ChatServer([failing(404)]) as server:
        port = server.base_url.rsplit(":", 1)[1]
        text = f'[models.m]\nbase_url = "http://me:hunter2@127.0.0.1:{port}"\nmodel = "m"\n'
        (tmp_path / "models.toml").write_text(text)
        error, calls = refused(Planner("m", load_models(tmp_path)["m"]))
    assert "hunter2" not in str(error) + repr(calls)


def test_a_request_that_cannot_be_made_is_no_weather(tmp_path: Path) -> None:
    with ChatServer() as server:
        (tmp_path / "models.toml").write_text(server.models_toml("local"))
        endpoint = Endpoint(load_models(tmp_path)["local"])
        request = Request(messages=[{"role": "user", "content": "\ud800"}], seed=1)
        calls: list[CallInfo] = []
        with pytest.raises(NoReplyError, match="the request could not be made") as caught:
            endpoint.ask(request, calls.append, lambda: False)
        assert server.requests == []
    assert caught.value.kind is LASTING
    assert len(calls) == 1 and calls[0].prompt == [{"role": "user", "content": "\\ud800"}]
