"""Whether the disk has room to go on. A loop pauses long before a write could fail half-way."""

import shutil
from pathlib import Path

from graph.workspace import Workspace
from rails.errors import DiskFullError

MIB = 1024 * 1024
MIN_FREE_BYTES = 512 * MIB
"""A night starts, or goes on after a pause, with at least this: the store, the snapshot and one trial's scratch fit."""
PAUSE_BELOW_BYTES = 256 * MIB
"""Below this at the workspace the loop pauses. Well under `MIN_FREE_BYTES`, so that it does not go to and fro."""


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
