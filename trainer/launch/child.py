"""A launched trial as the loop holds it: what to wait for, what to look at, and how to end it."""

import os
import signal
import subprocess
import time
from contextlib import suppress
from typing import Protocol

import psutil

from trainer.launch.cpu_time import CpuTime, of_tree
from trainer.launch.fork_server import Started
from trainer.sandbox import processes
from trainer.sandbox.control_group import ControlGroup

SUPERVISOR_ENDS_WITHIN_S = 5.0
POLL_S = 0.005


class Child(Protocol):
    """A launched trial.

    Attributes:
        pid: the child of this process that lives exactly as long as the trial, and ends the way it did.
        trial_pid: the trial's first process; the same, where there is no supervisor.

    How it ended is an exit code, or the negative number of a signal.
    """

    pid: int
    trial_pid: int

    @property
    def returncode(self) -> int | None:
        """How it ended, once that is known."""
        ...

    @property
    def out_of_memory(self) -> bool:
        """Whether the kernel has killed a process of it at its control group's limit."""
        ...

    def poll(self) -> int | None:
        """How it ended, None while it runs. Reaps it."""
        ...

    def wait(self, timeout: float | None = None) -> int:
        """Wait for its end, and reap it.

        Raises:
            subprocess.TimeoutExpired: not within `timeout` seconds.
        """
        ...

    def processes(self, limit: int) -> list[int]:
        """The ids of its processes, whatever became of their parents; `limit` and one more at most."""
        ...

    def cpu_time(self) -> CpuTime:
        """What all its processes have used since it was launched, the dead included."""
        ...

    def end(self) -> int:
        """Kill it and all that came of it, and reap them. Idempotent.

        Returns:
            How it ended.

        Raises:
            HaltError: it does not die.
        """
        ...


class SpawnedChild:
    """A trial that is a child of this process, without a supervisor.

    Args:
        process: from `processes.spawn`.
        others: from `processes.present`, before that.
    """

    def __init__(self, process: subprocess.Popen[bytes], others: frozenset[int]) -> None:
        self._process, self._others = process, others
        self.pid = self.trial_pid = process.pid
        self.out_of_memory = False

    @property
    def returncode(self) -> int | None:
        """How it ended, once that is known."""
        return self._process.returncode

    def poll(self) -> int | None:
        """How it ended, None while it runs."""
        return self._process.poll()

    def wait(self, timeout: float | None = None) -> int:
        """Wait for its end."""
        return self._process.wait(timeout)

    def processes(self, limit: int) -> list[int]:
        """Its own processes, and the orphans that this process has adopted."""
        return _below([self.pid, *processes.strays(self._others)], limit)

    def cpu_time(self) -> CpuTime:
        """Read process by process."""
        return of_tree(self.pid, orphans=processes.strays(self._others))

    def end(self) -> int:
        """Kill it and all that came of it."""
        apart = [] if os.path.isdir("/proc/self") else processes.descendants(self.pid)
        # The leader is reaped last: until then no new process can have its number.
        with suppress(ProcessLookupError, PermissionError):
            if self._process.returncode is None:
                os.killpg(self.pid, signal.SIGKILL)
        processes.wait_for_death(self.pid, self._process.wait)
        for process in apart:
            with suppress(psutil.NoSuchProcess):
                process.kill()
        processes.end_strays(self.pid, self._others)
        return self._process.wait()


class ForkedChild:
    """A trial behind a supervisor, which is a child of this process.

    Args:
        started: the process ids.
        others: from `processes.present`, before the launch.
        lifeline: the write end of the pipe whose end is the supervisor's order to finish; owned from here on.
        group: the control group of both; owned from here on.
    """

    def __init__(self, started: Started, others: frozenset[int], lifeline: int, group: ControlGroup | None) -> None:
        self.pid, self.trial_pid, self._others = started.supervisor, started.trial, others
        self.returncode: int | None = None
        self._lifeline: int | None = lifeline
        self._group = group
        self._oom_killed = False

    @property
    def out_of_memory(self) -> bool:
        """Whether the kernel has killed a process of it at its control group's limit."""
        return self._oom_killed if self._group is None else self._group.oom_killed

    def poll(self) -> int | None:
        """How it ended, None while it runs."""
        if self.returncode is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self.returncode = os.waitstatus_to_exitcode(status)
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Wait for its end."""
        deadline = None if timeout is None else time.monotonic() + timeout
        while self.poll() is None:
            if deadline is not None and time.monotonic() > deadline:
                raise subprocess.TimeoutExpired("trial", timeout or 0.0)
            time.sleep(POLL_S)
        assert self.returncode is not None
        return self.returncode

    def processes(self, limit: int) -> list[int]:
        """All below the supervisor, and the orphans of a supervisor that was killed."""
        return _below([*processes.children_of(self.pid), *processes.strays(self._others)], limit)

    def cpu_time(self) -> CpuTime:
        """Read from the control group where that counts it, else process by process."""
        counted = None if self._group is None else self._group.cpu_s
        if counted is not None:
            return CpuTime(counted)
        return of_tree(self.trial_pid, above=self.pid, orphans=processes.strays(self._others))

    def end(self) -> int:
        """Have it killed by its supervisor; one that was stopped or hangs is killed itself, and we do its work."""
        if self._lifeline is not None:
            os.close(self._lifeline)
            self._lifeline = None
        try:
            code = self.wait(SUPERVISOR_ENDS_WITHIN_S)
        except subprocess.TimeoutExpired:
            os.kill(self.pid, signal.SIGKILL)
            processes.wait_for_death(self.pid, self.wait)
            code = self.wait()
        if self._group is not None:
            self._oom_killed = self._group.oom_killed
            self._group.kill()
        processes.end_strays(self.pid, self._others)
        if self._group is not None:
            self._group.remove()
            self._group = None
        return code


def _below(roots: list[int], limit: int) -> list[int]:
    found, queue = list[int](), roots
    while queue and len(found) <= limit:
        found.append(queue.pop())
        queue += processes.children_of(found[-1])
    return found
