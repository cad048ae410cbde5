"""Which single-knob moves exist: neighbours, draws, cross rules, memory."""

import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.statistical.moves import MoveSpace, config_key
from tests.support.proposals import make_task

MENU = make_task().menu


def space(**knobs: Any) -> MoveSpace:
    return MoveSpace(MENU, {**MENU.defaults(), **knobs})


def values(where: MoveSpace, name: str, reach: int = 1) -> list[tuple[Any, int]]:
    return [(move.value, move.direction) for move in where.neighbours(name, reach)]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("depth", [(3, 1), (1, -1)]),
        ("width", [(192, 1), (64, -1)]),
        ("matrix_lr", [(0.04, 1), (0.01, -1)]),
        ("beta2", [(0.975, 1), (0.9, -1)]),
        ("warmup", [(0.05, 1)]),
        ("window", [("SL", 0), ("SSL", 0)]),
    ],
)
def test_neighbours(name: str, expected: list[tuple[Any, int]]) -> None:
    assert values(space(), name) == expected


def test_neighbours_keep_the_cross_rules() -> None:
    # Of the widths only multiples of 128 are left, and the next legal one is found beyond the illegal.
    assert values(space(head_dim=128), "width") == [(256, 1)]


def test_a_reach_of_two() -> None:
    assert values(space(depth=7), "depth", 2) == [(8, 1), (6, -1), (5, -1)]
    assert values(space(matrix_lr=0.15), "matrix_lr", 2) == [(0.2, 1), (0.075, -1), (0.0375, -1)]


def test_memory_is_a_rule_too() -> None:
    menu = make_task(size={"memory_bytes": "depth * 1000"}).menu
    where = MoveSpace(menu, menu.defaults(), size_limit_bytes=2_000)
    assert [move.value for move in where.neighbours("depth")] == [1]


def test_knobs_that_the_program_lost_are_left_alone() -> None:
    knobs = {name: value for name, value in MENU.defaults().items() if name != "warmup"}
    assert "warmup" not in MoveSpace(MENU, {**knobs, "own": 3}).names


def test_wide_ranges_are_drawn_by_factor() -> None:
    rng = random.Random(0)
    drawn = [space().draw("matrix_lr", rng) for _ in range(2_000)]
    low = sum(value < 0.0141 for value in drawn if isinstance(value, float))  # the middle of the range, by factor
    assert 850 < low < 1150


@given(name=st.sampled_from(list(MENU.knobs)), seed=st.integers(0, 10**9))
def test_draws_neighbours_and_lists_are_on_the_menu(name: str, seed: int) -> None:
    rng = random.Random(seed)
    start = space().draw(name, rng)
    where = space(**{name: start})
    assert MENU.knobs[name].check(where.draw(name, rng)) is None
    assert all(MENU.knobs[name].check(value) is None for value in where.every(name))
    for move in where.neighbours(name, 3):
        assert move.value != start
        assert MENU.knobs[name].check(move.value) is None
        assert MENU.broken_rule({**MENU.defaults(), name: start, move.knob: move.value}) is None
        assert where.after(name, move.value) != config_key({**MENU.defaults(), name: start})
