"""Curves in a terminal."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cli.terminal.plot import Frame, Series, plot

LINE = Series([(float(x), float(x)) for x in range(10)])


def frame(width: int = 18, height: int = 3, *, plain: bool = True) -> Frame:
    return Frame(width, height, 0.0, 9.0, "0", "9", plain)


def test_a_line_in_ascii() -> None:
    assert plot([LINE], frame()) == ["       9 |     .-'", "         |  .--'", "       0 |.-'", "          0      9"]


def test_a_line_in_braille_has_more_dots() -> None:
    lines = plot([LINE], frame(plain=False))
    assert all(0x2800 <= ord(c) < 0x2900 or c == " " for line in lines[:-1] for c in line[10:])
    assert lines[0].lstrip().startswith("9 │")
    assert lines[2].lstrip().startswith("0 │")


def test_a_dotted_curve_has_gaps() -> None:
    level = [(float(x), 1.0) for x in range(10)] + [(9.0, 0.0)]
    whole = "".join(plot([Series(level)], frame()))
    dotted = "".join(plot([Series(level, dotted=True)], frame()))
    assert whole.count("'") > dotted.count("'") > 1


def test_the_first_losses_do_not_crush_the_rest() -> None:
    falling = [(float(step), 10.0 if step < 2 else 3.0 - step / 100) for step in range(100)]
    assert plot([Series(falling)], Frame(40, 4, 0.0, 99.0, "", "", True))[0].split()[0] == "2.96"


@pytest.mark.parametrize("points", [[], [(0.0, math.nan)], [(0.0, math.inf)]])
def test_nothing_to_draw(points: list[tuple[float, float]]) -> None:
    assert plot([Series(points)], frame()) == []


@given(
    st.lists(st.tuples(st.floats(-1e6, 1e6), st.floats(allow_nan=True, allow_infinity=True)), max_size=60),
    st.integers(20, 120),
    st.integers(2, 12),
    st.booleans(),
)
def test_every_curve_stays_inside_its_frame(
    points: list[tuple[float, float]], width: int, height: int, plain: bool
) -> None:
    lines = plot([Series(sorted(points))], Frame(width, height, -1e6, 1e6, "0 %", "100 %", plain))
    if any(abs(y) < 1e100 for _, y in points):
        assert len(lines) == height + 1
        assert all(len(line) <= width for line in lines)
        assert any(line[10:].strip() for line in lines[:-1])
        assert not plain or all(line.isascii() for line in lines)
    else:
        assert lines == []
