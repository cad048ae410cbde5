"""The loop is killed anywhere from its first start to a decision about an ordinary trial.

Two files, so that two workers can walk the list of `tests.support.killing_points`.
"""

import pytest

from tests.support.killing import Point
from tests.support.killing_matrix import Matrix
from tests.support.killing_points import POINTS, walked

HERE = [point for point in POINTS if point.chapter in ("first", "easy")]


@pytest.mark.parametrize("point", walked([p for p in HERE if not p.ended]))
def test_killed_there_it_goes_on_as_if_nothing_had_happened(matrix: Matrix, point: Point) -> None:
    matrix.check(point)
