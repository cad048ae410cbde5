"""Starting a process that may do anything, and being sure that nothing of it is left.

Isolation comes in levels; this is the first, L1: a session of its own, resource limits, a scrubbed environment, a
watchdog (`trainer.watchdog`) and an end that takes every descendant along, daemons included. It stops accidents and
clumsy code; it does not stop code that reads other files or opens sockets.
"""

import ctypes
import os
import resource
import shutil
import site
import subprocess
import sys
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

import psutil

from rails.errors import HaltError

PR_SET_CHILD_SUBREAPER = 36
END_WITHIN_S = 5.0
DIE_WITHIN_S = 60.0
"""Freeing a hundred gigabytes takes seconds; a minute means that something hangs."""
INHERITED = ("PATH", "LD_LIBRARY_PATH", "CUDA_VISIBLE_DEVICES", "CUDA_DEVICE_ORDER", "CUDA_HOME")
"""The only variables of the loop that a trial sees; without the last four some machines hide their GPU."""
THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS")

_leaders: set[int] = set()
"""Process ids of the running trials of this process: what tells their leaders from strays."""


class Isolation(StrEnum):
    """How well a trial is kept apart, each level including the ones before it."""

    L1 = "L1"
    """Session, resource limits, scrubbed environment, watchdog."""
    L2 = "L2"
    """Landlock and seccomp."""
    L3 = "L3"
    """Namespaces."""
    L4 = "L4"
    """A control group."""


def best_isolation() -> Isolation:
    """The best level that this version can give on this machine."""
    return Isolation.L1


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What a trial may take. Address space is not limited: CUDA reserves huge ranges that it never uses.

    Args:
        memory_bytes: resident memory of all its processes together.
        disk_bytes: any single file, and by how much the disk's free space may fall.
        open_files: file descriptors of one process.
        processes: how many processes at once.
    """

    memory_bytes: int
    disk_bytes: int = 8 * 2**30
    open_files: int = 4096
    processes: int = 256


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


def launch(
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
    shim = [sys.executable, "-I", "-S", str(Path(__file__).with_name("sandbox_shim.py")), str(mortal)]
    shim.append(",".join(f"{number}={value}" for number, value in rlimits.items()))
    _adopt_orphans(True)
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
    _leaders.add(process.pid)
    return process


def end(process: subprocess.Popen[bytes], started: float) -> int:
    """Kill the process and all that came of it, and reap them. Idempotent.

    Killing a parent makes its children ours (see `_adopt_orphans`), so this repeats until there are none.

    Args:
        process: from `launch`.
        started: its `psutil` creation time.

    Returns:
        The exit code of the process, negative for a signal.

    Raises:
        HaltError: the process does not die: it hangs in the kernel, most likely in a driver.
    """
    descendants = [] if sys.platform == "linux" else _descendants(process.pid)
    # The leader is reaped last: until then no new process can have its number.
    with suppress(ProcessLookupError, PermissionError):
        if process.returncode is None:
            os.killpg(process.pid, 9)
    try:
        code = process.wait(timeout=DIE_WITHIN_S)
    except subprocess.TimeoutExpired as error:
        what = f"process {process.pid} was killed {DIE_WITHIN_S:g} s ago and is still there"
        raise HaltError(what, fix="look at the system's log for a hanging driver; restart the machine") from error
    _leaders.discard(process.pid)
    for descendant in descendants:
        with suppress(psutil.NoSuchProcess):
            descendant.kill()
    deadline = time.monotonic() + END_WITHIN_S
    while (left := strays(started)) and time.monotonic() < deadline:
        for pid in left:
            with suppress(ProcessLookupError):
                os.kill(pid, 9)
        for pid in left:
            _reap(pid, deadline)
    if not _leaders:
        _adopt_orphans(False)
    return code


def strays(started: float) -> list[int]:
    """Orphans of trials that this process has adopted: its children, in foreign sessions, younger than `started`."""
    own = os.getsid(0)
    found: list[int] = []
    for pid in children_of(os.getpid()):
        with suppress(ProcessLookupError, psutil.NoSuchProcess):
            if pid not in _leaders and os.getsid(pid) != own and psutil.Process(pid).create_time() > started:
                found.append(pid)
    return found


def children_of(pid: int) -> list[int]:
    """The direct children of a process; empty when it is gone."""
    tasks = Path(f"/proc/{pid}/task")
    try:
        threads = os.listdir(tasks)
    except OSError:
        return [] if sys.platform == "linux" else [child.pid for child in _descendants(pid) if child.ppid() == pid]
    children: list[int] = []
    for thread in threads:
        with suppress(OSError):  # a thread may end while we look
            children += map(int, (tasks / thread / "children").read_text().split())
    return children


def remove_scratch(scratch: Path) -> None:
    """Remove a trial's folder, whatever it did to its permissions. What cannot be removed stays: it harms nobody."""

    def again(function: object, path: str, error: object) -> None:
        """Once more, with permissions."""
        with suppress(OSError):
            os.chmod(os.path.dirname(path), 0o700)
            os.chmod(path, 0o700)
            os.rmdir(path) if os.path.isdir(path) and not os.path.islink(path) else os.unlink(path)

    shutil.rmtree(scratch, onerror=again)


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
        remove_scratch(folder)
    return killed


def _adopt_orphans(on: bool) -> None:
    """While a trial runs, become the parent of its orphans: a daemon that forks twice stays in reach (Linux)."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, int(on), 0, 0, 0)


def _descendants(pid: int) -> list[psutil.Process]:
    try:
        return psutil.Process(pid).children(recursive=True)
    except psutil.NoSuchProcess:
        return []


def _reap(pid: int, deadline: float) -> None:
    """Wait for a killed child of ours until `deadline`: one that hangs in the kernel must not hang the loop."""
    with suppress(ChildProcessError):
        while os.waitpid(pid, os.WNOHANG)[0] == 0 and time.monotonic() < deadline:
            time.sleep(0.001)
