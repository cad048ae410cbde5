"""What tests of trial processes share: the levels of isolation there are here, and what must not be left of a trial."""

import os
from contextlib import suppress

import psutil
import pytest

from agents.model import local_server
from trainer.launch import fork_server_main
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
    # Supervisors have the same command line, as they are forked from it, but a name of their own.
    return [child for child in _running(fork_server_main.__name__, of) if child.name() != SUPERVISOR.decode()]


def left_over() -> list[psutil.Process]:
    """Children of this process in sessions of their own that are no server: what a trial has left.

    The model's server is one that the tests of a whole session share.
    """
    servers = {server.pid for server in [*fork_servers(), *_running(local_server.__name__)]}
    return [
        child
        for child in psutil.Process().children()
        if os.getsid(child.pid) != os.getsid(0)
        if child.pid not in servers
    ]


def _running(module: str, of: int | None = None) -> list[psutil.Process]:
    """The children of a process, by default of this one, that were started as this module."""
    found: list[psutil.Process] = []
    for child in psutil.Process(of).children():
        with suppress(psutil.ZombieProcess):
            if module in child.cmdline():
                found.append(child)
    return found
