"""live.json: what a loop tells whoever watches, at hardly any cost, and never at the price of an error."""

import itertools
import json
import math
import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from graph.campaign.options import RunOptions
from graph.night import run_night
from graph.watching.events import Observer, Observers, TrainingProgress
from graph.watching.live import EVERY_S, MAX_POINTS, Curve, LiveFile, LiveState, read_live
from memory.lock import holder as holder_of
from memory.lock import workspace_lock
from memory.records import CampaignState
from tests.support.nights import Endpoint, Listener, rows
from tests.support.rows import make_campaign, make_measurement, make_trial
from tests.support.workspaces import make_quick_workspace


def report(step: int, loss: float = 3.0, *, trial: int = 1, seed: int = 0) -> TrainingProgress:
    return TrainingProgress(
        trial_seq=trial,
        measured_seq=trial,
        seed_index=seed,
        step=step,
        tokens=64 * step,
        elapsed_s=0.1 * step,
        loss=loss,
        fraction=min(1.0, step / 100),
    )


def wait_for(path: Path, holds: Callable[[LiveState], bool]) -> LiveState:
    """What the file says as soon as it says so."""
    for _ in range(400):
        state = read_live(path)
        if state is not None and holds(state):
            return state
        time.sleep(0.02)
    raise AssertionError(f"it still says {read_live(path)}")


def test_it_follows_a_trial_from_node_to_node(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("graph.watching.live.EVERY_S", 0.05)
    path = tmp_path / "live.json"
    task = {"budget": {"kind": "steps", "amount": 100}}
    campaign = make_campaign().model_copy(update={"task": task, "active_s": 60.0})
    trial = make_trial(campaign, 1, edit_key="lr=0.1")
    with LiveFile(path) as live:
        live.preparing("reading", 1, 4)
        wait_for(path, lambda s: s.preparing == "reading 25 %")
        live.campaign_started(campaign, None)
        assert wait_for(path, lambda s: s.tag == "night").preparing is None
        live.trial_opened(trial)
        wait_for(path, lambda s: (s.phase, s.trial, s.attempt, s.training) == ("proposing", 1, 0, None))
        live.planning(trial, "action", "tried_values\nlr")
        wait_for(path, lambda s: (s.phase, s.planning) == ("proposing", "action: tried_values lr"))
        live.spent(None, 12.5)
        wait_for(path, lambda s: (s.usd, s.joules) == (None, 12.5))
        live.spent(0.03, 13.0)
        assert wait_for(path, lambda s: s.usd == 0.03).joules == 13.0
        live.proposed(trial, 0)
        live.railed(trial, "range", "lr is too large")
        wait_for(path, lambda s: s.phase == "proposing" and s.note == "trial 1: range: lr is too large")
        assert wait_for(path, lambda s: s.phase == "proposing").planning is None
        live.proposed(trial, 1)
        live.railed(trial, None, None)
        wait_for(path, lambda s: (s.phase, s.edit, s.attempt) == ("launching", "lr=0.1", 1))
        for step in range(1, 51):
            live.training(report(step, 3.0 - step / 100))
        state = wait_for(path, lambda s: s.training is not None and s.training.step == 50)
        assert state.training is not None
        assert (state.phase, state.training.fraction, state.training.loss) == ("training", 0.5, 2.5)
        assert state.training.curve == [(step / 100, 3.0 - step / 100) for step in range(1, 51)]
        live.scoring(trial)
        assert wait_for(path, lambda s: s.phase == "scoring").training is not None, "the curve stays in sight"
        live.measured(trial, make_measurement(trial, 0, 1.7))
        wait_for(path, lambda s: s.phase == "deciding")
        live.decided(trial)
        state = wait_for(path, lambda s: s.phase == "between")
        assert (state.campaign_id, state.tag, state.limits) == (campaign.campaign_id, "night", {"trials": 12})
        assert state.budget == {"kind": "steps", "amount": 100}
        assert 60.0 < state.active_s < 160.0
        live.measuring_result(trial, 1000)
        assert wait_for(path, lambda s: s.result).phase == "launching"
    assert not path.exists()


def test_it_names_the_process_that_holds_the_lock(tmp_path: Path) -> None:
    path = tmp_path / "live.json"
    with workspace_lock(tmp_path / "lock"), LiveFile(path):
        state, holder = wait_for(path, lambda s: True), holder_of(tmp_path / "lock")
        assert holder is not None
        assert (state.pid, state.host, state.started_s) == (holder.pid, holder.host, holder.started_s)
        assert state.pid == os.getpid()
        assert state.monotonic_s <= time.monotonic()


def test_pauses_stop_the_clock_and_waits_do_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, now = tmp_path / "live.json", [1000.0]
    monkeypatch.setattr("graph.watching.live.time.monotonic", lambda: now[0])
    with LiveFile(path) as live:
        live.campaign_started(make_campaign(), None)
        for state, seconds in (("paused", 100.0), ("waiting", 7.0), ("running", 3.0)):
            live.state_changed(CampaignState(state), "why")
            now[0] += seconds
        live.note("over")
        assert wait_for(path, lambda s: s.note == "over").active_s == pytest.approx(10.0)


def test_another_training_begins_another_curve(tmp_path: Path) -> None:
    path = tmp_path / "live.json"
    with LiveFile(path) as live:
        for seed in (0, 1):
            for step in (1, 2, 3):
                live.training(report(step, seed=seed))
        state = wait_for(path, lambda s: s.training is not None and s.training.seed_index == 1)
        live.training(report(1, seed=1))
        again = wait_for(path, lambda s: s.training is not None and s.training.step == 1)
    assert state.training is not None
    assert len(state.training.curve) == 3
    assert again.training is not None
    assert len(again.training.curve) == 1, "the same measurement, started again"


@given(st.integers(0, 5000))
def test_a_curve_keeps_its_ends_and_is_thinned_evenly(count: int) -> None:
    curve = Curve()
    for step in range(count):
        curve.add(float(step), -float(step))
    points = [at for at, _ in curve.points]
    assert len(points) <= MAX_POINTS
    assert len(points) > min(count, MAX_POINTS // 2) - 1
    assert points[:1] == [0.0][:count]
    assert points[-1:] == [float(count - 1)][:count]
    gaps = {b - a for a, b in itertools.pairwise(points[:-1])}
    assert len(gaps) <= 1


def test_a_loss_that_is_no_number_is_null(tmp_path: Path) -> None:
    path = tmp_path / "live.json"
    with LiveFile(path) as live:
        live.training(report(1, math.nan))
        state = wait_for(path, lambda s: s.training is not None)
        assert "NaN" not in path.read_text()
    assert state.training is not None
    assert state.training.curve == [(0.01, None)]


@pytest.mark.system
def test_nothing_is_written_while_nothing_changes(tmp_path: Path) -> None:
    path = tmp_path / "live.json"
    with LiveFile(path) as live:
        live.note("still")
        wait_for(path, lambda s: s.note == "still")
        time.sleep(EVERY_S)  # the thread has gone back to waiting for news
        inode = path.stat().st_ino
        time.sleep(2 * EVERY_S)
        assert path.stat().st_ino == inode
        live.note("news")
        wait_for(path, lambda s: s.note == "news")
        assert path.stat().st_ino != inode


@pytest.mark.system
def test_many_reports_are_few_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[str] = []
    replace = Path.replace
    monkeypatch.setattr(Path, "replace", lambda self, to: (written.append(self.name), replace(self, to))[1])
    with LiveFile(tmp_path / "live.json") as live:
        started = time.monotonic()
        step = 0
        while time.monotonic() - started < 2.5 * EVERY_S:
            step += 1
            live.training(report(step))
    assert 1 <= len(written) <= 4
    assert step > 100


def test_a_folder_that_cannot_be_written_is_no_error(tmp_path: Path) -> None:
    folder = tmp_path / "gone"
    folder.mkdir()
    with LiveFile(folder / "live.json") as live:
        wait_for(folder / "live.json", lambda s: True)
        shutil.rmtree(folder)
        live.note("into the void")
        time.sleep(2 * EVERY_S)
        folder.mkdir()
        live.note("back")
        wait_for(folder / "live.json", lambda s: s.note == "back")


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '{"pid": 1}', '{"pid": "x"}', "\udcff", "9" * 100])
def test_a_file_that_says_nothing_sensible_is_none(tmp_path: Path, text: str) -> None:
    path = tmp_path / "live.json"
    assert read_live(path) is None
    path.write_bytes(text.encode("utf-8", "surrogateescape"))
    assert read_live(path) is None


def test_a_file_of_a_newer_loop_is_read(tmp_path: Path) -> None:
    path = tmp_path / "live.json"
    path.write_text(json.dumps({"pid": 1, "host": "h", "started_s": 1.0, "monotonic_s": 2.0, "new": [1]}))
    state = read_live(path)
    assert state is not None
    assert state.phase == "starting"


def test_observers_pass_everything_on() -> None:
    heard: list[tuple[int, str]] = []
    methods = [name for name in vars(Observer) if not name.startswith("_")]

    def listener(number: int) -> Observer:
        made = Observer()
        for name in methods:
            setattr(made, name, lambda *_, name=name: heard.append((number, name)))
        return made

    both = Observers(listener(1), listener(2))
    trial = make_trial(make_campaign(), 1)
    both.preparing("reading", 1, 2)
    both.campaign_started(make_campaign(), None)
    both.state_changed(CampaignState.PAUSED, None)
    both.trial_opened(trial)
    both.planning(trial, "tool", "tried_values")
    both.proposed(trial, 0)
    both.railed(trial, None, None)
    both.training(report(1))
    both.scoring(trial)
    both.measured(trial, make_measurement(trial, 0, 1.0))
    both.decided(trial)
    both.measuring_result(trial, 0)
    both.keep_undone(trial, trial)
    both.spent(0.1, None)
    both.note("x")
    both.campaign_stopped(make_campaign())
    assert heard == [(number, name) for name in methods for number in (1, 2)]


def test_a_night_keeps_the_file_while_it_runs_and_no_longer(tmp_path: Path) -> None:
    root = make_quick_workspace(tmp_path)
    path = root / ".nightshift" / "live.json"
    seen: list[LiveState] = []

    def look() -> None:
        # What is shown lags behind what has happened by as long as the file rests between two writings.
        seen.append(wait_for(path, lambda s: s.training is not None and s.trial == 1 and s.training.step == 20))

    campaign = run_night(root, RunOptions(trials=1), Listener("measured 1", look), Endpoint(rows(4)))
    assert campaign.stop_reason is not None
    assert seen[0].campaign_id == campaign.campaign_id
    assert seen[0].training is not None
    assert seen[0].training.step == 20
    assert not path.exists()
