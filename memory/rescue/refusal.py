"""What can still be read of a damaged store, exported beside it. The store itself is left as it is.

Works on a copy, each table in a process of its own. Rows that the published snapshot has and the store no longer gives
are added from there. The rescue is a folder that `memory.reader.Reader` can open.
"""

import json
import shutil
from dataclasses import asdict, dataclass
from hashlib import file_digest, sha256
from pathlib import Path
from typing import Any

from memory.atomic import disk_errors, sync_directory, sync_file
from memory.database.backup import backups
from memory.database.errors import DamagedStoreError
from memory.database.inspection import log_path
from memory.database.opening import BACKUPS, SNAPSHOT
from memory.database.rows import TRIALS
from memory.records import utc_now
from memory.rescue.salvage import Salvage, salvage
from rails.errors import HaltError

_ACCOUNT = "rescue.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rescue:
    """What was saved of a damaged store."""

    folder: Path
    damaged_sha256: str
    """Of the store and its write-ahead log: the same damage is not exported twice."""
    from_store: dict[str, int]
    """Table to the number of rows that the store gave."""
    from_snapshot: dict[str, int]
    """Table to the number of rows that only the snapshot gave."""
    found: list[str]
    """What could not be read, in sentences."""

    def rows(self, table: str) -> int:
        """How many rows of a table were saved."""
        return self.from_store.get(table, 0) + self.from_snapshot.get(table, 0)


def refusal(path: Path, error: DamagedStoreError) -> HaltError:
    """The error for a damaged store, after saving what can be read of it.

    Raises:
        DiskFullError, HaltError: there is no room for the rescue, or it cannot be written.
    """
    saved = rescue(path)
    what = f"the store is damaged ({error.why}); {saved.rows(TRIALS.name)} trials were saved into {saved.folder}"
    kept = backups(path.with_name(BACKUPS))
    instead = f", or put {kept[-1]} in its place" if kept else ""
    fix = f"read README.txt there, move {path.name} and {log_path(path).name} away{instead}, then run again"
    return HaltError(what, where=str(path), fix=fix)


def rescue(path: Path) -> Rescue:
    """Export what can be read of the store at `path`, and what the snapshot beside it has on top.

    A store that was exported before, with the very same bytes, is not exported again.

    Raises:
        DiskFullError, HaltError: there is no room, or the folder cannot be written; nothing is left of the attempt.
    """
    with disk_errors(path.parent):
        for leftover in path.parent.glob(".rescue-*.tmp"):
            shutil.rmtree(leftover)
        digest = _digest(path)
        for account in sorted(path.parent.glob(f"rescue-*/{_ACCOUNT}")):
            earlier = _read_account(account)
            if earlier is not None and earlier.damaged_sha256 == digest:
                return earlier
        folder = path.with_name(f"rescue-{utc_now():%Y%m%dT%H%M%S%fZ}")
        temporary = path.with_name(f".{folder.name}.tmp")
        temporary.mkdir()
        try:
            saved = _saved(folder, digest, salvage(path, path.with_name(SNAPSHOT), temporary))
            _write_account(path, saved, temporary)
            temporary.rename(folder)
        except BaseException:
            shutil.rmtree(temporary, ignore_errors=True)
            raise
        sync_directory(path.parent)
    return saved


def _digest(path: Path) -> str:
    found = sha256()
    for part in (path, log_path(path)):
        if part.exists():
            with part.open("rb") as file:
                found.update(file_digest(file, "sha256").digest())
    return found.hexdigest()


def _saved(folder: Path, digest: str, found: Salvage) -> Rescue:
    return Rescue(
        folder=folder,
        damaged_sha256=digest,
        from_store=found.from_store,
        from_snapshot=found.from_snapshot,
        found=found.found,
    )


def _read_account(path: Path) -> Rescue | None:
    try:
        stored: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        stored["folder"] = path.parent
        return Rescue(**stored)
    except (OSError, ValueError, TypeError):
        return None


def _write_account(path: Path, saved: Rescue, temporary: Path) -> None:
    """Say what was done, for a person and for the next start, and bring all of it to the disk."""
    (temporary / _ACCOUNT).write_text(json.dumps(asdict(saved), default=str, indent=1), encoding="utf-8")
    (temporary / "README.txt").write_text(_readme(path, saved), encoding="utf-8")
    for file in temporary.iterdir():
        sync_file(file)
    sync_directory(temporary)


def _readme(path: Path, saved: Rescue) -> str:
    tables = sorted(saved.from_store.keys() | saved.from_snapshot.keys())
    counts = "\n".join(
        f"  {name:<15}{saved.from_store.get(name, 0):>10}{saved.from_snapshot.get(name, 0):>15}" for name in tables
    )
    found = "\n".join(f"  - {sentence}" for sentence in saved.found) or "  - every table could be read"
    return f"""Saved from a damaged store
==========================

The store {path}
is damaged. It was copied, and the copy was read; the store itself was left as it is (SHA-256 of the file's and its
log's SHA-256: {saved.damaged_sha256}).

What was found:
{found}

Rows saved, a Parquet file for each table:
  table            from store  from snapshot
{counts}

The snapshot is what nightshift had published last, in the folder `{SNAPSHOT}`.

How to go on: move {path.name} and {log_path(path).name} somewhere else, then `nightshift run`. It makes a new store
and starts a new campaign. Nothing removes this folder.
"""
