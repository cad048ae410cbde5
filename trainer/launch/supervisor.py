"""The process between the loop and a trial: it outlives neither, and leaves nothing of the trial behind.

Forked by the fork server, a child of the loop. It makes the places that the trial is locked into (a control group,
namespaces), forks the trial into them, and waits: for the trial's end, or for the end of a pipe that only the loop
holds open. Either way it then kills whatever the trial has started, reaps it, and ends the way that the trial did.
"""

import ctypes
import faulthandler
import fcntl
import json
import os
import select
import signal
import time
from collections.abc import Sequence
from contextlib import suppress
from typing import NoReturn

from trainer.launch.fork_server import Order
from trainer.sandbox import bubblewrap, confine
from trainer.sandbox.levels import Isolation
from trainer.sandbox.processes import FIRST_FD, PR_SET_CHILD_SUBREAPER

PR_SET_PDEATHSIG, PR_SET_NAME = 1, 15
SUPERVISOR, TRIAL = b"supervisor", b"trial"
"""What the processes are called in a listing of processes; the fork server keeps its interpreter's name."""
PARENT_POLL_S = 0.0002
REAP_POLL_S = 0.001
GIVE_UP_AFTER_S = 30.0
"""A process that has been killed and does not die hangs in the kernel: the loop will say so."""


def tell(report: int, **said: object) -> None:
    """One line to the loop about how the start of the trial goes."""
    with suppress(OSError):
        os.write(report, json.dumps(said).encode() + b"\n")


def supervise(order: Order, lifeline: int, report: int, passed: Sequence[int]) -> None:
    """In a fresh child of the fork server: start the trial and see it through.

    Args:
        order: what to start.
        lifeline: read end of the pipe that the loop holds open.
        report: write end of the pipe on which the loop waits to hear that the trial is confined.
        passed: the trial's stdout and stderr, and then what it gets under the numbers from `FIRST_FD` on.

    Returns:
        In the trial's process only, when that is confined.
    """
    middle = os.getpid()
    if os.fork():
        os._exit(0)
    while os.getppid() == middle:
        time.sleep(PARENT_POLL_S)
    tell(report, supervisor=os.getpid())  # from here on the loop has a child to reap
    try:
        # A session of its own: what is sent to the trial's group must not reach the one that watches it.
        os.setsid()
        ctypes.CDLL(None).prctl(PR_SET_NAME, SUPERVISOR, 0, 0, 0)
        # Inherited by all below: who ignores the end of children is not credited with what they have used.
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        _prctl(PR_SET_CHILD_SUBREAPER, 1)
        for path in order.procs_files:
            path.write_text("0")
        holder = bubblewrap.start(order.permissions) if order.permissions.level >= Isolation.L3 else None
        if holder is not None:
            holder.join()
        supervisor = os.getpid()
        trial = os.fork()
    except BaseException as error:  # noqa: BLE001 — whatever it is, this process must not go on as the server
        tell(report, error=f"{type(error).__name__}: {error}")
        os._exit(1)
    if trial == 0:
        _become_trial(order, supervisor, report, passed)
        return
    for fd in passed:
        os.close(fd)
    with suppress(OSError):
        # Held as long as we live: when memory is short the kernel forgets folders of /proc that nobody holds, and with
        # them the rule that lets the trial read its own.
        os.open(f"/proc/{trial}", os.O_PATH | os.O_CLOEXEC)
    tell(report, trial=trial)
    os.close(report)
    _wait(trial, lifeline)
    status = _kill(trial)
    if holder is not None:
        holder.end()
    _end_others()
    _end_like(status)


def _become_trial(order: Order, supervisor: int, report: int, passed: Sequence[int]) -> None:
    """Everything between the fork and the first line of the program."""
    try:
        _prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() not in (supervisor, 0):  # 0: it is outside our namespace
            os._exit(1)
        os.setsid()
        ctypes.CDLL(None).prctl(PR_SET_NAME, TRIAL, 0, 0, 0)
        report = _arrange_descriptors(report, passed)
        os.chdir(order.permissions.scratch)
        os.environ.clear()
        os.environ.update(order.environment)
        confine.enter(order.permissions)
    except BaseException as error:  # noqa: BLE001 — whatever it is, what is not confined must not run
        tell(report, error=f"{type(error).__name__}: {error}")
        os._exit(1)
    tell(report, confined=True)
    os.close(report)


def _arrange_descriptors(report: int, passed: Sequence[int]) -> int:
    """Put the trial's descriptors where it expects them and close every other; returns where the report is now."""
    end = FIRST_FD + len(passed) - 1
    # Out of the way first: a descriptor may have the number that another one is to get.
    output, *others, report = (fcntl.fcntl(fd, fcntl.F_DUPFD, end + 1) for fd in (*passed, report))
    # Not the server's: flags, signals and owners belong to what was opened, and the next trial would find them there.
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(output, 1)
    os.dup2(output, 2)
    for number, fd in enumerate(others, start=FIRST_FD):
        os.dup2(fd, number)
    os.dup2(report, end, inheritable=False)
    os.closerange(end + 1, os.sysconf("SC_OPEN_MAX"))
    return end


def _wait(trial: int, lifeline: int) -> None:
    pidfd = os.pidfd_open(trial)
    select.select([pidfd, lifeline], [], [])
    os.close(pidfd)


def _kill(trial: int) -> int:
    """The trial's exit status; it is killed unless it has ended."""
    os.kill(trial, signal.SIGKILL)  # it is not reaped, so nothing else can have its number
    return os.waitpid(trial, 0)[1]


def _end_others() -> None:
    """Kill the processes that were left to us when their parents died, and theirs, until there are none."""
    deadline = time.monotonic() + GIVE_UP_AFTER_S
    while time.monotonic() < deadline:
        try:
            reaped, _ = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if reaped:
            continue
        for child in _children():
            with suppress(ProcessLookupError):
                os.kill(child, signal.SIGKILL)
        time.sleep(REAP_POLL_S)


def _children() -> list[int]:
    """Our children. In another process namespace's /proc we are not to be found; there, no orphan comes to us."""
    with suppress(OSError), open(f"/proc/self/task/{os.getpid()}/children", encoding="ascii") as file:
        return [int(pid) for pid in file.read().split()]
    return []


def _end_like(status: int) -> NoReturn:
    """End with the same exit code, or by the same signal."""
    code = os.waitstatus_to_exitcode(status)
    if code < 0:
        faulthandler.disable()
        with suppress(OSError):  # SIGKILL needs no arrangement and allows none
            signal.signal(-code, signal.SIG_DFL)
        os.kill(os.getpid(), -code)
    os._exit(code)


def _prctl(option: int, value: int) -> None:
    ctypes.CDLL(None).prctl(option, value, 0, 0, 0)
