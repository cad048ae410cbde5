"""The same attacks, and the same honest work, at every isolation level that can be had here, as root and as not.

Nothing of a level is taken on trust: an attack that a level must stop is made, and is looked at from outside too.
L1 stops none of the first kind: it is for accidents. /dev/shm is there from L3 on: below it nothing could clear it.
"""

import functools
import json
from collections.abc import Generator
from typing import Any

import pytest

from tests.support.arena import Arena
from tests.support.isolation_program import ATTACKS, HONEST

USERS = ("root", "user")
LEVELS = ("L1", "L2", "L3", "L4")


@pytest.fixture(scope="module")
def arenas() -> Generator[dict[str, Arena | str]]:
    """Arena by user, or why there is none."""
    found: dict[str, Arena | str] = {}
    for user in USERS:
        try:
            found[user] = Arena(user)
        except RuntimeError as error:
            found[user] = str(error)
    yield found
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
def at(request: pytest.FixtureRequest, arenas: dict[str, Arena | str], results: dict[tuple[str, str], At]) -> At:
    user, level = request.param
    arena = arenas[user]
    if isinstance(arena, str):
        pytest.skip(arena)
    if arena.levels[level]:
        pytest.skip(arena.levels[level])
    if (user, level) not in results:
        results[user, level] = At(arena, level)
    return results[user, level]


def places(since: str = "L1") -> list[tuple[str, str]]:
    return [(user, level) for user in USERS for level in LEVELS if level >= since]


@pytest.mark.parametrize(
    ("at", "name"), [(place, name) for name, (since, _) in ATTACKS.items() for place in places(since)], indirect=["at"]
)
def test_an_attack_is_stopped(at: At, name: str) -> None:
    said = at.said[name]
    assert said["did"] is not True, said
    assert not said["note"].startswith("ended with"), said
    assert at.all["outside"][name] is False


@pytest.mark.parametrize(
    ("at", "name"), [(place, name) for name, (since, _) in HONEST.items() for place in places(since)], indirect=["at"]
)
def test_honest_work_works(at: At, name: str) -> None:
    assert at.said[name]["did"] is True, at.said[name]


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
