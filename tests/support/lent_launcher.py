"""One fork server for many campaigns: a test of the loop need not wait for Python and numpy in each of them."""

from collections.abc import Generator, Sequence
from contextlib import ExitStack, contextmanager
from functools import cache
from pathlib import Path

import pytest

from trainer.launch.child import Child
from trainer.launch.fork_server import preloads
from trainer.launch.launcher import Launcher
from trainer.sandbox.permissions import Permissions


class LentLauncher(Launcher):
    """A launcher that starts trials through another one, which outlives it."""

    def __init__(self, owner: Launcher) -> None:
        self._owner = owner

    def ready(self) -> None:
        """Start the owner's fork server."""
        self._owner.ready()

    def launch(
        self,
        source_file: Path,
        permissions: Permissions,
        environment: dict[str, str],
        output_fd: int,
        pass_fds: Sequence[int] = (),
    ) -> Child:
        """Start a program as the owner does."""
        return self._owner.launch(source_file, permissions, environment, output_fd, pass_fds)

    def close(self) -> None:
        """Nothing: the owner goes on."""


@contextmanager
def lent_launchers() -> Generator[None]:
    """While this lasts, campaigns of this process that want the same of a fork server share one."""
    made, imported = Launcher.for_program, cache(preloads)
    with ExitStack() as owned, pytest.MonkeyPatch.context() as patch:
        owners: dict[tuple[object, ...], Launcher] = {}

        def for_program(source: str, *, threads: int, hidden: Sequence[Path] = (), cold: bool = False) -> Launcher:
            wanted = imported(source), threads, tuple(hidden), cold
            if wanted not in owners:
                owners[wanted] = owned.enter_context(made(source, threads=threads, hidden=hidden, cold=cold))
            return LentLauncher(owners[wanted])

        patch.setattr(Launcher, "for_program", for_program)
        yield
