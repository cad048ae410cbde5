"""A stopped or killed campaign goes on where it was, and ends as if nothing had happened."""

import json
import os
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

from agents.base import NoReplyError, NoReplyKind, ProposalContext, Reply
from agents.scripted import ScriptedProposer
from graph.campaign.options import RunOptions
from graph.limits.pause import ask_pause
from graph.night import run_night
from graph.runner import Runner
from graph.watching.events import Observer, TrainingProgress
from memory.reader import Reader
from memory.records import Trial
from rails.status import Status
from tests.support.command import argv, nightshift
from tests.support.variants import first
from tests.support.workspaces import make_quick_workspace, make_standin_workspace, standin_campaign

TRIALS = 3
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


def start(root: Path, *more: object) -> subprocess.Popen[str]:
    command = argv("run", root, *OPTIONS, *more)
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True)


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> list[tuple[Any, ...]]:
    root = make_standin_workspace(tmp_path_factory.mktemp("reference"))
    assert nightshift("run", root, *OPTIONS).code == 0
    rows = digest(root)
    assert len(rows) == TRIALS + 1
    assert all(row[3] is not None for row in rows)
    return rows


@pytest.mark.slow  # the list of kill points has these moments, and costs less
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
    assert "\ngoing on " in done.err
    assert digest(root) == reference
    assert list((root / ".nightshift" / "scratch").iterdir()) == []
    fsck = subprocess.run(["git", "-C", str(root), "fsck", "--strict"], capture_output=True, text=True)
    assert fsck.returncode == 0


@pytest.mark.slow  # each time a loop in this process is interrupted there
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


@pytest.mark.system  # each time such a signal is sent to a loop in this process
@pytest.mark.parametrize("number", first(1, [signal.SIGTERM, signal.SIGINT, signal.SIGHUP]))
def test_a_signal_ends_the_trial_in_hand_and_run_goes_on(tmp_path: Path, number: signal.Signals) -> None:
    root = make_quick_workspace(tmp_path)
    process = start(root)
    wait_for_line(process, "trial 0: baseline")
    os.kill(process.pid, number)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    assert "Traceback" not in err
    status = nightshift("status", root, "--json").document
    assert (status["state"], status["stop_reason"]) == ("ended", "interrupted by a signal")
    assert status["events"][-1]["kind"] == "interrupted"
    assert status["events"][-1]["text"] == f"{number.name} stopped the loop"
    done = nightshift("run", root, *OPTIONS, "--json")
    assert done.code == 0, done.err
    assert done.document["stop_reason"] == f"limit of {TRIALS} trials reached"
    assert done.document["trials"] - done.document["statuses"].get("interrupted", 0) == TRIALS


class Signals(Observer):
    """Sends this process signals the first time that something happens."""

    def __init__(self, at: str, *numbers: signal.Signals) -> None:
        self.at, self.numbers = at, numbers

    def _heard(self, what: str) -> None:
        if what == self.at:
            self.at = ""
            for number in self.numbers:
                os.kill(os.getpid(), number)

    def railed(self, trial: Trial, rail: str | None, reason: str | None) -> None:
        self._heard(f"railed {trial.seq}")

    def training(self, progress: TrainingProgress) -> None:
        self._heard(f"training {progress.trial_seq}")

    def scoring(self, trial: Trial) -> None:
        self._heard(f"scoring {trial.seq}")

    def measuring_result(self, target: Trial, seed_index: int) -> None:
        self._heard(f"result {target.seq} {seed_index}")


def night(root: Path, observer: Observer, **options: Any) -> tuple[str | None, list[Trial]]:
    """Run a night in this process: why it stopped, and its trials as they are published."""
    campaign = run_night(root, RunOptions(proposer="random", **options), observer)
    with Reader.open(root / ".nightshift" / "snapshot") as reader:
        assert reader.campaign(campaign.campaign_id) == campaign
        return campaign.stop_reason, reader.trials(campaign.campaign_id)


@pytest.mark.parametrize("at", first(1, ["training 1", "railed 1"], rest=pytest.mark.system))
def test_a_signal_in_a_trial_ends_it_as_interrupted(tmp_path: Path, at: str) -> None:
    root = make_quick_workspace(tmp_path)
    reason, trials = night(root, Signals(at, signal.SIGTERM), trials=2)
    assert reason == "interrupted by a signal"
    assert [t.status for t in trials] == [Status.BASELINE, Status.INTERRUPTED]
    assert trials[1].candidate_commit is not None
    refs = subprocess.run(["git", "-C", str(root), "for-each-ref", "refs/nightshift"], capture_output=True, text=True)
    assert refs.stdout == ""
    reason, trials = night(root, Observer(), trials=2)
    assert reason == "limit of 2 trials reached"
    assert [t.seq for t in trials] == [0, 1, 2, 3]


@pytest.mark.slow
def test_a_signal_in_the_baseline_leaves_it_to_the_next_run(tmp_path: Path, reference: list[tuple[Any, ...]]) -> None:
    root = make_standin_workspace(tmp_path)
    reason, trials = night(root, Signals("training 0", signal.SIGINT), trials=TRIALS, tag="night")
    assert reason == "interrupted by a signal"
    assert [t.status for t in trials] == [None]
    night(root, Observer(), trials=TRIALS)
    assert digest(root) == reference


@pytest.mark.system
def test_a_signal_while_proposing_ends_the_trial_as_interrupted(tmp_path: Path) -> None:
    class Waits(ScriptedProposer):
        def propose(self, context: ProposalContext) -> Reply:
            os.kill(os.getpid(), signal.SIGTERM)
            raise NoReplyError("the endpoint does not answer", kind=NoReplyKind.PASSING)

    root = make_quick_workspace(tmp_path)
    campaign = run_night(root, RunOptions(trials=2), Observer(), Waits([]))
    assert campaign.stop_reason == "interrupted by a signal"
    with Reader.open(root / ".nightshift" / "snapshot") as reader:
        assert [t.status for t in reader.trials(campaign.campaign_id)] == [Status.BASELINE, Status.INTERRUPTED]


@pytest.mark.system
def test_a_scoring_under_way_is_finished_and_decides_its_trial(
    tmp_path: Path, reference: list[tuple[Any, ...]]
) -> None:
    root = make_standin_workspace(tmp_path)
    reason, trials = night(root, Signals("scoring 1", signal.SIGTERM), trials=TRIALS, tag="night")
    assert reason == "interrupted by a signal"
    assert [t.status for t in trials] == [row[2] for row in reference[:2]]
    night(root, Observer(), trials=TRIALS)
    assert digest(root) == reference


@pytest.mark.system
def test_a_signal_in_the_finale_leaves_it_open(tmp_path: Path) -> None:
    root = make_quick_workspace(tmp_path, final_seeds=1)
    script = ScriptedProposer([json.dumps({"knob": "rows", "new_value": 32, "reason": "more"})])
    first = run_night(root, RunOptions(trials=1), Signals("result 0 1000", signal.SIGINT), script)
    assert first.stop_reason == "interrupted by a signal"
    assert first.final is not None
    assert first.final["state"] == "running"
    then = run_night(root, RunOptions(), Observer(), script)
    assert then.stop_reason == "limit of 1 trials reached"
    assert then.final is not None
    assert then.final["n"] == 1


def test_a_terminal_that_closes_twice_is_one_request(tmp_path: Path) -> None:
    root = make_quick_workspace(tmp_path)
    reason, _ = night(root, Signals("railed 1", signal.SIGHUP, signal.SIGHUP), trials=2)
    assert reason == "interrupted by a signal"


@pytest.mark.system
def test_nohup_is_respected(tmp_path: Path) -> None:
    root = make_quick_workspace(tmp_path)
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        reason, _ = night(root, Signals("railed 1", signal.SIGHUP), trials=1)
    finally:
        signal.signal(signal.SIGHUP, before)
    assert reason == "limit of 1 trials reached"


@pytest.mark.system
def test_a_second_signal_stops_at_once_and_nothing_is_lost(tmp_path: Path, reference: list[tuple[Any, ...]]) -> None:
    root = make_standin_workspace(tmp_path)
    handlers = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)]
    with pytest.raises(KeyboardInterrupt):
        night(root, Signals("training 1", signal.SIGTERM, signal.SIGINT), trials=TRIALS, tag="night")
    assert handlers == [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)]
    status = nightshift("status", root, "--json").document
    assert (status["state"], status["stop_reason"]) == ("dead", None)
    assert "no loop is at work here any more" in nightshift("status", root).out
    reason, _ = night(root, Observer(), trials=TRIALS)
    assert reason == f"limit of {TRIALS} trials reached"
    assert digest(root) == reference


@pytest.mark.system
def test_two_signals_at_once_exit_with_130_and_leave_no_process(tmp_path: Path) -> None:
    root = make_quick_workspace(tmp_path)
    process = start(root)
    wait_for_line(process, "trial 1: ")
    below = psutil.Process(process.pid).children(recursive=True)
    for number in (signal.SIGINT, signal.SIGTERM):
        os.kill(process.pid, number)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert "Traceback" not in err
    assert "nightshift: stopped at once; the record is whole" in err
    _, alive = psutil.wait_procs(below, timeout=10)
    assert alive == []


@pytest.mark.slow  # each time a loop in this process is told so
def test_a_closed_terminal_ends_the_night_in_good_order(tmp_path: Path) -> None:
    root = make_quick_workspace(tmp_path)
    ours, theirs = os.openpty()
    command = ["setsid", "--ctty", *argv("run", root, *OPTIONS)]
    with subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs) as process:
        os.close(theirs)
        seen = b""
        while b"trial 1" not in seen:
            seen += os.read(ours, 4096)
        os.close(ours)
        assert process.wait(timeout=60) == 1, "nobody can read the report"
    status = nightshift("status", root, "--json").document
    assert status["stop_reason"] == "interrupted by a signal"
    assert status["events"][-1]["text"] == "SIGHUP stopped the loop"


@pytest.mark.slow
def test_a_night_goes_on_when_nobody_reads_its_progress(tmp_path: Path) -> None:
    root = make_quick_workspace(tmp_path)
    process = start(root, "--trials", 1)
    wait_for_line(process, "trial 0: ")
    assert process.stderr is not None
    process.stderr.close()
    assert process.stdout is not None
    assert "stopped: limit of 1 trials reached" in process.stdout.read()
    process.stdout.close()
    assert process.wait(timeout=60) == 0


@pytest.mark.slow  # tests/graph/test_night.py pauses a loop in this process
def test_a_pause_from_another_terminal(tmp_path: Path) -> None:
    root = make_quick_workspace(tmp_path)
    process = start(root)
    wait_for_line(process, "trial 0: ")
    asked = nightshift("pause", root)
    assert asked.code == 0, asked.err
    assert "asked for by " in asked.out
    wait_for_line(process, "nightshift resume")
    assert nightshift("status", root, "--json").document["state"] == "paused"
    assert nightshift("pause", root, "--json").document == {"workspace": str(root), "state": "paused"}
    assert "paused: asked for by" in nightshift("status", root).out
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    assert nightshift("status", root, "--json").document["state"] == "dead"
    process = start(root)
    wait_for_line(process, "nightshift resume")
    assert nightshift("resume", root, "--json").document == {"workspace": str(root), "state": "running"}
    wait_for_line(process, "going on after a pause of")
    _, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    assert nightshift("status", root, "--json").document["stop_reason"] == f"limit of {TRIALS} trials reached"


def test_a_pause_without_a_loop_is_ended_by_resume(tmp_path: Path) -> None:
    root = make_quick_workspace(tmp_path)
    with standin_campaign(root) as services:
        ask_pause(services.workspace)
    done = nightshift("resume", root)
    assert done.code == 0
    assert "no loop is at work here" in done.out
    assert "nightshift run" in done.out


@pytest.mark.system
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

    root = make_quick_workspace(tmp_path)
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
