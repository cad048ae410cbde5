"""Moderated variances: what many small samples say of the next one."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from memory.statistics.moderated import fit_prior
from tests.support.examples import examples


def drawn(count: int, sds: list[float], n: int = 4, seed: int = 1) -> list[tuple[int, float]]:
    """So many samples of n values, the sd of each taken in turn from `sds`."""
    rng = random.Random(seed)
    found: list[tuple[int, float]] = []
    for number in range(count):
        values = [rng.gauss(0.0, sds[number % len(sds)]) for _ in range(n)]
        mean = sum(values) / n
        found.append((n - 1, sum((value - mean) ** 2 for value in values)))
    return found


def test_equal_variances_are_known_together() -> None:
    prior = fit_prior(drawn(60, [0.01]), guess=0.02**2, guess_df=5)
    assert prior.variance == pytest.approx(0.01**2, rel=0.25)
    assert prior.df > 15
    variance, df = prior.moderate(2 * 0.03**2, 2)
    assert variance < 0.015**2, "one wide sample of three is luck"
    assert df > 15


def test_of_different_variances_each_sample_tells_its_own() -> None:
    prior = fit_prior(drawn(60, [0.01, 0.01, 0.01, 0.05]), guess=0.02**2, guess_df=5)
    assert prior.df < 4
    variance, df = prior.moderate(6 * 0.05**2, 6)
    assert variance > 0.035**2
    assert df < 10


def test_without_any_sample_the_guess_counts_little_more_than_one_value() -> None:
    prior = fit_prior([], guess=0.02**2, guess_df=5)
    assert prior.variance == pytest.approx(0.02**2)
    assert (1 < prior.df < 3, prior.known_df) == (True, 5)
    assert prior.moderate(0.0, 0)[0] == pytest.approx(0.02**2)


def test_no_more_degrees_of_freedom_than_there_are() -> None:
    prior = fit_prior(drawn(3, [0.01]), guess=0.01**2, guess_df=2)
    assert prior.known_df == 11
    assert prior.moderate(1e-4, 1)[1] <= 12


@settings(deadline=None, max_examples=examples(60))
@given(
    st.lists(st.tuples(st.integers(1, 7), st.floats(0, 1e3)), max_size=20),
    st.floats(1e-12, 1e3),
    st.sampled_from([1e-6, 1.0, 1e6]),
)
def test_the_unit_does_not_matter(samples: list[tuple[int, float]], guess: float, unit: float) -> None:
    here = fit_prior(samples, guess, 5)
    there = fit_prior([(df, squares * unit) for df, squares in samples], guess * unit, 5)
    assert there.variance == pytest.approx(here.variance * unit, rel=1e-6)
    assert there.df == pytest.approx(here.df, rel=1e-6)
    assert here.variance > 0 and here.df >= 1
