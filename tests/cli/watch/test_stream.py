"""`nightshift watch --events`: the lines of a loop from its first to its last, and the end of one that was killed."""

import json
import signal
import subprocess
from pathlib import Path

import pytest

from cli.watch.stream import follow
from graph.watching.event_log import EventLog
from graph.workspace import Workspace
from memory.lock import workspace_lock
from tests.support.command import argv
from tests.support.workspaces import make_quick_workspace


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    monkeypatch.setattr("cli.watch.stream.EVERY_S", 0.01)
    monkeypatch.setattr("graph.watching.event_log.EVERY_S", 0.01)
    (tmp_path / ".nightshift").mkdir()
    return Workspace(tmp_path)


def test_it_follows_a_loop_at_work_to_its_end(workspace: Workspace) -> None:
    with workspace_lock(workspace.lock_path), EventLog(workspace.events_path) as log:
        lines = follow(workspace)
        assert json.loads(next(lines))["event"] == "loop"
        log.note("first")
        assert json.loads(next(lines))["text"] == "first"
        log.note("last")
    assert [json.loads(line)["event"] for line in lines] == ["note", "loop_ended"]


def test_it_goes_over_to_a_file_that_was_begun_anew(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("graph.watching.event_log.MAX_BYTES", 300)
    with workspace_lock(workspace.lock_path), EventLog(workspace.events_path) as log:
        lines = follow(workspace)
        next(lines)
        seen: list[str] = []
        for count in range(8):
            log.note(f"note {count} " + "x" * 200)
            event = json.loads(next(lines))
            seen += [event["text"].split(" x")[0]] if event["event"] == "note" else []
    seen += [event["text"].split(" x")[0] for line in lines if (event := json.loads(line))["event"] == "note"]
    assert seen == [f"note {count}" for count in range(8)]


def test_a_killed_loop_ends_with_a_line_of_our_own_and_a_torn_line_is_none(workspace: Workspace) -> None:
    words = ['{"event": "loop", "at": "then"}', "not json", "[1]", '{"event": "note", "at": "then"}', '{"event": "no']
    workspace.events_path.write_text("\n".join(words), encoding="utf-8")
    assert [json.loads(line)["event"] for line in follow(workspace)] == ["loop", "note", "loop_killed"]


@pytest.mark.slow
def test_the_command_prints_a_night_and_ends_with_it(tmp_path: Path) -> None:
    root = make_quick_workspace(tmp_path)
    with subprocess.Popen(argv("watch", root, "--events"), stdout=subprocess.PIPE, text=True) as watching:
        done = subprocess.run(
            argv("run", root, "--proposer", "random", "--trials", 2), capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        assert watching.stdout is not None
        events = [json.loads(line) for line in watching.stdout]
        assert watching.wait() == 0
    assert events[0]["event"] == "loop" and events[-1]["event"] == "loop_ended"
    assert [event["trial"] for event in events if event["event"] == "decided"] == [0, 1, 2]


@pytest.mark.system
def test_ctrl_c_is_quiet(tmp_path: Path) -> None:
    root = make_quick_workspace(tmp_path)
    log = root / ".nightshift" / "events.jsonl"
    log.parent.mkdir(exist_ok=True)
    with workspace_lock(root / ".nightshift" / "lock"), EventLog(log):
        command = argv("watch", root, "--events")
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as watching:
            assert watching.stdout is not None and watching.stderr is not None
            assert json.loads(watching.stdout.readline())["event"] == "loop"
            watching.send_signal(signal.SIGINT)
            assert watching.wait() == 0
            assert watching.stderr.read() == ""
