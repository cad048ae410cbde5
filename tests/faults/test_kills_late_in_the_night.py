"""The loop is killed anywhere in a hopeless, repaired, blocked or kept trial, while the result is measured, and while a
keep is undone.

Two files, so that two workers can walk the list of `tests.support.killing_points`.
"""

import pytest

from tests.support.killing import Point
from tests.support.killing_matrix import Matrix
from tests.support.killing_night import CHAPTERS
from tests.support.killing_points import POINTS, walked

HERE = [point for point in POINTS if point.chapter in ("hard", "keep", "end", "fall")]


@pytest.mark.parametrize("point", walked([p for p in HERE if not p.ended]))
def test_killed_there_it_goes_on_as_if_nothing_had_happened(matrix: Matrix, point: Point) -> None:
    matrix.check(point)


@pytest.mark.system
@pytest.mark.parametrize("point", walked([p for p in HERE if p.ended]))
def test_killed_when_all_was_over_the_record_is_whole(matrix: Matrix, point: Point) -> None:
    """There is nothing to go on with, and whoever asks for the same campaign again still gets all of it published."""
    chapter = CHAPTERS[point.chapter]
    root = matrix.beginning_of(chapter)
    matrix.kill(root, point)
    assert "the branch autoresearch/night exists already" in matrix.try_to_go_on(chapter, root)
    matrix.check_end(root, point)
