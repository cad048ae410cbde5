"""What tests of trial processes share: the levels of isolation there are here, and what must not be left of a trial."""

import os
from contextlib import suppress

import psutil
import pytest

from trainer.launch.supervisor import SUPERVISOR
from trainer.sandbox.levels import Isolation, best_isolation, probe


def each_level() -> list[object]:
    """Every level of isolation as a parameter: the best that can be had here each time, the others with --all.

    Those that this machine cannot give are skipped, with the reason.
    """
    return [
        pytest.param(
            each.level, id=each.level, marks=[*_system(each.level), pytest.mark.skipif(not each.ok, reason=each.why)]
        )
        for each in probe()
    ]


def weakest_and_best() -> list[object]:
    """The two levels between which nothing may differ but what can be done to the machine; the weakest with --all."""
    return [pytest.param(level, id=level, marks=_system(level)) for level in sorted({Isolation.L1, best_isolation()})]


def _system(level: Isolation) -> list[pytest.MarkDecorator]:
    return [] if level is best_isolation() else [pytest.mark.system]


def fork_servers(of: int | None = None) -> list[psutil.Process]:
    """The fork servers of a process, by default of this one."""
    found: list[psutil.Process] = []
    for child in psutil.Process(of).children():
        with suppress(psutil.ZombieProcess):
            # Supervisors have the same command line, as they are forked from it, but a name of their own.
            if "trainer.launch.fork_server_main" in child.cmdline() and child.name() != SUPERVISOR.decode():
                found.append(child)
    return found


def left_over() -> list[psutil.Process]:
    """Children of this process in sessions of their own that are no fork server: what a trial has left."""
    servers = {server.pid for server in fork_servers()}
    return [
        child
        for child in psutil.Process().children()
        if os.getsid(child.pid) != os.getsid(0)
        if child.pid not in servers
    ]
