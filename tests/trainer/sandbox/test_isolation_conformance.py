"""The same attacks, and the same honest work, at every isolation level that can be had here, as root and as not.

Each time only as the user who tests, at the best level that can be had; everything else with --all.
Nothing of a level is taken on trust: an attack that a level must stop is made, and is looked at from outside too.
L1 stops none of the first kind: it is for accidents. /dev/shm is there from L3 on: below it nothing could clear it.
"""

import functools
import json
import os
from collections.abc import Callable, Generator
from typing import Any

import pytest

from tests.support.arena import Arena
from tests.support.isolation_program import ATTACKS, HONEST
from tests.support.isolation_tools import Attempt
from trainer.sandbox.levels import best_isolation

USERS = ("root", "user")
LEVELS = ("L1", "L2", "L3", "L4")
EACH_TIME = (("user", "root")[os.getuid() == 0], best_isolation())

Arenas = Callable[[str], Arena | str]


@pytest.fixture(scope="module")
def arenas() -> Generator[Arenas]:
    """Gives a user's arena, made when it is first asked for, or why there is none."""
    found: dict[str, Arena | str] = {}

    def arena_of(user: str) -> Arena | str:
        if user not in found:
            try:
                found[user] = Arena(user)
            except RuntimeError as error:
                found[user] = str(error)
        return found[user]

    yield arena_of
    for arena in found.values():
        if isinstance(arena, Arena):
            arena.close()


class At:
    """One user's trials at one level."""

    def __init__(self, arena: Arena, level: str) -> None:
        self.run = functools.partial(arena.run, level)
        names = [name for name, (since, _) in {**ATTACKS, **HONEST}.items() if level >= since]
        self.all = self.run("everything", names=names)
        self.said: dict[str, dict[str, Any]] = {
            said["name"]: said for said in map(json.loads, self.all["lines"]) if "name" in said
        }


@pytest.fixture(scope="module")
def results() -> dict[tuple[str, str], At]:
    return {}


@pytest.fixture
def at(request: pytest.FixtureRequest, arenas: Arenas, results: dict[tuple[str, str], At]) -> At:
    user, level = request.param
    arena = arenas(user)
    if isinstance(arena, str):
        pytest.skip(arena)
    if arena.levels[level]:
        pytest.skip(arena.levels[level])
    if (user, level) not in results:
        results[user, level] = At(arena, level)
    return results[user, level]


def places(since: str = "L1", *name: str) -> list[Any]:
    """Where something is tried, as parameters, with a name of what it is if there is one."""
    return [
        pytest.param((user, level), *name, marks=[] if (user, level) == EACH_TIME else [pytest.mark.system])
        for user in USERS
        for level in LEVELS
        if level >= since
    ]


def each(attempts: dict[str, tuple[str, Attempt]]) -> list[Any]:
    """All attempts, each at every place from its level on."""
    return [place for name, (since, _) in attempts.items() for place in places(since, name)]


@pytest.mark.parametrize(("at", "name"), each(ATTACKS), indirect=["at"])
def test_an_attack_is_stopped(at: At, name: str) -> None:
    said = at.said[name]
    assert said["did"] is not True, said
    assert not said["note"].startswith("ended with"), said
    assert at.all["outside"][name] is False


@pytest.mark.parametrize(("at", "name"), each(HONEST), indirect=["at"])
def test_honest_work_works(at: At, name: str) -> None:
    assert at.said[name]["did"] is True, at.said[name]


@pytest.mark.parametrize("at", places(), indirect=True)
def test_a_trial_can_read_about_itself(at: At) -> None:
    lines = at.run("own_process")["lines"]
    assert lines == [*(f"{name} True" for name in ("status", "maps", "stat", "statm", "task")), "trial"]


@pytest.mark.parametrize("at", places(), indirect=True)
def test_no_trial_shares_anything_writable_with_the_next(at: At) -> None:
    first, second = (json.loads(at.run("inherited")["lines"][0]) for _ in range(2))
    assert first == second
    assert first["shared"] == []


@pytest.mark.parametrize("at", places(), indirect=True)
def test_nothing_survives_a_trial(at: At) -> None:
    left = at.run("daemon", until="left")
    assert left["lines"] == ["left"]
    assert not left["left_running"]
    assert not at.all["left_running"]


@pytest.mark.parametrize("at", places("L4"), indirect=True)
def test_a_fork_bomb_is_bounded(at: At) -> None:
    bomb = at.run("fork_bomb", bomb=400, processes=20, until="}")
    assert 0 < json.loads(bomb["lines"][0])["made"] <= 80
    assert not bomb["left_running"]


@pytest.mark.system
@pytest.mark.parametrize("at", [("user", "L3")], indirect=True)
def test_a_fork_bomb_of_an_ordinary_user_is_bounded_by_its_namespace(at: At) -> None:
    bomb = at.run("fork_bomb", bomb=400, processes=20, until="}")
    assert 0 < json.loads(bomb["lines"][0])["made"] <= 80


@pytest.mark.parametrize("at", places("L4"), indirect=True)
@pytest.mark.parametrize("run", ["take_memory", "take_hidden_memory"])
def test_memory_ends_at_the_limit(at: At, run: str) -> None:
    taken = at.run(run, mebibytes=400, memory_mib=150)
    assert taken["lines"][0] == "taking"
    assert len(taken["lines"]) == 1 or "took" not in taken["lines"][1]
    assert taken["out_of_memory"]


@pytest.mark.parametrize("at", places("L4"), indirect=True)
def test_memory_below_the_limit_is_given(at: At) -> None:
    taken = at.run("take_memory", mebibytes=50, memory_mib=400)
    assert taken["lines"] == ["taking", "took 50"]
    assert taken["code"] == 0
    assert not taken["out_of_memory"]
