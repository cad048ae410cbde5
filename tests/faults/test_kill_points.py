"""The list of kill points covers what it must, and the night that is killed has everything in it."""

import inspect
from collections import Counter

import pytest

from graph.state import Node
from memory.records import Phase
from memory.store import Store
from rails.status import Status
from tests.support.killing import COMMIT, Point, resolve
from tests.support.killing_digest import compare
from tests.support.killing_matrix import Matrix
from tests.support.killing_night import NIGHT, WHEN
from tests.support.killing_points import FOLDING, POINTS, RECOVERY

IN_NO_NIGHT = {"add_event", "add_many"}
"""Writing methods of the store that no point lies at: events are told twice rather than never, and no loop imports."""


def test_every_point_has_a_name_of_its_own_and_is_in_the_code() -> None:
    names = Counter(point.name for point in (*POINTS, *RECOVERY, *FOLDING))
    assert [name for name, number in names.items() if number > 1] == []
    for point in (*POINTS, *RECOVERY, *FOLDING):
        if point.target != COMMIT:
            resolve(point.target)


def test_a_point_that_is_not_in_the_code_is_found_out() -> None:
    for target in ("memory.store:Store.gone", "memory.gone:function", "memory.store:Gone.open"):
        with pytest.raises(LookupError, match=target):
            resolve(target)


def test_the_list_covers_every_node_every_phase_and_both_sides_of_every_boundary() -> None:
    assert {point.node for point in POINTS} == {*Node, None}
    assert {point.phase for point in POINTS} == {*Phase, None}
    assert boundaries(POINTS) == {(phase, when) for phase in (*Phase, None) for when in ("before", "after")}


def boundaries(points: tuple[Point, ...]) -> set[tuple[Phase | None, str]]:
    return {(point.into, point.when) for point in points if point.target == COMMIT}


def test_the_list_covers_every_kind_of_write_to_the_store() -> None:
    methods = {name for name, _ in inspect.getmembers(Store, inspect.isfunction) if not name.startswith("_")}
    writing = {name for name in methods if name.startswith(("add_", "open_", "finish_", "update_", "decide"))}
    at = {point.target.rpartition(".")[2] for point in (*POINTS, *RECOVERY)}
    # A trial is opened and updated where it gets into another phase, and seconds are stored where they are flushed.
    covered = at | IN_NO_NIGHT | {"open_trial", "update_trial", "add_spans"}
    assert {"flush_spans", "update_campaign"} <= at
    assert writing - covered == set()


@pytest.mark.system
def test_everything_that_can_happen_to_a_trial_happens_in_the_reference(matrix: Matrix) -> None:
    reference = matrix.reference(NIGHT[-1].name)
    campaign = reference["Campaign"][-1]
    trials = [row for row in reference["Trial"] if row["campaign_id"] == campaign["campaign_id"]]
    of = {row["seq"]: [m for m in reference["Measurement"] if m["trial_id"] == row["trial_id"]] for row in trials}
    statuses = [Status(row["status"]) for row in trials]
    blocked, discard = Status.RAIL_BLOCKED, Status.DISCARD
    assert statuses == [
        *(Status.BASELINE, discard, discard, blocked, discard, discard, Status.CRASH, Status.KEEP, blocked, discard)
    ]
    assert {row["created_at"] for row in trials} == {WHEN.isoformat().replace("+00:00", "Z")}
    assert (trials[2]["attempt"], trials[2]["repairs"]) == (1, 0), "corrected"
    assert trials[4]["reason"].startswith("hopeless at ")
    assert [m["state"] for m in of[4]] == ["stopped"]
    assert (trials[5]["repairs"], [m["state"] for m in of[5]]) == (1, ["failed", "measured"]), "repaired"
    assert (trials[6]["repairs"], [m["state"] for m in of[6]]) == (1, ["failed", "failed"]), "a crash for good"
    search = [[m["seed_index"] for m in of[seq] if m["purpose"] == "search"] for seq in (0, 7)]
    assert search == [[0, 1], [0, 1]], "candidate and incumbent were both measured again"
    assert [m["seed_index"] for seq in (0, 7) for m in of[seq] if m["purpose"] == "final"] == [1000, 1000]
    assert campaign["final"]["state"] == "done"
    assert campaign["stop_reason"] == "limit of 9 trials reached"
    assert campaign["head_commit"] == trials[7]["commit_sha"] != campaign["baseline_commit"]
    assert campaign["incumbent_trial_id"] == trials[7]["trial_id"]
    assert all(m["probes"] for m in reference["Measurement"] if m["state"] == "measured")
    lessons = [row for row in reference["Lesson"] if row["campaign_id"] == campaign["campaign_id"]]
    assert {row["source"] for row in lessons} == {"notes"}
    asked = [row["trial_id"] for row in reference["Call"] if row["role"] == "lesson"]
    assert [row["trial_id"] for row in reference["Lesson"]] == asked
    assert {table: len(reference[table]) > 8 for table in ("Call", "Verdict", "LineageBlock", "Lesson", "Curve")} == {
        table: True for table in ("Call", "Verdict", "LineageBlock", "Lesson", "Curve")
    }


@pytest.mark.system
def test_a_night_in_chapters_ends_like_a_whole_one(matrix: Matrix) -> None:
    compare(matrix.reference("whole"), matrix.reference(NIGHT[-1].name))
