"""What a killed git leaves in the repository is no trouble for the loop that goes on."""

import os
import time
from pathlib import Path

import pytest

from tests.support.killing import Point
from tests.support.killing_matrix import Matrix
from tests.support.killing_points import POINTS
from tests.support.variants import first

LOCKS = (
    "index.lock",
    "HEAD.lock",
    "config.lock",
    "packed-refs.lock",
    "refs/heads/autoresearch/night.lock",
    "refs/nightshift/candidates/0123456789012345678901234567890123456789.lock",
)
KEPT = next(point for point in POINTS if point.name == "after the commit of decided of a keep")
TRAINING = next(point for point in POINTS if point.name == "report 9 of training")


@pytest.mark.system
@pytest.mark.parametrize("age_s", first(1, [60, 0]), ids=["old", "fresh"])
@pytest.mark.parametrize("point", first(1, [KEPT, TRAINING]), ids=["kept", "training"])
def test_locks_are_removed_when_nobody_holds_them(matrix: Matrix, point: Point, age_s: float) -> None:
    def leave_locks(root: Path) -> None:
        then = time.time() - age_s
        for name in LOCKS:
            lock = root / ".git" / name
            lock.parent.mkdir(parents=True, exist_ok=True)
            lock.touch()
            os.utime(lock, (then, then))

    matrix.check(point, meddle=leave_locks)


@pytest.mark.system
def test_half_written_objects_and_files_are_no_trouble(matrix: Matrix) -> None:
    def leave_halves(root: Path) -> None:
        folder = root / ".git" / "objects" / "ab"
        folder.mkdir(exist_ok=True)
        (folder / "tmp_obj_Ab12Cd").write_bytes(b"x\x01half")
        (root / ".git" / "nightshift-ref").write_text("0123")
        (root / ".train.py.77-abcd.tmp").write_text("half a program")
        (root / ".results.tsv.77-abcd.tmp").write_text("half a table")
        snapshot = root / ".nightshift" / "snapshot"
        (snapshot / "manifest.json.tmp").write_text('{"schema":')
        (snapshot / "trials-0000-000000-16-deadbeef-1.parquet").write_bytes(b"PAR1")
        (root / ".nightshift" / "scratch" / "trial-gone").mkdir(parents=True)

    matrix.check(KEPT, meddle=leave_halves)


@pytest.mark.system
def test_objects_of_the_kept_commit_that_are_empty_are_written_again(matrix: Matrix) -> None:
    """Power was lost before the candidate was flushed; nothing points at it yet but a phase before the commit point."""
    point = next(point for point in POINTS if point.name == "the kept table's blob")

    def empty_newest(root: Path) -> None:
        objects = [path for path in (root / ".git" / "objects").glob("??/*") if path.is_file()]
        newest = max(objects, key=lambda path: path.stat().st_mtime_ns)
        newest.chmod(0o644)
        newest.write_bytes(b"")

    matrix.check(point, meddle=empty_newest)
