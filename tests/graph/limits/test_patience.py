"""Waits of our own: bounded, jittered, growing, never a spin."""

import random

from hypothesis import given
from hypothesis import strategies as st

from graph.limits.patience import Patience

SECONDS = st.floats(min_value=1e-3, max_value=1e4)


@given(st.integers(), SECONDS, st.floats(min_value=1.0, max_value=1e4), st.integers(min_value=1, max_value=60))
def test_every_wait_lies_between_the_first_and_the_ceiling(
    seed: int, first_s: float, factor: float, tries: int
) -> None:
    ceiling_s = first_s * factor
    patience = Patience(first_s=first_s, ceiling_s=ceiling_s, rng=random.Random(seed))
    wait_s = first_s
    for _ in range(tries):
        before_s, wait_s = wait_s, patience.next_wait_s(wait_s)
        assert first_s <= wait_s <= ceiling_s
        assert wait_s <= max(first_s, 3 * before_s)


@given(st.integers())
def test_the_first_wait_is_about_a_second(seed: int) -> None:
    assert 1.0 <= Patience(rng=random.Random(seed)).next_wait_s(1.0) <= 3.0


def test_waits_are_jittered_and_grow_to_the_ceiling() -> None:
    waits: list[list[float]] = []
    for seed in range(200):
        patience, wait_s = Patience(rng=random.Random(seed)), 1.0
        waits.append([wait_s := patience.next_wait_s(wait_s) for _ in range(30)])
    firsts = [row[0] for row in waits]
    assert len(set(firsts)) == 200
    assert 1.8 < sum(firsts) / 200 < 2.2
    assert max(max(row) for row in waits) == 300.0
    assert sum(row[-1] for row in waits) / 200 > 100
    # An hour without an answer is a few dozen tries, not thousands.
    hour = [next(n for n in range(1, 31) if sum(row[:n]) > 3600 or n == 30) for row in waits]
    assert 10 < sum(hour) / 200 <= 30
