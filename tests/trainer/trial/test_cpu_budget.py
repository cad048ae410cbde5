"""A budget of CPU seconds: whatever a trial ever started is counted, the dead and the forgotten too."""

import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import pytest

from rails.errors import TrialError
from rails.status import Status
from tests.support.launching import weakest_and_best
from tests.support.raw_trial import PRELUDE
from tests.support.tiny_data import STANDIN, eval_set, trial_spec
from trainer.budget import Budget, BudgetKind, Caps
from trainer.launch.cpu_time import CpuTime, of_tree
from trainer.launch.launcher import Launcher
from trainer.sandbox.levels import Isolation
from trainer.trial.cpu_meter import CpuMeter
from trainer.trial.process import TrialProcess
from trainer.trial.spec import TrainOutcome, TrialSpec

AMOUNT_S, LONG_S = 0.3, 3.0
"""A budget, and what is more than it with every tolerance."""
CAPS = Caps(startup_s=30, score_s=30, train_s=60)
BURN = f"""
import ctypes
def burn(seconds):
    until = time.process_time() + seconds
    while time.process_time() < until:
        pass
def in_child(work):
    child = os.fork()
    if child == 0:
        work()
        os._exit(0)
    return child
def finish():
    os.write(spec["state_fd"], b"x")
    send("trained", summary={{}})
    hang()
LONG, AMOUNT = {LONG_S}, {AMOUNT_S}
"""


@dataclass(frozen=True)
class World:
    """Where trials run."""

    level: Isolation
    launcher: Launcher


@pytest.fixture(scope="module", params=weakest_and_best())
def world(request: pytest.FixtureRequest) -> Iterator[World]:
    with Launcher.for_program(STANDIN.read_text(), threads=1) as launcher:
        yield World(request.param, launcher)


def spec_of(world: World, tmp_path: Path, code: str, caps: Caps = CAPS) -> TrialSpec:
    budget = Budget(kind=BudgetKind.CPU_SECONDS, amount=AMOUNT_S)
    return trial_spec(tmp_path, PRELUDE + BURN + code, isolation=world.level, caps=caps, budget=budget)


def outcome(world: World, spec: TrialSpec) -> TrainOutcome:
    with TrialProcess.launch(spec, world.launcher) as process:
        return process.train()


def overrun(world: World, spec: TrialSpec) -> str:
    with TrialProcess.launch(spec, world.launcher) as process, pytest.raises(TrialError) as caught:
        process.train()
    assert caught.value.status is Status.TRAIN_BUDGET_OVERRUN, caught.value
    return str(caught.value)


HIDING = {
    "itself": "start(); burn(LONG)",
    "a_thread_that_ends": "import threading\nstart()\nfor _ in range(10):\n"
    "    thread = threading.Thread(target=burn, args=(LONG / 10,)); thread.start(); thread.join()",
    "a_child_that_lives": "start(); in_child(lambda: burn(LONG)); time.sleep(20)",
    "children_that_end_early": "start()\nfor _ in range(400):\n    os.waitpid(in_child(lambda: burn(LONG / 400)), 0)",
    "children_that_nobody_reaps": "start()\nfor _ in range(10):\n"
    "    in_child(lambda: burn(LONG / 10)); time.sleep(0.6)",
    "orphans": "start()\nfor _ in range(10):\n"
    "    os.waitpid(in_child(lambda: in_child(lambda: burn(LONG / 10))), 0); time.sleep(0.6)",
    "orphans_of_a_session_of_their_own": "start()\nfor _ in range(10):\n"
    "    os.waitpid(in_child(lambda: (os.setsid(), in_child(lambda: burn(LONG / 10)))), 0); time.sleep(0.6)",
    "children_that_are_ignored": "signal.signal(signal.SIGCHLD, signal.SIG_IGN); start()\nfor _ in range(10):\n"
    "    in_child(lambda: burn(LONG / 10)); time.sleep(0.6)",
    "children_without_a_signal": "start()\nfor _ in range(10):\n"
    "    if ctypes.CDLL(None).syscall(56 if os.uname().machine == 'x86_64' else 220, 0, 0, 0, 0, 0) == 0:\n"
    "        burn(LONG / 10); os._exit(0)\n    time.sleep(0.6)",
    "orphans_that_it_adopts": "ctypes.CDLL(None).prctl(36, 1, 0, 0, 0); start()\nfor _ in range(10):\n"
    "    os.waitpid(in_child(lambda: in_child(lambda: burn(LONG / 10))), 0); time.sleep(0.6); os.wait()",
    "a_child_from_before_the_start": "read, write = os.pipe()\n"
    "in_child(lambda: (os.read(read, 1), burn(LONG)))\nstart(); os.write(write, b'!'); time.sleep(20)",
}
"""Ways to compute for longer than the budget, after which training is reported as over in time."""


EVERY_TIME = {"children_that_end_early"}
WAYS = [pytest.param(way, marks=[] if way in EVERY_TIME else pytest.mark.system) for way in HIDING]


@pytest.mark.parametrize("way", WAYS)
def test_no_way_to_compute_is_free(world: World, tmp_path: Path, way: str) -> None:
    reason = overrun(world, spec_of(world, tmp_path, HIDING[way] + "\nfinish()"))
    assert reason.startswith("killed: it used ") and reason.endswith(f"with a budget of {AMOUNT_S:g} CPU s")


NO_CHILD_WAIT = """
class Action(ctypes.Structure):
    _fields_ = [("handler", ctypes.c_void_p), ("mask", ctypes.c_ubyte * 128), ("flags", ctypes.c_int),
                ("restorer", ctypes.c_void_p)]
assert ctypes.CDLL(None).sigaction(signal.SIGCHLD, ctypes.byref(Action(flags=2)), None) == 0
start()
for _ in range(10):
    in_child(lambda: burn(LONG / 10)); time.sleep(0.6)
finish()
"""


@pytest.mark.system
def test_children_that_the_kernel_is_to_reap(world: World, tmp_path: Path) -> None:
    """No file of /proc tells of this, so only a filter of system calls, or a control group, can stand against it."""
    if world.level is Isolation.L1:
        pytest.skip("nothing is promised at L1")
    assert overrun(world, spec_of(world, tmp_path, NO_CHILD_WAIT)).startswith("killed: it used ")


def test_what_waits_costs_nothing(world: World, tmp_path: Path) -> None:
    found = outcome(world, spec_of(world, tmp_path, "start(); time.sleep(1.5); finish()"))
    assert found.train_s > 1.4
    assert found.cpu_s is not None and found.cpu_s < AMOUNT_S


def test_what_is_counted_is_what_was_used(world: World, tmp_path: Path) -> None:
    code = "start(); burn(AMOUNT / 2); os.waitpid(in_child(lambda: burn(AMOUNT / 2)), 0); finish()"
    found = outcome(world, spec_of(world, tmp_path, code))
    assert found.cpu_s == pytest.approx(AMOUNT_S, rel=0.2)


@pytest.mark.parametrize(
    "before", ["os.waitpid(in_child(lambda: burn(2.0)), 0)", pytest.param("burn(2.0)", marks=pytest.mark.system)]
)
def test_computing_before_the_clock_is_charged(world: World, tmp_path: Path, before: str) -> None:
    caps = Caps(startup_s=30, free_startup_s=1.0)
    reason = overrun(world, spec_of(world, tmp_path, before + "; start(); finish()", caps))
    assert "it was to start training with a budget of 0.3 CPU s, of which its start-up spent" in reason


def test_computing_after_the_end_is_no_answer(world: World, tmp_path: Path) -> None:
    code = "start(); os.write(spec['state_fd'], b'x'); send('trained', summary={}); asked(); "
    caps = Caps(startup_s=30, score_s=30, answer_cpu_s=0.4)
    spec = spec_of(world, tmp_path, code + "os.waitpid(in_child(lambda: burn(LONG)), 0); send('scored'); hang()", caps)
    with TrialProcess.launch(spec, world.launcher) as process:
        process.train()
        with pytest.raises(TrialError) as caught:
            process.score(eval_set())
    assert caught.value.status is Status.EVAL_BUDGET_OVERRUN
    assert str(caught.value) == "killed: it used more than 0.4 CPU s until its first answer"


@pytest.mark.system
def test_a_training_that_only_waits_ends_all_the_same(world: World, tmp_path: Path) -> None:
    caps = Caps(startup_s=30, train_s=0.5)
    reason = overrun(world, spec_of(world, tmp_path, "start(); hang()", caps))
    assert reason.startswith("killed: still training 0.5 s after its start by the wall clock ([budget] wall_s)")


class Reported:
    """A trial whose CPU time is what the test says."""

    def __init__(self) -> None:
        self.now = CpuTime(0.0)

    def cpu_time(self) -> CpuTime:
        return self.now


def test_a_meter_never_falls_and_charges_what_it_cannot_count() -> None:
    """From the last reading that was whole, every second counts for every core."""
    trial = Reported()
    meter = CpuMeter(cast(Any, trial))
    trial.now = CpuTime(2.0, hidden_s=0.5)
    assert meter.read_before_start() == 2.0
    assert meter.read() == 2.5
    trial.now = CpuTime(1.0)
    assert meter.read() == 2.5
    trial.now = CpuTime(2.6, complete=False)
    time.sleep(0.2)
    assert meter.read() >= 2.5 + 0.2 * meter.cores
    trial.now = CpuTime(2.7)
    time.sleep(0.2)
    assert meter.read() >= 2.5 + 0.4 * meter.cores
    assert not meter.counted


def test_a_process_shows_its_dead_threads_and_what_it_has_reaped() -> None:
    """Also a dead one that nobody has reaped."""
    code = "import os, threading, time\n"
    code += "def burn(s):\n    t = time.thread_time() + s\n    while time.thread_time() < t: pass\n"
    code += "t = threading.Thread(target=burn, args=(0.2,)); t.start(); t.join()\n"
    code += "c = os.fork()\nif c == 0:\n    burn(0.2); os._exit(0)\nos.waitpid(c, 0)\n"
    code += "c = os.fork()\nif c == 0:\n    burn(0.2); os._exit(0)\nos.waitid(os.P_PID, c, os.WEXITED | os.WNOWAIT)\n"
    code += "print(flush=True); time.sleep(60)"
    with subprocess.Popen([sys.executable, "-S", "-c", code], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        found = of_tree(process.pid)
        process.kill()
    assert 0.6 <= found.seconds < 0.9
    assert found.hidden_s == pytest.approx(0.02)
    assert found.complete
