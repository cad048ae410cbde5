"""Nobody is kept waiting by bad weather: a request to stop and the limit of hours hold while an endpoint is away."""

import threading
import time
from pathlib import Path

import pytest

from graph.limits.patience import Patience
from graph.limits.pause import ask_pause, end_pause
from graph.runner import Runner
from memory.records import CampaignState, Trial
from rails.errors import TrialError
from rails.status import Status
from tests.support.bad_weather import DOWN, GOOD, ask_once, night, searched
from tests.support.chat_server import Answer, ChatServer, Received, hang
from tests.support.workspaces import make_quick_workspace


def test_stopping_ends_a_wait_at_once(tmp_path: Path) -> None:
    root = make_quick_workspace(tmp_path)
    with ChatServer([DOWN]) as server, night(root, server, trials=1) as services:
        services.patience = Patience(first_s=30.0, ceiling_s=300.0)
        threading.Timer(0.3, services.stop.ask).start()
        started = time.monotonic()
        with pytest.raises(TrialError) as caught:
            ask_once(services)
        assert time.monotonic() - started < 5
        assert caught.value.status is Status.INTERRUPTED
        assert len(server.requests) == 1


@pytest.mark.system
def test_a_pause_is_kept_while_waiting_for_an_endpoint(tmp_path: Path) -> None:
    root = make_quick_workspace(tmp_path)
    with ChatServer([DOWN]) as server, night(root, server, trials=1) as services:
        services.patience = Patience(first_s=30.0, ceiling_s=300.0)
        states: list[CampaignState] = []

        def changed(state: CampaignState, reason: str | None) -> None:
            states.append(state)
            if state is CampaignState.PAUSED:
                threading.Timer(0.2, end_pause, [services.workspace]).start()
            if states[-2:] == [CampaignState.PAUSED, CampaignState.RUNNING]:
                services.stop.ask()

        services.observer.state_changed = changed  # type: ignore[method-assign]
        threading.Timer(0.3, ask_pause, [services.workspace]).start()
        with pytest.raises(TrialError):
            ask_once(services)
        assert states == [CampaignState.PAUSED, CampaignState.RUNNING]
        assert len(server.requests) == 1


@pytest.mark.system
def test_stopping_ends_a_hanging_request_within_the_grace_time(tmp_path: Path) -> None:
    root = make_quick_workspace(tmp_path)
    with ChatServer([hang()]) as server, night(root, server, trials=3, timeout_s=120.0) as services:
        asked: list[float] = []

        def stop() -> None:
            asked.append(time.monotonic())
            services.stop.ask()

        def opened(trial: Trial) -> None:
            if trial.seq == 1:
                threading.Timer(0.3, stop).start()

        services.observer.trial_opened = opened  # type: ignore[method-assign]
        campaign = Runner(services).run()
        assert time.monotonic() - asked[0] < 5
        (trial,) = searched(services)
        (call,) = services.store.calls(trial.trial_id)
    assert campaign.stop_reason == "interrupted by a signal"
    assert trial.status is Status.INTERRUPTED
    assert call.error is not None and "asked to stop" in call.error


def test_an_answer_that_comes_while_the_loop_stops_is_stored(tmp_path: Path) -> None:
    root = make_quick_workspace(tmp_path)
    with ChatServer([DOWN]) as server, night(root, server, trials=1) as services:

        def slow(request: Received) -> Answer:
            services.stop.ask()
            time.sleep(0.3)
            return GOOD[0](request)

        server.script([slow])
        Runner(services).run()
        (trial,) = searched(services)
        (call,) = services.store.calls(trial.trial_id)
    assert trial.status is Status.INTERRUPTED
    assert call.raw_reply is not None and (call.prompt_tokens, call.message is None) == (100, False)


def test_the_limit_of_hours_holds_while_waiting(tmp_path: Path) -> None:
    root = make_quick_workspace(tmp_path)
    with ChatServer([DOWN]) as server, night(root, server, trials=1) as services:
        services.deadline = time.monotonic() + 0.5
        with pytest.raises(TrialError, match="the limit of hours was reached while waiting for local") as caught:
            ask_once(services)
        assert caught.value.status is Status.INTERRUPTED
        assert services.deadline <= time.monotonic() < services.deadline + 5
        assert not services.stop.requested


def test_a_deadline_does_not_touch_a_proposer_that_answers(tmp_path: Path) -> None:
    root = make_quick_workspace(tmp_path)
    with ChatServer([GOOD[0]]) as server, night(root, server, trials=1) as services:
        services.deadline = time.monotonic() - 1
        assert ask_once(services) == "local"
