"""Opening the store's file: made whole or not at all, read through before it is trusted, copied before it changes."""

import os
import secrets
import shutil
import tempfile
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import duckdb

from memory.atomic import disk_errors, sync_directory, sync_file
from memory.database.backup import back_up
from memory.database.errors import DamagedStoreError, store_error
from memory.database.inspection import cut_torn_end, inspect, log_path
from memory.database.journal import JOURNAL, fold
from memory.database.migrations.runner import LEDGER, migrate, newest_version, schema_version
from memory.database.queries import CONNECT_CONFIG, create_views
from rails.errors import HaltError, NightshiftError, UserError

SNAPSHOT = "snapshot"
"""Folder beside the store that the loop publishes into."""

BACKUPS = "backups"
"""Folder beside the store for copies from before a migration."""

CONFIG: dict[str, str | bool | int | float | list[str]] = {
    **CONNECT_CONFIG,
    "allocator_flush_threshold": "1MB",  # what is freed goes back to the system: the memory is the training's, too
    "allocator_bulk_deallocation_flush_threshold": "1MB",
    "temp_directory": "",  # giving memory back would spill into it, and a kill would leave it there
}

Note = Callable[[str], None]

_GONE = "its file is gone"


def open_database(path: Path, note: Note) -> tuple[duckdb.DuckDBPyConnection, int]:
    """Open the store at `path`, or make it, and bring it to the newest schema.

    A new store appears under its name when it is whole. One that is there is read through first; nothing is written
    into it when it is damaged or newer, not even its write-ahead log.

    Args:
        path: the file.
        note: told what a person should know: where a backup is.

    Returns:
        A connection with the views, and the version of the schema.

    Raises:
        BusyError: another process has it open.
        UserError: it cannot be opened, or a newer nightshift wrote it.
        DamagedStoreError: it cannot be read, rows are gone, or the whole file is gone that something was published of.
        DiskFullError, HaltError: it cannot be written; a migration failed.
    """
    backup = None
    try:
        if left_behind(path):
            raise DamagedStoreError(_GONE, path)
        if not path.exists():
            _create(path)
        connection, rows = _connect_inspected(path, path.with_name(SNAPSHOT))
        version = schema_version(connection)
        if version < newest_version() and any(count for name, count in rows.items() if name != LEDGER):
            backup = _backed_up(connection, path, version)
            note(f"the store has schema {version} and is brought to {newest_version()}; a copy from before: {backup}")
            connection = _connect(path)
    except duckdb.Error as error:
        raise _explained(path, error) from error
    try:
        if rows.get(JOURNAL):
            _fold(connection, path)
        schema = migrate(connection)
        create_views(connection)
    except BaseException as error:
        connection.close()
        if isinstance(error, duckdb.Error):
            raise _migration_error(path, error, backup) from error
        raise
    return connection, schema


def examine(path: Path) -> int:
    """Read the store at `path` through as `open_database` does, on a copy: no loop that starts meanwhile is in its way.

    There is one, or one is `left_behind`.

    Returns:
        The version of its schema.

    Raises:
        NightshiftError: as `open_database`, but nothing is written.
    """
    if not path.exists():
        raise DamagedStoreError(_GONE, path)
    with tempfile.TemporaryDirectory(prefix="nightshift-") as folder, disk_errors(Path(folder)):
        copy = Path(folder) / path.name
        for file in (path, log_path(path)):
            if file.exists():
                shutil.copyfile(file, copy.with_name(file.name))
        try:
            connection, rows = _connect_inspected(copy, path.with_name(SNAPSHOT))
            with closing(connection):
                if rows.get(JOURNAL):
                    _fold(connection, path)
                return schema_version(connection)
        except (duckdb.Error, DamagedStoreError) as error:
            found = _explained(path, error) if isinstance(error, duckdb.Error) else error
            if isinstance(found, DamagedStoreError):
                found = DamagedStoreError(found.why.replace(str(copy), str(path)), path)
            raise found from error


def left_behind(path: Path) -> bool:
    """Whether there was a store at `path` of which only its snapshot, or its write-ahead log, is left."""
    return not path.exists() and (log_path(path).exists() or (path.with_name(SNAPSHOT) / "manifest.json").exists())


def _create(path: Path) -> None:
    """Make an empty store: under another name, so that a kill leaves none rather than a torn one."""
    with disk_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = temporary_of(path)
        try:
            with _connect(temporary) as connection:
                migrate(connection)
            sync_file(temporary)
            temporary.rename(path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
        sync_directory(path.parent)


def temporary_of(path: Path) -> Path:
    """A new name beside `path` for a store in the making; whatever a kill left under such names is removed."""
    for leftover in path.parent.glob(f".{path.name}.*.tmp*"):
        leftover.unlink()
    return path.with_name(f".{path.name}.{os.getpid()}-{secrets.token_hex(4)}.tmp")


def _fold(connection: duckdb.DuckDBPyConnection, path: Path) -> None:
    """Bring the tables up to date with what a loop that was killed had written: its schema is the store's.

    Raises:
        DamagedStoreError: journal and tables do not fit each other.
        duckdb.Error: there is no room.
    """
    connection.begin()
    try:
        fold(connection)
        connection.commit()
    except BaseException as error:
        connection.rollback()
        if isinstance(error, duckdb.ConstraintException | duckdb.CatalogException | duckdb.BinderException):
            raise DamagedStoreError(
                f"its journal does not fit its tables: {str(error).splitlines()[0]}", path
            ) from error
        raise


def _connect(path: Path) -> duckdb.DuckDBPyConnection:
    return duckdb.connect(str(path), config=CONFIG)


def _connect_inspected(path: Path, published: Path) -> tuple[duckdb.DuckDBPyConnection, dict[str, int]]:
    """A connection to a store that can be trusted, and its rows per table."""
    try:
        connection = _connect(path)
    except duckdb.Error as error:
        if not cut_torn_end(path, error):
            raise
        connection = _connect(path)
    try:
        connection.execute("PRAGMA disable_checkpoint_on_shutdown")  # until we know that we may write
        version = schema_version(connection)
        if version > newest_version():
            raise UserError(
                f"a newer nightshift wrote the store: it has schema {version}, this one knows up to {newest_version()}",
                where=str(path),
                fix="use the nightshift that wrote it, or a newer one; nothing was changed",
            )
        rows = inspect(connection, path, published)
        connection.execute("PRAGMA enable_checkpoint_on_shutdown")
    except BaseException:
        connection.close()
        raise
    return connection, rows


def _backed_up(connection: duckdb.DuckDBPyConnection, path: Path, version: int) -> Path:
    """Close the store and copy it, its write-ahead log folded in."""
    try:
        if log_path(path).exists():
            connection.execute("CHECKPOINT")
    finally:
        connection.close()
    return back_up(path, path.with_name(BACKUPS), version)


def _explained(path: Path, error: duckdb.Error) -> NightshiftError:
    what = f"the store cannot be opened: {str(error).splitlines()[0]}"
    return store_error(path, error) or UserError(what, where=str(path), fix="move it away, or restore it")


def _migration_error(path: Path, error: duckdb.Error, backup: Path | None) -> NightshiftError:
    what = f"the store cannot be brought to schema {newest_version()} ({str(error).splitlines()[0]})"
    kept = f"; a copy from before is {backup}" if backup else ""
    fix = f"use the nightshift that wrote it: its rows are as they were{kept}"
    return store_error(path, error) or HaltError(what, where=str(path), fix=fix)
