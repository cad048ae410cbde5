"""A full disk pauses the loop: nothing is torn, no trial fails of it, and the night goes on to the same end."""

import os
from collections.abc import Generator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from benchmarks.soaks.record import Record, differences
from graph.campaign.preflight import check_disk
from graph.limits.disk import (
    BALLAST_BYTES,
    MIN_FREE_BYTES,
    PAUSE_BELOW_BYTES,
    Ballast,
    free_bytes,
    has_room,
    require_room,
    too_full,
)
from graph.workspace import Workspace
from memory.git.ratchet import Ratchet
from memory.reader import Reader
from memory.records import EventKind
from rails.errors import DiskFullError, UserError
from tests.support.filling import MIB, PHASES, SMALL_DISK_MIB, FilledNight, fill, small_disk
from tests.support.workspaces import make_standin_workspace

TRIALS = 5


@pytest.fixture
def disk(tmp_path: Path) -> Generator[Path]:
    try:
        with small_disk(tmp_path / "disk", SMALL_DISK_MIB) as place:
            yield place
    except PermissionError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The same night on a disk with room."""
    root = make_standin_workspace(tmp_path_factory.mktemp("reference"))
    night = FilledNight(root, None, TRIALS)
    assert night.wait() == 0, night.said
    digest = Record(root).digest()
    assert len(digest["trials"]) == TRIALS + 1
    assert all(trial["metric"] is not None for trial in digest["trials"])
    assert any(trial["kept"] for trial in digest["trials"]), "no keep, so its phases are not tested"
    return digest


@pytest.mark.parametrize("phase", PHASES)
@pytest.mark.slow
def test_a_full_disk_pauses_the_night_which_then_ends_as_if_nothing_had_happened(
    disk: Path, reference: dict[str, Any], phase: str
) -> None:
    root = make_standin_workspace(disk)
    night = FilledNight(root, phase, TRIALS)
    try:
        status = night.wait_until_paused()
        assert status["state_reason"]
        with Reader.open(root / ".nightshift" / "snapshot") as reader:
            failed = reader.query(
                "SELECT trial, status FROM trials WHERE status NOT IN ('baseline', 'keep', 'discard')"
            )
        assert failed.rows == []
        night.free()
        assert night.wait() == 0, night.said
    finally:
        night.end()
    record = Record(root)
    assert differences(record.digest(), reference) == []
    assert record.fsck() == ""
    assert record.doubled() == []
    with Reader.open(root / ".nightshift" / "snapshot") as reader:
        kinds = [event.kind for event in reader.events(record.campaign.campaign_id)]
    assert EventKind.DISK_FULL in kinds
    assert EventKind.DISK_FREE in kinds
    assert list((root / ".nightshift" / "scratch").iterdir()) == []


def test_git_that_finds_no_room_for_a_ref_is_a_full_disk(disk: Path) -> None:
    """It says only that it could not write a lock."""
    root = make_standin_workspace(disk)
    ratchet = Ratchet(root, "train.py")
    head = ratchet.start("disk")
    kept = ratchet.commit_keep(head, "print()\n", "commit\n", "better", datetime(2026, 1, 1, tzinfo=UTC))
    fill(disk / "filler")
    with pytest.raises(DiskFullError):
        ratchet.advance(head, kept)
    (disk / "filler").unlink()
    ratchet.advance(head, kept)
    assert (root / "train.py").read_text() == "print()\n"


def workspace_in(folder: Path) -> Workspace:
    workspace = Workspace(folder)
    workspace.state_dir.mkdir(parents=True, exist_ok=True)
    return workspace


def test_ballast_takes_its_blocks_and_gives_them_back(disk: Path) -> None:
    workspace, before = workspace_in(disk / "night"), free_bytes(disk)
    ballast = Ballast(workspace)
    ballast.restore()
    ballast.restore()
    assert before - free_bytes(disk) >= BALLAST_BYTES
    assert ballast.bytes >= BALLAST_BYTES
    ballast.release()
    ballast.release()
    assert free_bytes(disk) == before
    assert ballast.bytes == 0


def test_half_a_ballast_is_made_whole(disk: Path) -> None:
    workspace = workspace_in(disk / "night")
    (workspace.state_dir / "ballast").write_bytes(b"\0" * MIB)
    Ballast(workspace).restore()
    assert Ballast(workspace).bytes >= BALLAST_BYTES


def test_a_ballast_for_which_there_is_no_room_leaves_nothing_behind(disk: Path) -> None:
    workspace = workspace_in(disk / "night")
    (disk / "other").write_bytes(b"\0" * (SMALL_DISK_MIB * MIB - BALLAST_BYTES // 2))
    before = free_bytes(disk)
    with pytest.raises(DiskFullError):
        Ballast(workspace).restore()
    assert Ballast(workspace).bytes == 0
    assert free_bytes(disk) == before


def test_the_loop_is_told_to_pause_below_the_mark(disk: Path, tmp_path: Path) -> None:
    assert SMALL_DISK_MIB * MIB < PAUSE_BELOW_BYTES
    with pytest.raises(DiskFullError, match=r"only 1\d\d MiB are free"):
        require_room(workspace_in(disk / "night"))
    if free_bytes(tmp_path) >= PAUSE_BELOW_BYTES:
        require_room(workspace_in(tmp_path / "night"))


def test_a_night_does_not_begin_on_a_disk_that_cannot_hold_it(disk: Path) -> None:
    workspace = workspace_in(disk / "night")
    assert not has_room(workspace)
    with pytest.raises(UserError, match="are needed"):
        check_disk(workspace.root)


def test_the_ballast_counts_as_room(monkeypatch: pytest.MonkeyPatch, disk: Path) -> None:
    """Else a loop that has put it down again would find the disk too full to go on."""
    workspace = workspace_in(disk / "night")
    monkeypatch.setenv("XDG_CACHE_HOME", str(disk / "cache"))
    free = free_bytes(disk)
    monkeypatch.setattr("graph.limits.disk.MIN_FREE_BYTES", free)
    Ballast(workspace).restore()
    assert has_room(workspace)
    (disk / "other").write_bytes(b"\0" * MIB)
    assert too_full(workspace) == (workspace.root, free - MIB)


def test_the_marks_are_apart() -> None:
    assert MIN_FREE_BYTES >= PAUSE_BELOW_BYTES + 2 * BALLAST_BYTES


def test_a_filled_disk_is_full_to_the_last_byte(disk: Path) -> None:
    fill(disk / "filler")
    with pytest.raises(OSError, match=os.strerror(28)):
        (disk / "more").write_bytes(b"x")
