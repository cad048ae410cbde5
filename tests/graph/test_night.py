"""Whole nights: what goes on, what waits, what ends, and what the record says of it afterwards."""

import json
import threading
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Self

import pytest

import graph.night
import memory.records.base
from agents.base import NoReplyError, NoReplyKind
from graph.campaign.options import RunOptions
from graph.limits.pause import ask_pause, end_pause, pause_asked
from graph.night import run_night
from graph.runner import Runner
from graph.watching.events import Observer
from graph.workspace import Workspace
from memory.records import CampaignState, EventKind, Phase
from rails.errors import DiskFullError, UserError
from rails.status import Status
from tests.support.nights import Endpoint, Killed, Listener, kill, kinds, record, rows
from tests.support.workspaces import make_quick_workspace, standin_campaign


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return make_quick_workspace(tmp_path)


def test_a_limit_ends_the_night_with_a_reason_and_is_finished_with(root: Path) -> None:
    campaign = run_night(root, RunOptions(proposer="random", trials=1), Observer())
    assert campaign.stop_reason == "limit of 1 trials reached"
    published, trials, events = record(root)
    assert published == campaign
    assert campaign.state is CampaignState.ENDED
    assert campaign.active_s >= sum(trial.total_s for trial in trials) > 0
    assert kinds(events) == [EventKind.STOPPED]
    again = run_night(root, RunOptions(proposer="random", trials=1), Observer())
    assert again.campaign_id != campaign.campaign_id


@pytest.mark.system
def test_a_recording_that_is_used_up_ends_the_night_with_its_result(tmp_path: Path) -> None:
    root = make_quick_workspace(tmp_path, final_seeds=1)
    (root / "replay.jsonl").write_text(json.dumps({"raw": rows(32)}) + "\n")
    campaign = run_night(root, RunOptions(proposer="replay", trials=3), Observer())
    assert "the recording has only 1 replies" in str(campaign.stop_reason)
    assert campaign.final is not None
    assert campaign.final["n"] == 1
    assert [t.status for t in record(root)[1]] == [Status.BASELINE, Status.KEEP, None]
    with (root / "replay.jsonl").open("a") as recording:
        recording.write(json.dumps({"raw": rows(16)}) + "\n" + json.dumps({"raw": rows(4)}) + "\n")
    on = run_night(root, RunOptions(), Observer())
    assert on.campaign_id == campaign.campaign_id
    assert on.stop_reason == "limit of 3 trials reached"
    assert len(record(root)[1]) == 4


@pytest.mark.system
def test_an_endpoint_that_refuses_lastingly_ends_the_night_and_leaves_the_trial_open(root: Path) -> None:
    refusal = NoReplyError("the key was refused (401)", kind=NoReplyKind.LASTING)

    class Refuses(Endpoint):
        def check_ready(self) -> None:
            pass

    proposer = Refuses(rows(16), refusal, refusal, refusal)
    options = RunOptions(trials=2)
    with standin_campaign(root, proposer=proposer, options=options) as services:
        services.patience = type(services.patience)(first_s=0.0, ceiling_s=0.01, patience_s=0.1)
        with pytest.raises(NoReplyError, match="401"):
            Runner(services).run()
    campaign, trials, events = record(root)
    assert campaign.state is CampaignState.ENDED
    assert "401" in str(campaign.stop_reason)
    assert trials[2].phase is Phase.OPENED
    assert events[-1].kind is EventKind.STOPPED
    proposer.script[:] = [rows(4)]
    campaign = run_night(root, RunOptions(), Observer(), proposer)
    assert campaign.stop_reason == "limit of 2 trials reached"
    assert [t.edit_key for t in record(root)[1]] == [None, "rows=16", "rows=4"]


@pytest.mark.system
def test_a_full_disk_pauses_the_night_and_it_goes_on_as_if_nothing_had_happened(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = make_quick_workspace(tmp_path / "other")
    options = RunOptions(proposer="random", trials=2, tag="night")
    run_night(other, options, Observer())
    looks = iter([False, False, True])
    monkeypatch.setattr(graph.night, "has_room", lambda workspace: next(looks))
    monkeypatch.setattr(graph.night, "LOOK_EVERY_S", 0.01)
    ballast: list[bool] = []

    def look(root: Path) -> None:
        ballast.append((root / ".nightshift" / "ballast").exists())
        published = record(root)[0]
        assert (published.state, published.state_reason) == (CampaignState.PAUSED, "the disk is full")

    def fill() -> None:
        raise DiskFullError("the disk is full")

    listener = Listener("measured 1", fill)
    listener.state_changed = lambda state, reason: look(root) if state is CampaignState.PAUSED else None
    campaign = run_night(root, options, listener)
    assert campaign.stop_reason == "limit of 2 trials reached"
    assert ballast == [False]
    assert (root / ".nightshift" / "ballast").exists()
    _, trials, events = record(root)
    reference = record(other)[1]
    assert [(t.edit_key, t.status, t.metric) for t in trials] == [(t.edit_key, t.status, t.metric) for t in reference]
    assert kinds(events) == [EventKind.DISK_FULL, EventKind.DISK_FREE, EventKind.RESUMED, EventKind.STOPPED]


@pytest.mark.system
def test_a_request_to_stop_ends_the_wait_for_a_full_disk(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(graph.night, "has_room", lambda workspace: False)
    made: list[graph.night._Night] = []  # pyright: ignore[reportPrivateUsage]

    class Remembered(graph.night._Night):  # pyright: ignore[reportPrivateUsage]
        def __init__(self, *arguments: Any) -> None:
            super().__init__(*arguments)
            made.append(self)

    monkeypatch.setattr(graph.night, "_Night", Remembered)

    def fill() -> None:
        raise DiskFullError("the disk is full")

    listener = Listener("measured 1", fill)
    listener.state_changed = lambda state, reason: made[0].stop.ask()
    campaign = run_night(root, RunOptions(proposer="random", trials=2), listener)
    assert campaign.stop_reason == "interrupted by a signal"
    assert run_night(root, RunOptions(), Observer()).stop_reason == "limit of 2 trials reached"


def test_a_disk_that_is_full_before_anything_began_is_told_at_once(root: Path) -> None:
    class Full(Listener):
        def note(self, text: str) -> None:
            if text.startswith("preparing data"):
                raise DiskFullError("the disk is full")

    with pytest.raises(DiskFullError):
        run_night(root, RunOptions(proposer="random", trials=1), Full())


@pytest.mark.system
def test_a_pause_waits_between_trials_and_counts_into_no_limit(root: Path) -> None:
    workspace = Workspace(root)
    listener = Listener("decided 1", lambda: ask_pause(workspace) and None)

    def resume_soon() -> None:
        threading.Timer(1.2, end_pause, [workspace]).start()

    heard = listener.state_changed

    def changed(state: CampaignState, reason: str | None) -> None:
        heard(state, reason)
        if state is CampaignState.PAUSED:
            assert record(root)[0].state is CampaignState.PAUSED
            resume_soon()

    listener.state_changed = changed
    started = time.monotonic()
    campaign = run_night(root, RunOptions(proposer="random", trials=2), listener)
    whole_s = time.monotonic() - started
    assert campaign.stop_reason == "limit of 2 trials reached"
    assert campaign.active_s < whole_s - 1.0
    assert [state for state, _ in listener.states] == [CampaignState.PAUSED, CampaignState.RUNNING]
    assert "asked for by" in str(listener.states[0][1])
    assert kinds(record(root)[2]) == [EventKind.PAUSED, EventKind.UNPAUSED, EventKind.STOPPED]


@pytest.mark.system
def test_a_pause_waits_while_the_result_is_measured(tmp_path: Path) -> None:
    root = make_quick_workspace(tmp_path, final_seeds=1)
    (root / "replay.jsonl").write_text(json.dumps({"raw": rows(32)}) + "\n")
    workspace, states = Workspace(root), list[CampaignState]()

    class Asking(Observer):
        def measuring_result(self, target: object, seed_index: int) -> None:
            if not states:
                ask_pause(workspace)

        def state_changed(self, state: CampaignState, reason: str | None) -> None:
            states.append(state)
            end_pause(workspace)

    campaign = run_night(root, RunOptions(proposer="replay", trials=1), Asking())
    assert states == [CampaignState.PAUSED, CampaignState.RUNNING]
    assert campaign.final is not None
    assert campaign.final["n"] == 1


@pytest.mark.system
def test_a_pause_survives_a_kill_and_a_request_to_stop_ends_the_wait(root: Path) -> None:
    workspace = Workspace(root)
    with pytest.raises(Killed):
        run_night(root, RunOptions(proposer="random", trials=2), Listener("opened 1", kill))
    ask_pause(workspace)
    with standin_campaign(root, options=RunOptions(), observer=Listener("paused", lambda: None)) as services:
        listener = services.observer
        assert isinstance(listener, Listener)
        listener.then = services.stop.ask
        campaign = Runner(services).run()
    assert campaign.stop_reason == "interrupted by a signal"
    assert pause_asked(workspace) is not None, "nobody has resumed it"
    assert record(root)[1][1].phase is Phase.OPENED, "the trial in hand was not touched"
    end_pause(workspace)
    assert run_night(root, RunOptions(), Observer()).stop_reason == "limit of 2 trials reached"


def test_a_pause_file_that_says_nothing_is_a_pause_all_the_same(root: Path) -> None:
    workspace = Workspace(root)
    workspace.state_dir.mkdir(exist_ok=True)
    assert pause_asked(workspace) is None
    assert not end_pause(workspace)
    (workspace.state_dir / "pause").write_text("")
    assert str(pause_asked(workspace)) == "asked for by somebody at an unknown time"
    assert end_pause(workspace)
    first = ask_pause(workspace)
    assert ask_pause(workspace) == first


class Jumping(datetime):
    """A clock that jumps hours to and fro: each look finds it somewhere else."""

    looks = 0

    @classmethod
    def now(cls, tz: Any = None) -> Self:
        cls.looks += 1
        hours = (0, 9, -7, 26, -48)[cls.looks % 5]
        real = datetime.now(UTC) + timedelta(hours=hours)
        return cls.fromtimestamp(real.timestamp(), tz)


@pytest.mark.system
def test_a_clock_that_jumps_changes_no_trial_and_no_limit(
    tmp_path: Path, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = RunOptions(proposer="random", trials=3, hours=1.0, tag="night")
    reference = make_quick_workspace(tmp_path / "reference")
    run_night(reference, options, Observer())
    monkeypatch.setattr(memory.records.base, "datetime", Jumping)
    campaign = run_night(root, options, Observer())
    assert campaign.stop_reason == "limit of 3 trials reached"
    assert 0 < campaign.active_s < 3600
    one, two = record(reference)[1], record(root)[1]
    assert [(t.seq, t.edit_key, t.status, t.metric, t.gain) for t in one] == [
        (t.seq, t.edit_key, t.status, t.metric, t.gain) for t in two
    ]
    assert max(t.total_s for t in two) < 600
    latest = [run_night(root, RunOptions(proposer="random", trials=1), Observer()).campaign_id for _ in range(2)]
    assert record(root)[0].campaign_id == latest[-1]
    assert len({*latest, campaign.campaign_id}) == 3


def test_the_fallback_is_the_tasks_unless_a_person_names_one(root: Path) -> None:
    with standin_campaign(root, options=RunOptions(proposer="random", fallback="tpe")) as services:
        assert services.fallback is not None
        assert services.fallback.name == "tpe"
        assert services.campaign.fallback == "tpe"
    with standin_campaign(root, options=RunOptions()) as services:
        assert services.fallback is not None
    with standin_campaign(root, options=RunOptions(fallback="")) as services:
        assert services.fallback is None
        assert services.campaign.fallback is None
    with pytest.raises(UserError, match="tpee"), standin_campaign(root, options=RunOptions(fallback="tpee")):
        pass
    with pytest.raises(UserError, match="the proposer itself"):
        run_night(root, RunOptions(fallback="random"), Observer())


def test_a_limit_of_dollars_needs_prices(root: Path) -> None:
    (root / "models.toml").write_text('[models.local]\nbase_url = "http://127.0.0.1:9/v1"\nmodel = "none"\n')
    with pytest.raises(UserError, match="prices"):
        run_night(root, RunOptions(proposer="local", usd=1.0), Observer())
    with pytest.raises(UserError, match="prices"):
        run_night(root, RunOptions(proposer="random", fallback="local", usd=1.0), Observer())


@pytest.mark.system
def test_energy_is_stored_with_trials_and_campaign(root: Path) -> None:
    class Ten:
        joules = 0.0

        def read_joules(self) -> float | None:
            self.joules += 10.0
            return self.joules

    with standin_campaign(root, options=RunOptions(proposer="random", trials=50, joules=0.0)) as services:
        services.meter = Ten()
        services.limits = services.limits.model_copy(update={"joules": 600.0})
        campaign = Runner(services).run()
        trials = services.store.trials(campaign.campaign_id)
    assert str(campaign.stop_reason).startswith("limit of 600 joules reached")
    assert campaign.joules is not None
    assert campaign.joules >= 600.0
    assert all(t.joules is not None and t.joules > 0 for t in trials)
    assert 1 < len(trials) < 20
