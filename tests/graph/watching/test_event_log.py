"""events.jsonl: what a loop says, line by line, at hardly any cost, and never at the price of an error."""

import json
import math
from pathlib import Path
from typing import Any

import pytest

from graph.campaign.options import RunOptions
from graph.night import run_night
from graph.watching.event_log import EventLog
from graph.watching.events import Observer, TrainingProgress
from memory.records import CampaignState, Origin
from rails.status import Status
from tests.support.nights import Endpoint, rows
from tests.support.rows import make_campaign, make_measurement, make_trial
from tests.support.workspaces import make_quick_workspace

TRIAL = make_trial(make_campaign(), 1, specialist="schedule", origin=Origin.CHOICE, proposer="hybrid:mine")


def said(path: Path) -> list[dict[str, Any]]:
    text = path.read_text(encoding="ascii")
    assert text.endswith("\n")
    return [json.loads(line) for line in text.splitlines()]


def progress(step: int, loss: float = 3.0) -> TrainingProgress:
    return TrainingProgress(
        trial_seq=1, measured_seq=0, seed_index=2, step=step, tokens=8, elapsed_s=0.1, loss=loss, fraction=0.5
    )


def test_every_word_of_the_loop_is_a_line(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    path.write_text("of an earlier loop\n")
    with EventLog(path) as log:
        log.preparing("reading", 1, 4)
        log.campaign_started(make_campaign(), None)
        log.state_changed(CampaignState.WAITING, "mine does not answer")
        log.trial_opened(TRIAL)
        log.planning(TRIAL, "critic", "as trial 3\nin other words \x1b[31m")
        log.proposed(TRIAL, 0)
        log.railed(TRIAL, "range", "lr is too large")
        log.training(progress(1, math.nan))
        log.scoring(TRIAL)
        log.measured(TRIAL, make_measurement(TRIAL, 0, 1.7))
        log.decided(TRIAL.model_copy(update={"status": Status.DISCARD, "metric": 1.7, "gain": -0.01}))
        log.measuring_result(TRIAL, 1000)
        log.keep_undone(TRIAL, TRIAL)
        log.note("x" * 5000)
        log.campaign_stopped(make_campaign().model_copy(update={"stop_reason": "limit"}))
    events = said(path)
    told = {name for name in vars(Observer) if not name.startswith("_")} - {"spent"}
    assert [event["event"] for event in events] == [
        "loop", "preparing", "campaign_started", "state", "trial_opened", "planning", "proposed", "railed", "progress",
        "scoring", "measured", "decided", "measuring_result", "keep_undone", "note", "campaign_stopped", "loop_ended",
    ]  # fmt: skip
    assert len(events) == len(told) + 2, "a new word of the loop has no line yet"
    by_name = {event["event"]: event for event in events}
    assert all(event["at"].endswith("+00:00") for event in events)
    assert (by_name["proposed"]["specialist"], by_name["proposed"]["origin"]) == ("schedule", "choice")
    assert by_name["planning"]["step"] == "critic" and "\x1b" not in by_name["planning"]["text"]
    assert by_name["progress"]["loss"] is None
    assert (by_name["decided"]["status"], by_name["decided"]["gain"]) == ("discard", -0.01)
    assert by_name["state"] | {"at": ""} == {
        "at": "", "event": "state", "state": "waiting", "reason": "mine does not answer",
    }  # fmt: skip
    assert len(by_name["note"]["text"]) <= 1000


def test_progress_is_told_once_a_second(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr("graph.watching.event_log.time.monotonic", lambda: now[0])
    with EventLog(tmp_path / "events.jsonl") as log:
        for step in range(100):
            now[0] = 100.0 + step / 10
            log.training(progress(step))
    steps = [event["step"] for event in said(tmp_path / "events.jsonl") if event["event"] == "progress"]
    assert steps == list(range(0, 100, 10))


def test_a_large_file_begins_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("graph.watching.event_log.MAX_BYTES", 2000)
    monkeypatch.setattr("graph.watching.event_log.EVERY_S", 0.0)
    path = tmp_path / "events.jsonl"
    with EventLog(path) as log:
        for count in range(20):
            log.note(f"{count} " + "x" * 300)
            while count and log._said.qsize():  # pyright: ignore[reportPrivateUsage]
                pass
    assert path.stat().st_size < 4000
    assert said(path)[0]["event"] == "loop" and said(path)[-1]["event"] == "loop_ended"


def test_what_cannot_be_written_is_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "gone"
    monkeypatch.setattr("graph.watching.event_log.EVERY_S", 0.0)
    with EventLog(folder / "events.jsonl") as log:
        log.note("into the void")
        while log._missed == 0:  # pyright: ignore[reportPrivateUsage]
            pass
        folder.mkdir()
        log.note("back")
    events = said(folder / "events.jsonl")
    assert [event["event"] for event in events] == ["loop", "missed", "note", "loop_ended"]
    assert events[1]["count"] == 1 and events[2]["text"] == "back"


def test_a_night_leaves_what_it_said(tmp_path: Path) -> None:
    root = make_quick_workspace(tmp_path)
    run_night(root, RunOptions(trials=1), Observer(), Endpoint(rows(4)))
    events = said(root / ".nightshift" / "events.jsonl")
    names = [event["event"] for event in events if event["event"] not in {"preparing", "progress", "note"}]
    assert names[:3] == ["loop", "campaign_started", "trial_opened"]
    assert names[-2:] == ["campaign_stopped", "loop_ended"]
    trial = [event["event"] for event in events if event.get("trial") == 1 and event["event"] != "progress"]
    assert trial == ["trial_opened", "proposed", "railed", "scoring", "measured", "decided"]
