"""Whether the disk has room to go on, and a file to throw overboard when it has none.

A loop pauses long before a write could fail half-way; deleting the ballast makes room to put the pause on record.
"""

import os
import shutil
import sys
from pathlib import Path

from graph.workspace import Workspace
from memory.atomic import disk_errors
from rails.errors import DiskFullError
from trainer.data.cache import default_cache

MIB = 1024 * 1024
MIN_FREE_BYTES = 512 * MIB
"""A night starts, or goes on after a pause, with at least this: the store, the snapshot and one trial's scratch fit."""
PAUSE_BELOW_BYTES = 256 * MIB
"""Below this at the workspace the loop pauses. Well under `MIN_FREE_BYTES`, so that it does not go to and fro."""
BALLAST_BYTES = 64 * MIB
"""Room for a checkpoint of the store and a whole new snapshot of a campaign of thousands of trials."""


def require_room(workspace: Workspace) -> None:
    """Refuse to begin anything that the disk might not hold.

    Raises:
        DiskFullError: less than `PAUSE_BELOW_BYTES` free at the workspace.
    """
    free = free_bytes(workspace.state_dir)
    if free < PAUSE_BELOW_BYTES:
        raise DiskFullError(
            f"only {free / MIB:.0f} MiB are free, below {PAUSE_BELOW_BYTES / MIB:.0f} the loop pauses",
            where=str(workspace.root),
            fix=f"free some space: it goes on by itself with {MIN_FREE_BYTES / MIB:.0f} MiB",
        )


def free_bytes(path: Path) -> int:
    """What this user may still write on the disk of `path`, which need not exist yet."""
    return shutil.disk_usage(existing(path)).free


def existing(path: Path) -> Path:
    """`path`, or the nearest folder above it that is there."""
    return next(place for place in (path, *path.absolute().parents) if place.exists())


def has_room(workspace: Workspace) -> bool:
    """Whether the disk has enough to start a night or to go on with one: `MIN_FREE_BYTES`."""
    return too_full(workspace) is None


def too_full(workspace: Workspace) -> tuple[Path, int] | None:
    """The folder, the workspace or the cache, whose disk has too little room, and the bytes it has; None: all is well.

    The ballast counts as room: a night that has just put it down is not to be told that the disk is full.
    """
    ballast = Ballast(workspace).bytes
    for folder in (workspace.root, default_cache()):
        beside = existing(folder).stat().st_dev == existing(workspace.root).stat().st_dev
        free = free_bytes(folder) + (ballast if beside else 0)
        if free < MIN_FREE_BYTES:
            return folder, free
    return None


class Ballast:
    """A file to delete when the disk is full: `.nightshift/ballast`, blocks that are really taken and hold nothing."""

    def __init__(self, workspace: Workspace) -> None:
        self._path = workspace.state_dir / "ballast"

    @property
    def bytes(self) -> int:
        """What releasing it would free."""
        return self._path.stat().st_blocks * 512 if self._path.is_file() else 0

    def restore(self) -> None:
        """Make it, or make it whole. Costs nothing when it is there.

        Raises:
            DiskFullError: there is no room for it.
            HaltError: it cannot be written.
        """
        if self.bytes >= BALLAST_BYTES:
            return
        with disk_errors(self._path):
            descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
            try:
                _allocate(descriptor)
            except OSError:
                self.release()
                raise
            finally:
                os.close(descriptor)

    def release(self) -> None:
        """Delete it."""
        self._path.unlink(missing_ok=True)


def _allocate(descriptor: int) -> None:
    if sys.platform == "linux":
        os.posix_fallocate(descriptor, 0, BALLAST_BYTES)
        return
    for _ in range(BALLAST_BYTES // MIB):
        os.write(descriptor, os.urandom(MIB))  # zeros might be stored as a hole
    os.fsync(descriptor)
