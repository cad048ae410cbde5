"""How much CPU time a trial's processes have used, the dead included: the kernel's own accounts, read from outside.

A process's own time is its clock's, in nanoseconds, threads that have ended included. When it reaps a child it is
credited with all that the child was credited with; a child that nobody has reaped stays there to be read. So the sum
over a tree is whole as long as every process keeps its children until it reaps them: one that ignores SIGCHLD does
not. Programs cannot ignore it from L2 on (`trainer.sandbox.seccomp`).
"""

import os
import signal
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass

import psutil

from trainer.sandbox import processes

CLOCK_OF_ALL_THREADS = 2
"""The kind of clock in the low bits of a process's clock id; see clock_getcpuclockid(3)."""
TICK_S = 1.0 / os.sysconf("SC_CLK_TCK")
TICKS_HIDDEN = 2
"""What a process was credited with is shown as user and system time, each rounded down to ticks."""
CHILDREN_TIMES, IGNORED_SIGNALS, START_TICKS = (13, 14), 30, 19
"""Places of proc_pid_stat(5)'s cutime and cstime, sigignore and starttime, counted from the state on."""


@dataclass(frozen=True, slots=True)
class CpuTime:
    """CPU seconds of all processes that a trial ever had.

    Attributes:
        seconds: what is counted.
        hidden_s: the most that rounding may have kept from the count.
        complete: whether nothing else is left out.
    """

    seconds: float
    hidden_s: float = 0.0
    complete: bool = True


@dataclass(frozen=True, slots=True)
class _Account:
    """What the kernel says of one process."""

    own_s: float
    reaped_s: float
    ignores_children: bool
    start_ticks: int


def of_tree(trial: int, above: int | None = None, orphans: Sequence[int] = ()) -> CpuTime:
    """The CPU time of a trial and of all that came of it.

    Ancestors are read before their children: one that is reaped in between is missed until the next reading, and never
    counted twice.

    Args:
        trial: its first process.
        above: the supervisor above it, which gets the orphans: its own time is not the trial's.
        orphans: processes of the trial that this process has adopted.
    """
    if not os.path.isdir("/proc/self/task"):
        return _of_one(trial)
    complete = os.path.exists(f"/proc/self/task/{os.getpid()}/children")
    seconds, hidden_s, seen = 0.0, 0.0, set[int]()
    first = _account(trial)
    # The trial comes last, as the end of the list is taken first: in a namespace its orphans go to a process beside it.
    queue = [trial, *orphans] if above is None else [*orphans, above]
    while queue:
        pid = queue.pop()
        account = _account(pid)
        if account is None or pid in seen:
            continue
        seen.add(pid)
        seconds += account.reaped_s + (0.0 if pid == above else account.own_s)
        complete &= not account.ignores_children
        if first is not None and pid not in (trial, above) and account.start_ticks >= first.start_ticks:
            hidden_s += TICKS_HIDDEN * TICK_S
        children = processes.children_of(pid)
        queue += sorted(children, key=lambda child: child != trial)
    return CpuTime(seconds, hidden_s, complete)


def _of_one(pid: int) -> CpuTime:
    """Without /proc: the first process alone, which is all for as long as it has no children."""
    with suppress(psutil.Error):
        process = psutil.Process(pid)
        times = process.cpu_times()
        return CpuTime(times.user + times.system, complete=not process.children())
    return CpuTime(0.0)


def _account(pid: int) -> _Account | None:
    """What is counted of a process; None when it is gone."""
    try:
        own_s = time.clock_gettime(~pid << 3 | CLOCK_OF_ALL_THREADS)
        with open(f"/proc/{pid}/stat", "rb", buffering=0) as file:
            stat = file.read()
    except OSError:
        return None
    fields = stat[stat.rindex(b")") + 2 :].split()
    return _Account(
        own_s=own_s,
        reaped_s=TICK_S * sum(int(fields[place]) for place in CHILDREN_TIMES),
        ignores_children=bool(int(fields[IGNORED_SIGNALS]) >> (signal.SIGCHLD - 1) & 1),
        start_ticks=int(fields[START_TICKS]),
    )
