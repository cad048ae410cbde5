"""Launching, at every level that this machine has: what a program sees, how it ends, and that nothing is left of it."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from rails.errors import HaltError
from tests.support.launching import each_level, fork_servers, left_over
from tests.support.variants import first, firsts
from trainer.launch import fork_server, fork_server_main
from trainer.launch.child import Child
from trainer.launch.fork_server import preloads
from trainer.launch.launcher import Launcher
from trainer.sandbox import processes
from trainer.sandbox.levels import Isolation
from trainer.sandbox.permissions import Limits, Permissions, readable_paths

ROOT = Path(__file__).resolve().parents[3]
LEVELS = each_level()


def permissions(level: Isolation, scratch: Path, memory_bytes: int = 2**30) -> Permissions:
    limits = Limits(memory_bytes=memory_bytes)
    return Permissions(
        level=level, scratch=scratch, readable=readable_paths("cpu"), hidden=(), device="cpu", limits=limits
    )


def start(
    launcher: Launcher, level: Isolation, scratch: Path, code: str, pass_fds: tuple[int, ...] = ()
) -> tuple[Child, int]:
    """A running program and the read end of its output."""
    scratch.mkdir(exist_ok=True)
    program = scratch / "train.py"
    program.write_text(code)
    environment = processes.scrubbed_environment(scratch, 1, {"EXTRA": "1"})
    read, write = os.pipe()
    try:
        return launcher.launch(program, permissions(level, scratch), environment, write, pass_fds), read
    finally:
        os.close(write)


def run(
    launcher: Launcher, level: Isolation, scratch: Path, code: str, pass_fds: tuple[int, ...] = ()
) -> tuple[int, str]:
    """How a program ends by itself, and what it has printed."""
    child, read = start(launcher, level, scratch, code, pass_fds)
    with os.fdopen(read) as output:
        printed = output.read()
    code_ = child.wait(20)
    assert child.end() == code_
    assert left_over() == []
    return code_, printed


@pytest.fixture(scope="module")
def launcher() -> Iterator[Launcher]:
    with Launcher(threads=1, preload=("numpy",)) as started:
        yield started


@pytest.fixture
def scratch(tmp_path: Path) -> Path:
    return tmp_path / "scratch"


PROGRAM = """
import os, sys
import helper
print(__name__, __file__, sys.argv, sys.path[0], os.getcwd())
print(sys.modules["__main__"].__dict__ is globals(), sorted(os.environ))
print(sys.stdin.read(), os.getsid(0) == os.getpid(), helper.VALUE)
"""


@pytest.mark.parametrize("level", LEVELS)
def test_a_program_runs_as_if_it_were_a_script(launcher: Launcher, scratch: Path, level: Isolation) -> None:
    scratch.mkdir()
    (scratch / "helper.py").write_text("VALUE = 5")
    with Launcher(threads=1, cold=True) as cold:
        expected = run(cold, Isolation.L1, scratch, PROGRAM)
    assert expected[0] == 0
    assert run(launcher, level, scratch, PROGRAM) == expected


ENDS = [
    ("raise ValueError('no')", 1),
    ("import sys; sys.exit(7)", 7),
    ("import threading, time; threading.Thread(target=lambda: (time.sleep(0.1), print('later'))).start()", 0),
    ("def f(:", 1),
    ("import sys; sys.exit('goodbye')", 1),
    ("raise SystemExit", 0),
    ("import os; os._exit(9)", 9),
    ("import atexit; atexit.register(print, 'at exit')", 0),
    ("import sys; sys.excepthook = lambda *_: print('mine'); 1 / 0", 1),
    ("\n\ndef f():\n    return 1 / 0\n\nf()", 1),
]


@pytest.mark.parametrize(("code", "expected"), firsts(3, ENDS, rest=pytest.mark.system))
def test_a_program_ends_as_a_script_ends(launcher: Launcher, scratch: Path, code: str, expected: int) -> None:
    with Launcher(threads=1, cold=True) as cold:
        as_script = run(cold, Isolation.L1, scratch, code)
    assert as_script[0] == expected
    assert run(launcher, Isolation.L1, scratch, code) == as_script


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize(
    "number", first(2, [signal.SIGKILL, signal.SIGSEGV, signal.SIGABRT, signal.SIGTERM], rest=pytest.mark.system)
)
def test_the_supervisor_ends_the_way_the_trial_does(
    launcher: Launcher, scratch: Path, level: Isolation, number: signal.Signals
) -> None:
    code, printed = run(launcher, level, scratch, f"import os; os.kill(os.getpid(), {int(number)})")
    assert code == -number
    assert ("Fatal Python error" in printed) == (number in (signal.SIGSEGV, signal.SIGABRT))


@pytest.mark.parametrize("level", LEVELS)
def test_descriptors_and_nothing_else_are_passed_on(launcher: Launcher, scratch: Path, level: Isolation) -> None:
    fds: list[int] = []
    for text in (b"first", b"second"):
        fds.append(os.memfd_create("test"))
        os.write(fds[-1], text)
    code = "import os; print(os.pread(3, 9, 0), os.pread(4, 9, 0), sorted(map(int, os.listdir('/proc/self/fd'))))"
    expected = "b'second' b'first' [0, 1, 2, 3, 4, 5]\n"  # 5 is the folder being listed
    assert run(launcher, level, scratch, code, (fds[1], fds[0])) == (0, expected)
    for fd in fds:
        os.close(fd)


def test_what_was_drawn_from_the_system_differs_between_trials(launcher: Launcher, scratch: Path) -> None:
    code = "import random, numpy, tempfile; print(random.random(), numpy.random.random(), tempfile.gettempdir())"
    drawn = [run(launcher, Isolation.L1, scratch, code)[1].split() for _ in range(2)]
    assert drawn[0][0] != drawn[1][0] and drawn[0][1] != drawn[1][1]
    assert drawn[0][2] == drawn[1][2] == str(scratch)


def test_the_garbage_collector_is_as_usual(launcher: Launcher, scratch: Path) -> None:
    code = "import gc; print(gc.isenabled(), gc.get_threshold()[0] > 0, gc.garbage)"
    assert run(launcher, Isolation.L1, scratch, code) == (0, "True True []\n")


TRAINING = """
import sys, torch
import torch.nn.functional as F
torch.manual_seed(3)
torch.set_num_threads(2)
model = torch.nn.Sequential(torch.nn.Linear(64, 256), torch.nn.GELU(), torch.nn.Linear(256, 64))
optimizer = torch.optim.AdamW(model.parameters(), lr=0.01, fused=True)
x = torch.randn(512, 64)
for _ in range(20):
    loss = F.mse_loss(model(x), x)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
print(loss.item().hex(), sum(float(p.double().sum()) for p in model.parameters()).hex())
"""


@pytest.mark.system  # torch is loaded twice; each time it is shown of how programs end
def test_forked_and_cold_trainings_are_equal_to_the_last_digit(scratch: Path) -> None:
    with Launcher.for_program(TRAINING, threads=2, cold=True) as cold:
        expected = run(cold, Isolation.L1, scratch, TRAINING)
    assert expected[0] == 0 and expected[1]
    with Launcher.for_program(TRAINING, threads=2) as forking:
        assert run(forking, Isolation.L1, scratch, TRAINING) == expected
        loaded = run(forking, Isolation.L1, scratch, "import sys; print('torch._dynamo' in sys.modules)")
        assert loaded == (0, "True\n")


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("import numpy as np", {"numpy"}),
        ("from torch import nn", {"torch"}),
        ("import torch.nn.functional as F\nfrom trainer.session import Session", {"torch", "trainer"}),
        ("def f():\n    import torch", {"torch"}),
        ("import os, antigravity\nfrom . import torch", set[str]()),
        ("def f(:", {"trainer"}),
    ],
)
def test_only_known_modules_are_imported_ahead(source: str, expected: set[str]) -> None:
    assert {name.split(".")[0] for name in preloads(source)} == expected


STUBBORN = """
import os, signal, sys, time
for number in range(1, 65):
    try:
        signal.signal(number, signal.SIG_IGN)
    except (OSError, ValueError):
        pass
for daemon in (False, True):
    if os.fork() == 0:
        if daemon:
            os.setsid()
            between = os.getpid()
            if os.fork():
                os._exit(0)
            while os.getppid() == between:
                time.sleep(0.001)
        os.write(1, b"!")
        time.sleep(1000)
os.write(1, b"!")
time.sleep(1000)
"""


def stubborn(launcher: Launcher, level: Isolation, scratch: Path) -> tuple[Child, list[psutil.Process]]:
    """A program that ignores every signal, with a child and a daemon, and all its processes."""
    child, read = start(launcher, level, scratch, STUBBORN)
    with os.fdopen(read) as output:
        assert output.read(3) == "!!!"
    below = list[psutil.Process]()
    while len(below) < 3:
        # Who it does not wait for stays a zombie: that the death of children be ignored it asks in vain.
        below = [process for process in psutil.Process(child.pid).children(recursive=True) if lives(process)]
        time.sleep(0.02)
    return child, below


def lives(process: psutil.Process) -> bool:
    """Whether it runs; a zombie does not, and one may be reaped while we look."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def gone(processes: list[psutil.Process], within_s: float) -> bool:
    """Whether all of them end in time."""
    deadline = time.monotonic() + within_s
    while alive := [each for each in processes if lives(each)]:
        if time.monotonic() > deadline:
            print(alive)
            return False
        time.sleep(0.01)
    return True


@pytest.mark.parametrize("level", LEVELS)
def test_nothing_is_left_of_a_stubborn_program(launcher: Launcher, scratch: Path, level: Isolation) -> None:
    child, below = stubborn(launcher, level, scratch)
    assert child.end() == child.end() == -9
    assert gone(below, 0.0)
    assert left_over() == []


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("number", first(1, [signal.SIGSTOP, signal.SIGKILL], rest=pytest.mark.system))
def test_a_supervisor_that_is_killed_or_stopped_is_replaced_by_the_loop(
    launcher: Launcher,
    scratch: Path,
    level: Isolation,
    number: signal.Signals,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("trainer.launch.child.SUPERVISOR_ENDS_WITHIN_S", 0.2)
    child, below = stubborn(launcher, level, scratch)
    os.kill(child.pid, number)
    assert child.end() == -9
    assert gone(below, 0.0)
    assert left_over() == []


def test_a_server_that_is_still_importing_dies_with_the_loop() -> None:
    code = "from trainer.launch.launcher import Launcher; Launcher(threads=1, preload=('torch',)).ready()"
    loop = subprocess.Popen([sys.executable, "-c", code], cwd=ROOT)
    while not (servers := fork_servers(loop.pid)):
        assert loop.poll() is None
    server = servers[0]
    while not any("torch" in library.path for library in server.memory_maps()):
        assert server.is_running()
    server.suspend()  # it will not get around to listening
    loop.kill()
    loop.wait()
    try:
        assert gone([server], 10.0)
    finally:
        if lives(server):
            server.kill()


def test_what_cannot_be_killed_is_not_left_in_silence(monkeypatch: pytest.MonkeyPatch) -> None:
    others = processes.present()
    orphan = subprocess.Popen(["sleep", "100"], start_new_session=True)
    try:
        with monkeypatch.context() as patch:
            patch.setattr(processes, "DIE_WITHIN_S", 0.1)
            patch.setattr(os, "kill", lambda pid, number: None)  # as if it hung in the kernel
            with pytest.raises(HaltError, match=f"process {orphan.pid} was killed"):
                processes.end_strays(-1, others)
        processes.end_strays(-1, others)  # once it does die, it is reaped
        assert left_over() == []
    finally:
        orphan.kill()
        orphan.wait()


LOOP = """
import sys, time
from pathlib import Path
from tests.trainer.launch.test_launcher import stubborn
from trainer.sandbox.levels import Isolation
from trainer.launch.launcher import Launcher
launcher = Launcher(threads=1)
child, below = stubborn(launcher, Isolation(sys.argv[1]), Path(sys.argv[2]))
print(child.pid, *(process.pid for process in below), flush=True)
time.sleep(1000)
"""


@pytest.mark.parametrize("level", LEVELS)
def test_a_killed_loop_takes_everything_along(scratch: Path, level: Isolation) -> None:
    command = [sys.executable, "-c", LOOP, level, str(scratch)]
    loop = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT)
    assert loop.stdout is not None
    pids = list(map(int, loop.stdout.readline().split()))
    processes = [*map(psutil.Process, pids), *fork_servers(loop.pid)]
    assert len(processes) >= 5
    loop.kill()
    loop.communicate()
    assert gone(processes, 5.0)  # in a second, on a machine that is not busy with something else


def test_a_killed_server_is_replaced_and_its_trials_go_on(scratch: Path, tmp_path: Path) -> None:
    others = fork_servers()
    with Launcher(threads=1) as launcher:
        child, below = stubborn(launcher, Isolation.L1, scratch)
        (server,) = set(fork_servers()) - set(others)
        server.kill()
        server.wait()
        assert run_beside(launcher, tmp_path / "other") == (0, "hello\n")
        assert all(process.is_running() for process in below)
        assert len(fork_servers()) == len(others) + 1
        child.end()
    assert left_over() == [] and fork_servers() == others


def run_beside(launcher: Launcher, scratch: Path) -> tuple[int, str]:
    """A program that runs while another does."""
    child, read = start(launcher, Isolation.L1, scratch, "print('hello')")
    with os.fdopen(read) as output:
        printed = output.read()
    return child.end(), printed


def test_a_server_that_cannot_start_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    others = fork_servers()
    with pytest.raises(HaltError, match="did not start: ModuleNotFoundError: No module named 'no_such_module'"):
        Launcher(threads=1, preload=("no_such_module",)).ready()
    monkeypatch.setattr(fork_server, "START_WITHIN_S", 0.0)
    with pytest.raises(HaltError, match="did not start"):
        Launcher(threads=1).ready()
    assert fork_servers() == others


def test_a_process_that_cannot_be_forked_safely_is_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tasks, descriptors = tmp_path / "tasks", tmp_path / "fds"
    for folder in (tasks, descriptors):
        folder.mkdir()
    monkeypatch.setattr(fork_server_main, "TASKS", str(tasks))
    monkeypatch.setattr(fork_server_main, "DESCRIPTORS", str(descriptors))
    (tasks / "1").touch()
    (descriptors / "0").symlink_to("/dev/null")
    fork_server_main.check_fit_to_fork()
    (descriptors / "7").symlink_to("/dev/nvidiactl")
    with pytest.raises(RuntimeError, match="has used the GPU"):
        fork_server_main.check_fit_to_fork()
    (tasks / "2").touch()
    with pytest.raises(RuntimeError, match="has 2 threads"):
        fork_server_main.check_fit_to_fork()


def test_what_cannot_be_confined_does_not_run(launcher: Launcher, scratch: Path) -> None:
    program = scratch / "train.py"
    witness = scratch / "witness"
    scratch.mkdir()
    program.write_text(f"open({str(witness)!r}, 'w')")
    missing = permissions(Isolation.L1, scratch / "missing")
    with pytest.raises(HaltError, match="could not be started: FileNotFoundError"):
        launcher.launch(program, missing, {}, 1)
    assert not witness.exists()
    assert left_over() == []


def test_a_cold_launcher_refuses_what_it_cannot_do(scratch: Path) -> None:
    with Launcher(threads=1, cold=True) as cold, pytest.raises(ValueError, match="cannot be confined at L2"):
        cold.launch(scratch / "train.py", permissions(Isolation.L2, scratch), {}, 1)


def descriptors(process: psutil.Process) -> int:
    return len(os.listdir(f"/proc/{process.pid}/fd"))


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("launches", [10, pytest.param(200, marks=pytest.mark.slow)])
def test_nothing_leaks(launcher: Launcher, scratch: Path, level: Isolation, launches: int) -> None:
    run(launcher, level, scratch, "pass")
    (server,) = fork_servers()  # the other tests have closed theirs

    def held() -> tuple[object, ...]:
        # By pid: other tests of this process keep helpers of their own, which are no leak of ours.
        here = psutil.Process()
        below = {child.pid for child in here.children(recursive=True)}
        return descriptors(here), descriptors(server), server.num_threads(), below

    before = held()
    for _ in range(launches):
        assert run(launcher, level, scratch, "pass") == (0, "")
    assert held() == before
