"""A stopped or killed campaign goes on where it was, and ends as if nothing had happened."""

import json
import os
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from graph.options import RunOptions
from graph.runner import Runner
from memory.reader import Reader
from memory.records import Trial
from tests.support.command import argv, nightshift
from tests.support.workspaces import make_standin_workspace, standin_campaign

TRIALS = 5
OPTIONS = ("--proposer", "random", "--trials", TRIALS, "--tag", "night")


def digest(root: Path) -> list[tuple[Any, ...]]:
    """What must not depend on kills: trials, statuses, metrics, decisions."""
    with Reader.open(root / ".nightshift" / "snapshot") as reader:
        campaign = reader.latest_campaign()
        assert campaign is not None
        trials = reader.trials(campaign.campaign_id)
        return [(t.seq, t.edit_key, t.status, t.metric, t.gain, t.n_measurements) for t in trials]


def wait_for_line(process: subprocess.Popen[str], text: str, seconds: float = 60.0) -> None:
    """Read the command's progress until a line has `text`."""
    assert process.stderr is not None
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        line = process.stderr.readline()
        assert line, f"the command ended before it said {text!r}"
        if text in line:
            return
    raise AssertionError(f"no line with {text!r} within {seconds:g} s")


def start(root: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        argv("run", root, *OPTIONS), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> list[tuple[Any, ...]]:
    root = make_standin_workspace(tmp_path_factory.mktemp("reference"))
    assert nightshift("run", root, *OPTIONS).code == 0
    rows = digest(root)
    assert len(rows) == TRIALS + 1
    assert all(row[3] is not None for row in rows)
    return rows


@pytest.mark.parametrize("line", ["trial 0: seed 1", "trial 1: ", "trial 2: seed 0", "trial 3: "])
def test_a_killed_campaign_ends_like_one_that_was_not(
    tmp_path: Path, reference: list[tuple[Any, ...]], line: str
) -> None:
    root = make_standin_workspace(tmp_path)
    process = start(root)
    wait_for_line(process, line)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    for pipe in (process.stdout, process.stderr):
        assert pipe is not None
        pipe.close()
    done = nightshift("run", root, *OPTIONS)
    assert done.code == 0, done.err
    assert "going on at trial" in done.err
    assert digest(root) == reference
    assert list((root / ".nightshift" / "scratch").iterdir()) == []
    fsck = subprocess.run(["git", "-C", str(root), "fsck", "--strict"], capture_output=True, text=True)
    assert fsck.returncode == 0


def test_an_interrupted_baseline_is_measured_when_the_campaign_goes_on(
    tmp_path: Path, reference: list[tuple[Any, ...]]
) -> None:
    root = make_standin_workspace(tmp_path)
    process = start(root)
    wait_for_line(process, "trial 0: seed 0")
    os.kill(process.pid, signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    assert nightshift("status", root, "--json").document["baseline"] is None
    assert nightshift("run", root, *OPTIONS).code == 0
    assert digest(root) == reference


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_trial_in_hand_and_run_goes_on(tmp_path: Path, number: signal.Signals) -> None:
    root = make_standin_workspace(tmp_path)
    process = start(root)
    wait_for_line(process, "trial 0: baseline")
    os.kill(process.pid, number)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    assert "Traceback" not in err
    status = nightshift("status", root, "--json").document
    assert status["stop_reason"] == "interrupted by a signal"
    done = nightshift("run", root, *OPTIONS, "--json")
    assert done.code == 0, done.err
    assert done.document["stop_reason"] == f"limit of {TRIALS} trials reached"
    assert done.document["trials"] - done.document["statuses"].get("interrupted", 0) == TRIALS


def test_a_paid_reply_is_not_asked_for_again(tmp_path: Path) -> None:
    """Stop right after the reply is stored; going on uses it."""
    asked: list[int] = []

    class Counting:
        name = "counting"
        repairs_crashes = False

        def check_ready(self) -> None:
            pass

        def propose(self, context: Any) -> Any:
            from agents.base import Reply, local_call

            asked.append(context.trial_seq)
            raw = json.dumps({"knob": "rows", "new_value": 16, "reason": "more"})
            return Reply(raw=raw, calls=(local_call(raw, 0.0),))

    root = make_standin_workspace(tmp_path)
    options = RunOptions(trials=1, tag="paid")
    with standin_campaign(root, proposer=Counting(), options=options) as services:

        def pull_the_plug(trial: Trial, attempt: int) -> None:
            raise KeyboardInterrupt

        services.observer.proposed = pull_the_plug  # type: ignore[method-assign]
        with pytest.raises(KeyboardInterrupt):
            Runner(services).run()
    with standin_campaign(root, proposer=Counting(), options=options) as services:
        campaign = Runner(services).run()
        trials = services.store.trials(campaign.campaign_id)
    assert asked == [1]
    assert [t.edit_key for t in trials] == [None, "rows=16"]
