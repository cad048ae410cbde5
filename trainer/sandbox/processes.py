"""Starting processes that may do anything, and being sure that nothing of them is left.

The floor under every level of isolation: a scrubbed environment, a session of its own, and an end that takes every
descendant along, daemons included. On Linux a supervisor next to the trial sees to that (`trainer.launch.supervisor`),
and this process is there for what a killed supervisor leaves behind; elsewhere this process does all of it.
"""

import ctypes
import os
import resource
import signal
import site
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import psutil

from rails.errors import HaltError
from trainer.sandbox.permissions import Limits
from trainer.sandbox.removal import remove_tree

PR_SET_CHILD_SUBREAPER = 36
END_WITHIN_S, POLL_S = 5.0, 0.001
HOLD_WITHIN_S = 2.0
DIE_WITHIN_S = 60.0
"""Freeing a hundred gigabytes takes seconds; a minute means that something hangs."""
INHERITED = ("PATH", "LD_LIBRARY_PATH", "CUDA_VISIBLE_DEVICES", "CUDA_DEVICE_ORDER", "CUDA_HOME")
"""The only variables of the loop that a trial sees; without the last four some machines hide their GPU."""
THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS")
FIRST_FD = 3
"""A trial gets the descriptors that are passed to it under the numbers from here on."""

census = threading.RLock()
"""Held while a trial is launched and while orphans are looked for: from its launch until it is noted, a trial is a
child of this process that another trial's end, on another thread, would take for an orphan of its own."""
_trials: set[int] = set()
"""The children of this process that trials hang on: supervisors, and trials without one."""
_servers: set[int] = set()
"""Its fork servers."""


def scrubbed_environment(scratch: Path, threads: int, extra: dict[str, str]) -> dict[str, str]:
    """The environment of a trial: what a Python program needs to start, a home in `scratch`, and `extra`. No keys."""
    kept = {name: os.environ[name] for name in INHERITED if name in os.environ}
    if site.ENABLE_USER_SITE:
        kept["PYTHONUSERBASE"] = site.getuserbase()  # else the changed HOME would hide packages installed with --user
    return {
        **kept,
        "LANG": "C.UTF-8",
        "HOME": str(scratch),
        "TMPDIR": str(scratch),
        **dict.fromkeys(THREAD_VARIABLES, str(threads)),
        # Waiting threads sleep soon: beside a busy neighbour, the default spinning costs a factor of thirty.
        "GOMP_SPINCOUNT": "1000",
        "PYTHONHASHSEED": "0",
        "PYTHONUNBUFFERED": "1",  # what a process printed before it died is the best witness
        "PYTHONFAULTHANDLER": "1",
        "PYTHONDONTWRITEBYTECODE": "1",
        **extra,
    }


def spawn(
    program: list[str],
    *,
    scratch: Path,
    environment: dict[str, str],
    output: int,
    pass_fds: tuple[int, ...],
    limits: Limits,
) -> subprocess.Popen[bytes]:
    """Start `program` in `scratch`, in a session of its own; `output` receives its stdout and stderr.

    The kernel kills it when the launching *thread* ends, so launched from any but the main thread it goes without.

    Raises:
        OSError: it could not be started.
    """
    mortal = os.getpid() if threading.current_thread() is threading.main_thread() else 0
    rlimits = {
        resource.RLIMIT_CORE: 0,
        resource.RLIMIT_FSIZE: limits.disk_bytes,
        resource.RLIMIT_NOFILE: limits.open_files,
    }
    shim = [sys.executable, "-I", "-S", str(Path(__file__).with_name("shim.py")), str(mortal)]
    shim.append(",".join(f"{number}={value}" for number, value in rlimits.items()))
    shim.append(",".join(map(str, pass_fds)))
    with census:
        watch_over_trials()
        process = subprocess.Popen(
            shim + program,
            cwd=scratch,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            pass_fds=pass_fds,
            start_new_session=True,
        )
        note_trial(process.pid)
    return process


def watch_over_trials() -> None:
    """Before a launch: become the parent of orphans, so that a daemon that forks twice stays in reach (Linux)."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def note_trial(pid: int) -> None:
    """A child of this process is no stray but what a trial hangs on, until `end_strays` is called for it."""
    _trials.add(pid)


def note_server(pid: int, running: bool) -> None:
    """A child of this process is a fork server, or was one."""
    (_servers.add if running else _servers.discard)(pid)


def end_strays(pid: int, others: frozenset[int]) -> None:
    """Kill and reap what a trial has left to this process, once process `pid` that it hung on is reaped. Idempotent.

    Killing a parent makes its children ours (see `watch_over_trials`), so this repeats until there are none. It waits
    for no one of them in particular: the first process of a namespace goes only when the others in it are reaped.

    Args:
        pid: of the supervisor, or of the trial without one.
        others: from `present`, before it was launched.

    Raises:
        HaltError: one does not die: it hangs in the kernel.
    """
    _trials.discard(pid)
    deadline = time.monotonic() + DIE_WITHIN_S
    while left := strays(others):
        for stray in left:
            with suppress(ProcessLookupError):
                os.kill(stray, signal.SIGKILL)
            with suppress(ChildProcessError):
                os.waitpid(stray, os.WNOHANG)
        if time.monotonic() > deadline:
            raise _undying(left[0])
        time.sleep(POLL_S)
    with census:
        if not _trials and sys.platform == "linux":
            ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0)


def discard(pid: int, others: frozenset[int]) -> None:
    """Reap a supervisor that could not start its trial, and all that is left of that; see `end_strays`."""
    _reap(pid, time.monotonic() + END_WITHIN_S)
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
        _reap(pid, time.monotonic() + DIE_WITHIN_S)
    end_strays(pid, others)


def wait_for_death(process: int, wait: Callable[[float], object]) -> None:
    """Wait for a killed process.

    Args:
        process: its id.
        wait: waits for its end, as many seconds at most, and raises `subprocess.TimeoutExpired`.

    Raises:
        HaltError: it does not die: it hangs in the kernel, most likely in a driver.
    """
    try:
        wait(DIE_WITHIN_S)
    except subprocess.TimeoutExpired as error:
        raise _undying(process) from error


def hold(members: Callable[[], list[int]]) -> bool:
    """Stop processes where they are: they neither run nor hear anything until `let_go`; being killed they still are.

    Args:
        members: gives their ids, as they are now.

    Returns:
        Whether all of them stand still. One that forks meanwhile is followed for `HOLD_WITHIN_S`.
    """
    deadline = time.monotonic() + HOLD_WITHIN_S
    while running := [pid for pid in members() if not _stands_still(pid)]:
        for pid in running:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGSTOP)
        if time.monotonic() > deadline:
            return False
        time.sleep(POLL_S)
    return True


def let_go(members: Callable[[], list[int]]) -> None:
    """Have held processes go on."""
    for pid in members():
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGCONT)


def _stands_still(pid: int) -> bool:
    with suppress(psutil.NoSuchProcess):
        return psutil.Process(pid).status() in {psutil.STATUS_STOPPED, psutil.STATUS_ZOMBIE, psutil.STATUS_DEAD}
    return True


def present() -> frozenset[int]:
    """The children of this process, to be told from what a trial leaves to it."""
    return frozenset(children_of(os.getpid()))


def strays(others: frozenset[int]) -> list[int]:
    """Orphans of trials that this process has adopted: its children in foreign sessions, but for `others`."""
    own = os.getsid(0)
    found: list[int] = []
    with census:
        for pid in children_of(os.getpid()):
            with suppress(ProcessLookupError):
                if pid not in others | _trials | _servers and os.getsid(pid) != own:
                    found.append(pid)
    return found


def children_of(pid: int) -> list[int]:
    """The direct children of a process; empty when it is gone."""
    tasks = f"/proc/{pid}/task"
    try:
        threads = os.listdir(tasks)
    except OSError:
        return [] if sys.platform == "linux" else [child.pid for child in descendants(pid) if child.ppid() == pid]
    children: list[int] = []
    for thread in threads:
        # A thread may end while we look. Asked ten times a trial, of every thread: no Path for each of them.
        with suppress(OSError), open(f"{tasks}/{thread}/children", "rb", buffering=0) as file:
            children += map(int, file.read().split())
    return children


def clear_leftovers(scratch_root: Path) -> list[int]:
    """Kill the processes that work in the folders under `scratch_root`, and remove those folders.

    For start-up after a crash of the loop. Call it only while holding the workspace's lock.

    Returns:
        The process ids that were killed.
    """
    root, killed = scratch_root.resolve(), list[int]()
    for process in psutil.process_iter():
        with suppress(psutil.Error, OSError):
            if process.pid != os.getpid() and root in Path(process.cwd()).parents:
                process.kill()
                killed.append(process.pid)
    for folder in root.iterdir() if root.is_dir() else ():
        remove_tree(folder)
    return killed


def descendants(pid: int) -> list[psutil.Process]:
    """All that came of a process, as far as it hangs together; slow. Empty when it is gone."""
    try:
        return psutil.Process(pid).children(recursive=True)
    except psutil.NoSuchProcess:
        return []


def _reap(pid: int, deadline: float) -> None:
    """Wait for a child of ours until `deadline`: one that hangs in the kernel must not hang the loop."""
    with suppress(ChildProcessError):
        while os.waitpid(pid, os.WNOHANG)[0] == 0 and time.monotonic() < deadline:
            time.sleep(POLL_S)


def _undying(process: int) -> HaltError:
    what = f"process {process} was killed {DIE_WITHIN_S:g} s ago and is still there"
    return HaltError(what, fix="look at the system's log for a hanging driver; restart the machine")
