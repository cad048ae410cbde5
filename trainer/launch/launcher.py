"""Launching trials: from a fork server where the system has what that needs, as new processes elsewhere."""

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from rails.errors import HaltError
from trainer.launch.child import Child, ForkedChild, SpawnedChild
from trainer.launch.fork_server import ForkServer, Order, ServerGone, Started, preloads
from trainer.sandbox import processes
from trainer.sandbox.control_group import ControlGroup
from trainer.sandbox.levels import Isolation
from trainer.sandbox.permissions import Permissions


def can_fork() -> bool:
    """Whether trials can be forked and supervised here: Linux, and a kernel that has descriptors of processes."""
    if sys.platform != "linux":
        return False
    try:
        os.close(os.pidfd_open(os.getpid()))
    except OSError:
        return False
    return True


class Launcher:
    """Starts trials that run with the same number of threads. Use it as a context manager, or close it.

    Args:
        threads: CPU threads of a trial.
        preload: modules to import ahead; see `preloads`.
        hidden: held-back files; see `trainer.launch.undocumented`.
        cold: start every trial as a new process, which only level L1 can do. Always so where nothing can be forked.
    """

    def __init__(
        self, *, threads: int, preload: Sequence[str] = (), hidden: Sequence[Path] = (), cold: bool = False
    ) -> None:
        self._threads, self._preload, self._hidden = threads, tuple(preload), tuple(hidden)
        self._cold = cold or not can_fork()
        self._server: ForkServer | None = None

    @classmethod
    def for_program(cls, source: str, *, threads: int, hidden: Sequence[Path] = (), cold: bool = False) -> Self:
        """A launcher for programs that import what `source` imports; others start later, and run all the same."""
        return cls(threads=threads, preload=preloads(source), hidden=hidden, cold=cold)

    def ready(self) -> None:
        """Start the fork server unless it runs, so that the time it takes is nobody's.

        Raises:
            HaltError: it could not be started.
        """
        if not self._cold and self._server is None:
            self._server = ForkServer(self._threads, self._preload, self._hidden)

    def launch(
        self,
        source_file: Path,
        permissions: Permissions,
        environment: dict[str, str],
        output_fd: int,
        pass_fds: Sequence[int] = (),
    ) -> Child:
        """Start a program in its scratch folder, in a session of its own, confined as its permissions say.

        Args:
            source_file: the program, in `permissions.scratch`.
            permissions: what it may do.
            environment: all of its environment variables.
            output_fd: for its stdout and stderr.
            pass_fds: what else it gets, in this order, under the numbers from `processes.FIRST_FD` on.

        Raises:
            HaltError: it could not be started, or not be confined as its permissions say.
            OSError: it could not be started.
        """
        if self._cold:
            if permissions.level is not Isolation.L1:
                raise ValueError(f"a new process cannot be confined at {permissions.level}")
            program, others = [sys.executable, source_file.name], processes.present()
            process = processes.spawn(
                program,
                scratch=permissions.scratch,
                environment=environment,
                output=output_fd,
                pass_fds=tuple(pass_fds),
                limits=permissions.limits,
            )
            return SpawnedChild(process, others)
        group = ControlGroup.create(permissions.limits) if permissions.level >= Isolation.L4 else None
        procs_files = () if group is None else tuple(group.procs_files)
        order = Order(
            source_file=source_file, permissions=permissions, environment=environment, procs_files=procs_files
        )
        try:
            return self._fork(order, group, output_fd, pass_fds)
        except BaseException:
            if group is not None:
                group.kill()
                group.remove()
            raise

    def close(self) -> None:
        """End the fork server. Trials that were launched go on."""
        if self._server is not None:
            self._server.close()
            self._server = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _fork(self, order: Order, group: ControlGroup | None, output: int, pass_fds: Sequence[int]) -> ForkedChild:
        lifeline, ours = os.pipe()
        try:
            with processes.census:
                processes.watch_over_trials()
                others = processes.present()
                started = self._ask(order, lifeline, output, pass_fds)
                processes.note_trial(started.supervisor)
            return ForkedChild(started, others, ours, group)
        except BaseException:
            os.close(ours)
            raise
        finally:
            os.close(lifeline)

    def _ask(self, order: Order, lifeline: int, output: int, pass_fds: Sequence[int]) -> Started:
        """Have it forked; a server that was killed is replaced once."""
        self.ready()
        assert self._server is not None
        try:
            return self._server.fork(order, lifeline, output, pass_fds)
        except ServerGone:
            self.close()
        self.ready()
        try:
            return self._server.fork(order, lifeline, output, pass_fds)
        except ServerGone as error:
            raise HaltError(f"the process that starts trials ended twice: {error}") from error
