"""An endpoint that refuses: one sentence with address and way out, bounded retries, every try on record."""

import socket
import time
from pathlib import Path

import pytest

from agents.base import NoReplyError
from agents.endpoint import MAX_WAIT_S
from agents.models import load_models
from agents.planner import Planner
from rails.errors import ProposerError, UserError
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

KEY = "sk-very-secret-0123456789"


class Waits(list[float]):
    """Stands in for time.sleep and remembers."""

    def __call__(self, seconds: float) -> None:
        self.append(seconds)


def ask(server: ChatServer, folder: Path, waits: Waits | None = None, **keys: object) -> NoReplyError:
    with pytest.raises(ProposerError) as caught:
        planner_at(server, folder, waits, **keys).propose(make_context())
    assert isinstance(caught.value, NoReplyError)
    return caught.value


def planner_at(server: ChatServer, folder: Path, waits: Waits | None = None, **keys: object) -> Planner:
    (folder / "models.toml").write_text(server.models_toml("local", **keys))
    return Planner("local", load_models(folder)["local"], sleep=waits if waits is not None else Waits())


@pytest.mark.parametrize(
    ("behaviour", "tries", "said"),
    [
        (failing(401, "bad key"), 1, "refused the key (HTTP 401: bad key)"),
        (failing(403), 1, "refused the key"),
        (failing(404, "model `local` does not exist"), 1, "knows no such model or address"),
        (failing(400, "context too long"), 3, "rejected the request (HTTP 400: context too long)"),
        (failing(429, "insufficient", code="insufficient_quota"), 1, "no credit left"),
        (failing(429, "slow down"), 3, "is busy (HTTP 429: slow down)"),
        (failing(500), 3, "failed (HTTP 500: it broke)"),
        (failing(503), 3, "failed (HTTP 503"),
        (html(502), 3, "failed (HTTP 502: an HTML page)"),
        (html(200), 3, "no chat completion"),
        (raw_body(b'{"id": '), 3, "no chat completion"),
        (raw_body(b"[1, 2]"), 3, "no chat completion"),
        (raw_body(b'{"choices": []}'), 3, "no chat completion"),
        (raw_body(b'{"choices": null}'), 3, "no chat completion"),
        (raw_body(b'{"choices": [{"message": null}]}'), 3, "no chat completion"),
        (raw_body(b'{"x": ' + b"9" * 5_000 + b"}"), 3, "no chat completion"),
        (raw_body(b"[" * 100_000), 3, "no chat completion"),
        (raw_body(b"\xff\xfe\x00"), 3, "no chat completion"),
        (reset(), 3, "the connection failed"),
    ],
)
def test_what_happened_is_said_once(behaviour: Behaviour, tries: int, said: str, tmp_path: Path) -> None:
    with ChatServer([behaviour]) as server:
        error = ask(server, tmp_path)
        address = server.base_url
    assert said in str(error)
    assert address in str(error) and error.fix
    assert "\n" not in str(error) and len(str(error)) < 600
    assert len(error.calls) == len(server.requests) == tries
    assert all(call.error and call.raw_reply is None and call.prompt for call in error.calls)


def test_nobody_listens(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{taken.getsockname()[1]}/v1"
        (tmp_path / "models.toml").write_text(f'[models.m]\nbase_url = "{address}"\nmodel = "m"\n')
        planner = Planner("m", load_models(tmp_path)["m"], sleep=Waits())
        with pytest.raises(NoReplyError, match="Connection refused") as caught:
            planner.propose(make_context())
    assert str(caught.value).startswith(f"m at {address}: the connection failed")
    assert len(caught.value.calls) == 3


@pytest.mark.parametrize("behaviour", [hang(), dripping(0.02)])
def test_a_late_answer_is_a_timeout_however_it_is_late(behaviour: Behaviour, tmp_path: Path) -> None:
    started = time.monotonic()
    with ChatServer([behaviour]) as server:
        error = ask(server, tmp_path, timeout_s=0.2)
    assert "no complete answer within 0.2 s" in str(error)
    assert len(error.calls) == 3
    assert time.monotonic() - started < 20


def test_an_endless_answer_is_cut_off(tmp_path: Path) -> None:
    with ChatServer([raw_body(b" " * (5 * 1024 * 1024))]) as server:
        error = ask(server, tmp_path)
    assert "larger than 4 MiB" in str(error)


def test_a_failure_that_passes_is_retried_as_the_server_asks(tmp_path: Path) -> None:
    waits = Waits()
    script = [failing(429, retry_after="7"), reset(), ok()]
    with ChatServer(script) as server:
        reply = planner_at(server, tmp_path, waits).propose(make_context())
    assert reply.raw == GOOD
    assert [call.error is None for call in reply.calls] == [False, False, True]
    assert waits == [7.0, 2.0]


@pytest.mark.parametrize(
    ("retry_after", "waited"),
    [("86400", MAX_WAIT_S), ("nan", 1.0), ("-5", 0.0), ("Wed, 21 Oct 2037 07:28:00 GMT", 1.0)],
)
def test_the_wait_is_capped_whatever_the_server_asks(retry_after: str, waited: float, tmp_path: Path) -> None:
    waits = Waits()
    with ChatServer([failing(429, retry_after=retry_after), ok()]) as server:
        planner_at(server, tmp_path, waits).propose(make_context())
    assert waits == [waited]


def test_the_key_is_sent_and_never_stored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_KEY", KEY)
    with ChatServer([failing(401, f"Incorrect API key provided: {KEY}"), ok(f"your key is {KEY}")]) as server:
        planner = planner_at(server, tmp_path, api_key_env="MY_KEY")
        context = make_context(program_md=f"the key is {KEY}")
        with pytest.raises(NoReplyError) as caught:
            planner.propose(context)
        reply = planner.propose(context)
    assert server.requests[0].headers["Authorization"] == f"Bearer {KEY}"
    assert "MY_KEY" in str(caught.value)
    assert KEY not in str(caught.value)
    assert KEY not in repr(caught.value.calls) and KEY not in repr(reply.calls)


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
        with pytest.raises(NoReplyError) as caught:
            Planner("m", load_models(tmp_path)["m"], sleep=Waits()).propose(make_context())
    assert "hunter2" not in str(caught.value) + repr(caught.value.calls)
