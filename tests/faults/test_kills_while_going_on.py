"""The loop is killed again while it goes on from a kill; and in every trial of one night."""

from dataclasses import replace

import pytest

from tests.support.killing import ANY, OPENING, Point
from tests.support.killing_digest import check_whole, compare, digest
from tests.support.killing_matrix import Matrix
from tests.support.killing_night import WHOLE
from tests.support.killing_points import FOLDING, POINTS, RECOVERY
from tests.support.variants import first

POOL = [point for point in POINTS if point.chapter != "first" and not point.ended]
EVERY = 6
DOUBLES = [(point, RECOVERY[number % len(RECOVERY)]) for number, point in enumerate(POOL[::EVERY])]
"""A sample of the pairs in which every second point comes at least once."""


def name(pair: tuple[Point, Point]) -> str:
    return ", then ".join(point.name for point in pair).replace(" ", "-")


def test_the_sample_has_every_second_point() -> None:
    assert {second for _, second in DOUBLES} == set(RECOVERY)


@pytest.mark.slow
@pytest.mark.parametrize("pair", DOUBLES, ids=[name(pair) for pair in DOUBLES])
def test_killed_twice_it_goes_on_as_if_nothing_had_happened(matrix: Matrix, pair: tuple[Point, Point]) -> None:
    matrix.check(pair[0], again=[pair[1]])


@pytest.mark.system
@pytest.mark.parametrize("second", first(1, FOLDING), ids=[point.when for point in FOLDING])
def test_killed_while_the_journal_is_folded_it_is_folded_by_the_next(matrix: Matrix, second: Point) -> None:
    (launched,) = (point for point in POINTS if point.name == "after the process is launched")
    matrix.check(launched, again=[second, second])


@pytest.mark.slow
@pytest.mark.parametrize("point", POOL, ids=lambda point: point.name.replace(" ", "-"))
def test_killed_at_every_point_of_going_on_in_turn_it_gets_there_in_the_end(matrix: Matrix, point: Point) -> None:
    matrix.check(point, again=RECOVERY)


@pytest.mark.slow  # half a minute; each of these kills is in the list
def test_a_night_that_is_killed_in_every_trial_ends_like_one_that_was_not(matrix: Matrix) -> None:
    wanted = (
        *(
            "after the measurement is opened",
            "to be measured again",
            "the repair is railed",
            "a hopeless end is committed",
        ),
        *("after the branch is moved", "a second crash is stored", "after the finale is announced"),
        *("the finale is scored", "before the commit of the end"),
    )
    points = sorted((p for p in POINTS if p.name in wanted), key=POINTS.index)
    assert len(points) == len(wanted)
    root = matrix.beginning_of(WHOLE)
    for point in sorted(points, key=in_order):
        stage = ANY if point.stage == OPENING else point.stage
        matrix.kill(root, replace(point, chapter=WHOLE.name, stage=stage), exactly=False)
    matrix.go_on(WHOLE, root)
    found = digest(root)
    compare(found, matrix.reference(WHOLE.name))
    check_whole(root, found)
    matrix.check_asked(root, points)


def in_order(point: Point) -> tuple[bool, int]:
    """As the night comes to them: its end has negative numbers."""
    stage = point.stage or 0
    return stage < 0, abs(stage)
