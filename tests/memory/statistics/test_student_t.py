import math
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from memory.statistics.student_t import t_cdf, t_quantile
from tests.support.examples import examples

PROPERTY = settings(deadline=None, max_examples=examples(50))
# Upper critical values, as printed in statistics textbooks (NIST/SEMATECH e-Handbook, table 1.3.6.7.2).
TABLE = [
    (0.90, 1, 3.078), (0.95, 1, 6.314), (0.975, 1, 12.706), (0.99, 1, 31.821), (0.995, 1, 63.657), (0.999, 1, 318.309),
    (0.90, 2, 1.886), (0.95, 2, 2.920), (0.975, 2, 4.303), (0.99, 2, 6.965), (0.995, 2, 9.925), (0.999, 2, 22.327),
    (0.95, 3, 2.353), (0.975, 3, 3.182), (0.95, 4, 2.132), (0.975, 4, 2.776), (0.95, 5, 2.015), (0.975, 5, 2.571),
    (0.975, 10, 2.228), (0.995, 10, 3.169), (0.975, 20, 2.086), (0.975, 30, 2.042), (0.975, 60, 2.000),
    (0.975, 100, 1.984), (0.999, 100, 3.174),
]  # fmt: skip


@pytest.mark.parametrize(("p", "df", "expected"), TABLE)
def test_quantiles_match_the_printed_table(p: float, df: int, expected: float) -> None:
    assert t_quantile(p, df) == pytest.approx(expected, abs=6e-4)
    assert t_cdf(t_quantile(p, df), df) == pytest.approx(p, abs=1e-13)


@PROPERTY
@given(st.floats(-1e6, 1e6))
def test_one_and_two_degrees_of_freedom_have_closed_forms(t: float) -> None:
    assert t_cdf(t, 1) == pytest.approx(0.5 + math.atan(t) / math.pi, abs=1e-12)
    assert t_cdf(t, 2) == pytest.approx(0.5 + t / (2 * math.sqrt(2 + t * t)), abs=1e-12)


def test_many_degrees_of_freedom_approach_the_normal_distribution() -> None:
    assert t_cdf(1.959963984540054, 1e6) == pytest.approx(0.975, abs=1e-6)


@PROPERTY
@given(st.floats(-1e3, 1e3), st.floats(0.5, 1e4))
def test_the_distribution_is_symmetric_about_one_half(t: float, df: float) -> None:
    assert t_cdf(t, df) + t_cdf(-t, df) == pytest.approx(1, abs=1e-12)
    assert t_cdf(0, df) == pytest.approx(0.5, abs=1e-12)


@PROPERTY
@given(st.floats(0.5, 1e3))
def test_the_distribution_rises(df: float) -> None:
    values = [t_cdf(step / 4, df) for step in range(-40, 41)]
    assert all(low < high or low == high == 1 for low, high in pairwise(values))


@pytest.mark.parametrize("df", [1, 3, 1000])
def test_the_ends_are_reached(df: int) -> None:
    assert t_cdf(math.inf, df) == 1
    assert t_cdf(-math.inf, df) == 0
    assert t_quantile(0.5, df) == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize(("p", "df"), [(0, 3), (1, 3), (math.nan, 3), (0.5, 0), (0.9, -1), (0.9, math.nan)])
def test_nonsense_is_refused(p: float, df: float) -> None:
    with pytest.raises(ValueError, match="needs"):
        t_quantile(p, df)
