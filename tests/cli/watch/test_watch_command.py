"""`nightshift watch` in a real terminal: through a loop's start, work, death and end, and back to the shell."""

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import pytest

from cli.watch.watcher import Watcher
from graph.workspace import Workspace
from memory.snapshot.manifest import MANIFEST
from tests.support.command import argv, nightshift
from tests.support.terminal import ALTERNATE, MAIN, in_terminal
from tests.support.variants import first
from tests.support.workspaces import STANDIN, make_quick_workspace


@contextmanager
def loop(root: Path, *options: object) -> Generator["subprocess.Popen[str]"]:
    command = argv("run", root, "--proposer", "random", *options)
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace with a campaign of two trials that is over."""
    root = make_quick_workspace(tmp_path_factory.mktemp("watch"))
    assert nightshift("run", root, "--proposer", "random", "--trials", 2).code == 0
    return root


def slow_source(tmp_path: Path) -> str:
    """The stand-in, with steps that a person can follow."""
    source = STANDIN.read_text(encoding="utf-8")
    slow = source.replace(
        "        model.learn(inputs, targets)\n    session",
        "        wait()\n        model.learn(inputs, targets)\n    session",
    )
    assert slow != source
    return slow.replace("def train(", "def wait() -> None:\n    import time\n\n    time.sleep(0.05)\n\n\ndef train(", 1)


@pytest.mark.system
def test_it_follows_a_loop_from_before_its_start_to_after_its_death(tmp_path: Path) -> None:
    root = make_quick_workspace(tmp_path, source=slow_source(tmp_path))
    with in_terminal("watch", root) as terminal:
        terminal.wait_for("no campaign has begun here yet")
        with loop(root, "--trials", 500, "--tag", "seen") as process:
            terminal.wait_for("trial 0: training, seed")
            curve = terminal.wait_for("100 % of the budget")
            assert any(0x2800 < ord(c) < 0x2900 for c in curve)
            terminal.wait_for("trial 1 ")
            frame = terminal.wait_for("baseline 2", "baseline 1")  # published after the next trial has begun
            assert "nightshift autoresearch/seen" in frame
            assert len(frame.splitlines()) == 24
            process.kill()
            process.wait()
        assert "nightshift run" in terminal.wait_for("no loop is at work here any more")
        terminal.resize(120, 40)
        terminal.wait_for("gain on parent")
        assert len(terminal.frame.splitlines()) == 40
        terminal.type("xq")
        assert terminal.left() == 0
    assert terminal.output.count(ALTERNATE) == terminal.output.count(MAIN) == 1
    assert terminal.output.index(ALTERNATE) < terminal.output.index(MAIN)
    assert "Traceback" not in terminal.output


@pytest.mark.system
@pytest.mark.parametrize("ending", first(1, [signal.SIGINT, signal.SIGTERM], rest=pytest.mark.system))
def test_signals_give_the_screen_back(ending: signal.Signals, finished: Path) -> None:
    with in_terminal("watch", finished) as terminal:
        terminal.wait_for("stopped: limit of 2 trials reached")
        terminal.process.send_signal(ending)
        assert terminal.left() == 0
    assert terminal.output.count(MAIN) == 1
    assert "Traceback" not in terminal.output


@pytest.mark.system  # tests/cli/terminal/test_plot.py and test_watching_view.py have pictures in ASCII
@pytest.mark.parametrize("env", [{"PYTHONIOENCODING": "ascii"}, {"TERM": "linux"}])
def test_without_braille_it_draws_in_ascii(env: dict[str, str], finished: Path) -> None:
    with in_terminal("watch", finished, env=env) as terminal:
        assert terminal.wait_for("stopped: limit of 2 trials reached").isascii()
        terminal.type("q")
        assert terminal.left() == 0


@pytest.mark.parametrize("env", first(1, [None, {"PYTHONIOENCODING": "ascii"}], rest=pytest.mark.system))
def test_without_a_terminal_it_prints_once(env: dict[str, str] | None, finished: Path) -> None:
    done = nightshift("watch", finished, env=env)
    assert (done.code, done.err) == (0, "")
    assert "stopped: limit of 2 trials reached" in done.out
    assert "\x1b" not in done.out
    assert done.out.isascii() == (env is not None)


def test_json_has_the_status_and_this_moment(finished: Path) -> None:
    document = nightshift("watch", finished, "--json").document
    assert document["state"] == "ended"
    assert document["live"] is None
    assert document["remaining"] == {"what": "0 trials", "seconds": 0.0}
    status = nightshift("status", finished, "--json").document
    assert {**status, "events": None} == {key: None if key == "events" else document[key] for key in status}


def test_a_folder_that_is_no_workspace(tmp_path: Path) -> None:
    done = nightshift("watch", tmp_path)
    assert done.code == 1
    assert "not a workspace" in done.err


def test_a_snapshot_that_is_torn_for_a_moment_is_told_and_outlived(finished: Path, tmp_path: Path) -> None:
    root = tmp_path / "copy"
    shutil.copytree(finished, root)
    manifest = root / ".nightshift" / "snapshot" / MANIFEST
    whole = manifest.read_text()
    watcher = Watcher(Workspace(root))
    assert watcher.look().record is not None
    broken = json.loads(whole)
    broken["tail"] = "tail-gone.json"
    manifest.write_text(json.dumps(broken))
    watcher._next_s = 0.0  # pyright: ignore[reportPrivateUsage]
    sight = watcher.look()
    assert sight.trouble is not None
    assert sight.record is not None, "what was seen before is still shown"
    manifest.write_text(whole + "\n")
    watcher._next_s = 0.0  # pyright: ignore[reportPrivateUsage]
    assert watcher.look().trouble is None


def test_what_a_killed_loop_left_is_not_taken_for_a_loop(finished: Path, tmp_path: Path) -> None:
    root = tmp_path / "copy"
    shutil.copytree(finished, root)
    left = {"pid": os.getpid(), "host": "elsewhere", "started_s": 1.0, "monotonic_s": 1.0, "phase": "training"}
    (root / ".nightshift" / "live.json").write_text(json.dumps(left))
    sight = Watcher(Workspace(root)).look()
    assert (sight.live, sight.at_work, sight.state) == (None, False, "ended")


def test_looking_again_reads_only_what_is_new(finished: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[object] = []
    from memory.reader import Reader

    real = Reader.open
    monkeypatch.setattr("cli.watch.watcher.Reader.open", lambda *a, **k: (opened.append(a), real(*a, **k))[1])
    watcher = Watcher(Workspace(finished))
    first = watcher.look().record
    count = len(opened)
    watcher._next_s = 0.0  # pyright: ignore[reportPrivateUsage]
    assert watcher.look().record is first
    assert len(opened) == count > 0


def test_watching_loads_no_training_and_no_graph() -> None:
    code = (
        "import sys, cli.watch.watcher, cli.watch.view, cli.watch.screen; "
        "print([m for m in ('torch', 'langgraph', 'langchain_core', 'guardrails', 'git') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
