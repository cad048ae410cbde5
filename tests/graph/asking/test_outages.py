"""Endpoint trouble is weather: wait and ask again, ask the fallback meanwhile, and go back when it answers."""

import json
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path

import pytest

from agents.base import NoReplyError, NoReplyKind, Proposer, Reply
from agents.model.config import load_models
from agents.planner.planner import Planner
from agents.registry import make_proposer
from graph.asking.calls import MAX_FAILURES
from graph.asking.outages import ask_until_answered
from graph.campaign.options import RunOptions
from graph.limits.patience import Patience
from graph.runner import Runner
from memory.records import CampaignState, Phase, Trial
from rails.errors import NightshiftError
from rails.status import Status
from tests.support.bad_weather import (
    BACK,
    DOWN,
    FALLBACK,
    GOOD,
    LOST,
    ask_once,
    calls_of,
    night,
    quick,
    searched,
    weather_events,
)
from tests.support.chat_server import (
    Answer,
    Behaviour,
    ChatServer,
    Received,
    dripping,
    failing,
    hang,
    html,
    raw_body,
    reset,
)
from tests.support.variants import first
from tests.support.workspaces import make_quick_workspace, standin_campaign


@pytest.mark.system
def test_every_kind_of_passing_trouble_is_outlived(tmp_path: Path) -> None:
    trouble = [failing(status) for status in (408, 409, 425, 500, 503, 529)] + [failing(429, retry_after="0")]
    trouble += [reset(), html(502), html(200), raw_body(b"<html>", "text/html"), raw_body(b""), hang(), dripping(0.02)]
    trouble += [raw_body(b'{"choices": []}')]
    script: list[Behaviour] = []
    for number, bad in enumerate(trouble):
        script += [bad, *([GOOD[number // 3]] if number % 3 == 2 else [])]
    root = make_quick_workspace(tmp_path)
    with ChatServer(script) as server, night(root, server, trials=5, timeout_s=0.3) as services:
        services.patience = quick(patience_s=60.0)
        campaign = Runner(services).run()
        calls = calls_of(services)
        assert len(server.requests) == len(calls) == len(script) == 20
        assert campaign.stop_reason == "limit of 5 trials reached"
        assert all(t.status in {Status.KEEP, Status.DISCARD} and t.proposer == "local" for t in searched(services))
        assert weather_events(services) == []  # a hiccup is in the calls, not in the events of the night
    assert sum(call.error is not None for call in calls) == len(trouble)
    assert [call.position for call in calls] == [0, 1, 2, 3] * 5


@pytest.mark.slow
def test_a_dead_endpoint_without_a_fallback_is_waited_for(tmp_path: Path) -> None:
    root = make_quick_workspace(tmp_path)
    states: list[tuple[CampaignState, str | None]] = []
    with ChatServer([*[DOWN] * 30, GOOD[0]]) as server, night(root, server, trials=1) as services:
        set_state = services.set_state

        def noted(state: CampaignState, reason: str | None = None) -> None:
            states.append((state, reason))
            set_state(state, reason)

        services.set_state = noted  # type: ignore[method-assign]
        assert Runner(services).run().stop_reason == "limit of 1 trials reached"
        (trial,), calls, events = searched(services), calls_of(services), weather_events(services)
        assert len(server.requests) == 31
    assert trial.status in {Status.KEEP, Status.DISCARD}
    assert [event.kind for event in events] == [LOST, BACK]
    assert "local does not answer: the endpoint failed (HTTP 503: down for maintenance)" in events[0].text
    assert "after" in events[1].text and "30 failed tries" in events[1].text
    waiting = [(state, reason) for state, reason in states if state is not CampaignState.ENDED]
    assert [state for state, _ in waiting] == [CampaignState.WAITING, CampaignState.RUNNING]
    assert "HTTP 503" in (waiting[0][1] or "")
    # Bounded: the first few failures, one prompt among them, and the answer.
    assert [call.error is None for call in calls] == [False] * MAX_FAILURES + [True]
    assert [call.prompt is not None for call in calls] == [True] + [False] * (MAX_FAILURES - 1) + [True]
    gaps = [later.at - earlier.at for earlier, later in zip(server.requests, server.requests[1:], strict=False)]
    assert min(gaps) >= 0.02


@pytest.mark.system
def test_the_fallback_proposes_while_the_endpoint_is_away_and_no_longer(tmp_path: Path) -> None:
    root = make_quick_workspace(tmp_path)
    back = threading.Event()

    def behave(request: Received) -> Answer:
        return (GOOD[4] if back.is_set() else DOWN)(request)

    with ChatServer([behave]) as server, night(root, server, trials=5, fallback="random") as services:
        services.patience = Patience(first_s=0.02, ceiling_s=0.3, patience_s=0.1)
        opened = services.observer.trial_opened

        def open_third(trial: Trial) -> None:
            if trial.seq == 4:
                back.set()
                time.sleep(0.35)  # its waiting time is over
            opened(trial)

        services.observer.trial_opened = open_third  # type: ignore[method-assign]
        Runner(services).run()
        trials, calls, events = searched(services), calls_of(services), weather_events(services)
    assert [t.proposer for t in trials[:4]] == ["random"] * 3 + ["local"]
    assert all(t.status in {Status.KEEP, Status.DISCARD} for t in trials[:4])
    answered = [call for call in calls if call.raw_reply is not None]
    assert [call.proposer for call in answered][:4] == ["random"] * 3 + ["local"]
    assert {call.proposer for call in calls if call.error} == {"local"}
    assert [event.kind for event in events] == [LOST, FALLBACK, BACK]
    assert events[1].text == "random proposes as long as local does not answer"
    assert (events[0].trial_seq, events[1].trial_seq, events[2].trial_seq) == (1, 1, 4)


@pytest.mark.system
def test_an_endpoint_that_lets_requests_hang_costs_the_fallback_little_time(tmp_path: Path) -> None:
    root = make_quick_workspace(tmp_path)
    with ChatServer([hang()]) as server, night(root, server, trials=6, fallback="random", timeout_s=0.2) as services:
        services.patience = Patience(first_s=0.02, ceiling_s=30.0, patience_s=0.1)
        Runner(services).run()
        assert {t.proposer for t in searched(services)} == {"random"}
        gaps = [later.at - earlier.at for earlier, later in zip(server.requests, server.requests[1:], strict=False)]
    # Two tries before it counts as lost; from then on ten times as long as each of them took lies in between.
    assert len(gaps) >= 1 and all(gap > 2.0 for gap in gaps[2:])


@pytest.mark.system
def test_an_unplugged_server_is_not_sent_requests_until_it_listens_again(tmp_path: Path) -> None:
    root = make_quick_workspace(tmp_path)
    with ChatServer([GOOD[0]]) as server:
        port = server.port
        (root / "models.toml").write_text(server.models_toml("local"))
    planner = Planner("local", load_models(root)["local"])
    second = ChatServer([GOOD[0]], port)
    ready: list[bool] = []
    check = planner.check_ready

    def checked() -> None:
        try:
            check()
        except NoReplyError:
            ready.append(False)
            if len(ready) == 5:
                second.__enter__()
            raise
        ready.append(True)

    try:
        with standin_campaign(root, proposer=_Unchecked(planner), options=RunOptions(trials=1)) as services:
            services.patience = quick()
            planner.check_ready = checked  # type: ignore[method-assign]
            services.proposer = planner
            Runner(services).run()
            calls, events = calls_of(services), weather_events(services)
        assert len(second.requests) == 1
    finally:
        second.__exit__(None, None, None)
    assert ready == [False] * 5 + [True]
    assert [event.kind for event in events] == [LOST, BACK]
    assert all("Connection refused" in call.error for call in calls if call.error is not None)


class _Unchecked:
    """A proposer that is ready at the start, whatever its endpoint says."""

    repairs_crashes = False

    def __init__(self, inner: Proposer) -> None:
        self.name = inner.name
        self.propose = inner.propose

    def check_ready(self) -> None:
        pass


def _seconds(seconds: int) -> str:
    return str(seconds)


def _date(seconds: int) -> str:
    # Dates have whole seconds, and the server's own date is cut down to one.
    return format_datetime(datetime.now(UTC).replace(microsecond=0) + timedelta(seconds=seconds), usegmt=True)


@pytest.mark.system
@pytest.mark.parametrize("wish", first(1, [_date, _seconds]))
def test_a_server_is_left_alone_for_as_long_as_it_asks(wish: Callable[[int], str], tmp_path: Path) -> None:
    root = make_quick_workspace(tmp_path)
    script: list[Behaviour] = [lambda request: failing(429, retry_after=wish(1))(request), GOOD[0]]
    with ChatServer(script) as server, night(root, server, trials=1) as services:
        services.patience = quick(patience_s=60.0)
        Runner(services).run()
        first, second = server.requests
    assert 0.95 <= second.at - first.at < 3


@pytest.mark.system
def test_a_server_may_not_ask_for_the_whole_night(tmp_path: Path) -> None:
    root = make_quick_workspace(tmp_path)
    with (
        ChatServer([failing(429, retry_after="86400"), GOOD[0]]) as server,
        night(root, server, trials=1) as services,
    ):
        services.patience = quick(asked_ceiling_s=0.5)
        Runner(services).run()
        first, second = server.requests
        assert [event.kind for event in weather_events(services)] == [LOST, BACK]
    assert 0.5 <= second.at - first.at < 5


@pytest.mark.parametrize(
    "behaviour", first(2, [failing(401), failing(422), failing(404), failing(402)], rest=pytest.mark.system)
)
def test_what_does_not_pass_ends_the_campaign_after_a_few_tries(behaviour: Behaviour, tmp_path: Path) -> None:
    root = make_quick_workspace(tmp_path)
    with ChatServer([behaviour]) as server, night(root, server, trials=2) as services:
        with pytest.raises(NoReplyError) as caught:
            ask_once(services)
        tries = len(server.requests) / (4 if "HTTP 422" in str(caught.value) else 1)  # in every form of reply
        assert tries == 3
        assert caught.value.kind is NoReplyKind.LASTING and caught.value.fix
        assert [event.kind for event in weather_events(services)] == [LOST]
        assert services.campaign.state is CampaignState.WAITING


@pytest.mark.system
def test_what_does_not_pass_is_outlived_with_a_fallback(tmp_path: Path) -> None:
    root = make_quick_workspace(tmp_path)
    with ChatServer([failing(401)]) as server, night(root, server, trials=6, fallback="tpe") as services:
        campaign = Runner(services).run()
        assert campaign.stop_reason == "limit of 6 trials reached"
        assert {t.proposer for t in searched(services)} == {"tpe"}
        assert [event.kind for event in weather_events(services)] == [LOST, FALLBACK]
        assert campaign.state is not CampaignState.WAITING


@pytest.mark.system
def test_a_fallback_that_does_not_answer_either_is_waited_for_together_with_the_endpoint(tmp_path: Path) -> None:
    root = make_quick_workspace(tmp_path)
    with ChatServer([*[DOWN] * 12, GOOD[0]]) as server, ChatServer([failing(500)]) as other:
        with night(root, server, trials=1) as services:
            (root / "models.toml").write_text(server.models_toml("local") + other.models_toml("other"))
            services.fallback = make_proposer("other", workspace=root)
            Runner(services).run()
            assert [t.proposer for t in searched(services)] == ["local"]
            assert [event.kind for event in weather_events(services)] == [LOST, BACK]
        assert len(server.requests) == 13
        assert 3 < len(other.requests) <= 12


def test_a_used_up_recording_is_no_weather(tmp_path: Path) -> None:
    root = make_quick_workspace(tmp_path)
    (root / "replay.jsonl").write_text(json.dumps({"raw": "no JSON"}) + "\n")
    proposer = make_proposer("replay", workspace=root)
    with standin_campaign(root, proposer=proposer, options=RunOptions(trials=2)) as services:
        services.fallback = make_proposer("random", workspace=root)
        Runner(services).run()
        (trial,) = searched(services)
        assert trial.phase is not Phase.DECIDED  # it stays open, and goes on with a longer recording
        assert len(services.store.calls(trial.trial_id)) == 1
        assert weather_events(services) == []


def test_the_fallbacks_conversation_goes_on_with_the_fallback(tmp_path: Path) -> None:
    root = make_quick_workspace(tmp_path)
    with ChatServer([GOOD[0]]) as server, night(root, server, trials=1, fallback="random") as services:
        assert ask_once(services, last_answered="random") == "random"
        assert ask_once(services, last_answered="local") == "local"
        assert ask_once(services, last_answered="somebody else") == "local"
        assert len(server.requests) == 2
        assert weather_events(services) == []


def test_a_full_disk_while_asking_is_no_weather(tmp_path: Path) -> None:
    root = make_quick_workspace(tmp_path)
    with ChatServer([GOOD[0]]) as server, night(root, server, trials=1) as services:

        def full(proposer: Proposer) -> Reply:
            raise NightshiftError("no room")

        with pytest.raises(NightshiftError, match="no room"):
            ask_until_answered(services, 1, full, None)
