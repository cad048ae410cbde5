"""Making a store anew from the published snapshot, and putting it in the place of the damaged one.

A snapshot has every column of every table, hidden ones included, as they were when it was published; what was written
later is lost. What a store has beside them is made again: the keys, and the ledger of its schema. Its journal is empty.
"""

from contextlib import closing
from pathlib import Path

import duckdb

from memory.atomic import disk_errors, disk_full, says_full, sync_directory, sync_file
from memory.database.errors import DamagedStoreError
from memory.database.inspection import log_path
from memory.database.opening import CONFIG, SNAPSHOT, examine, left_behind, temporary_of
from memory.records import utc_now
from memory.rescue.refusal import without_snapshot
from memory.snapshot.loading import fill_database
from memory.snapshot.manifest import read_manifest
from rails.errors import HaltError, UserError


def damage_of(path: Path) -> str | None:
    """What is wrong with the store at `path`; None when it is whole, or there never was one.

    Raises:
        NightshiftError: it cannot be examined.
    """
    if not path.exists() and not left_behind(path):
        return None
    try:
        examine(path)
    except DamagedStoreError as error:
        return error.why
    return None


def build(path: Path) -> Path:
    """Make a store of what was published of the one at `path`, under another name beside it.

    Returns:
        The new store, closed; to be removed or exchanged.

    Raises:
        HaltError: there is no snapshot that can be read, or (`DiskFullError`) no room.
        UserError: a newer nightshift wrote the snapshot.
    """
    snapshot = path.with_name(SNAPSHOT)
    try:
        manifest = read_manifest(snapshot)
    except UserError as error:
        raise HaltError(error.what, where=error.where, fix=without_snapshot(path)) from error
    with disk_errors(path):
        temporary = temporary_of(path)
    try:
        with closing(duckdb.connect(str(temporary), config=CONFIG)) as connection:
            fill_database(connection, snapshot, manifest)
            connection.execute("CHECKPOINT")
    except BaseException as error:
        remove(temporary)
        if not isinstance(error, duckdb.Error):
            raise
        if says_full(str(error)):
            raise disk_full(path) from error
        what = f"the snapshot is damaged, too ({str(error).splitlines()[0]})"
        raise HaltError(what, where=str(snapshot), fix=without_snapshot(path)) from error
    return temporary


def exchange(temporary: Path, path: Path) -> list[Path]:
    """Put a store that `build` made in the place of the damaged one at `path`.

    Killed in between, the store is gone but its snapshot is there: that can be restored again.

    Returns:
        Where the damaged store and its write-ahead log are now, as far as there were any.

    Raises:
        DiskFullError, HaltError: it cannot be done.
    """
    aside, kept = path.with_name(f"damaged-{utc_now():%Y%m%dT%H%M%S%fZ}.duckdb"), list[Path]()
    with disk_errors(path):
        if log_path(temporary).exists():  # closing it could not bring everything into the file
            raise disk_full(path)
        sync_file(temporary)
        for damaged, name in ((path, aside), (log_path(path), log_path(aside))):
            if damaged.exists():
                damaged.rename(name)
                kept.append(name)
        temporary.rename(path)
        sync_directory(path.parent)
    return kept


def remove(temporary: Path) -> None:
    """Remove what `build` made; gone already is fine."""
    for file in (temporary, log_path(temporary)):
        file.unlink(missing_ok=True)
