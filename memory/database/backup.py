"""Copies of the store from before its schema was changed."""

import filecmp
import re
import shutil
from pathlib import Path

from memory.atomic import disk_errors, sync_directory, sync_file
from memory.records import utc_now

KEPT = 3
"""So many backups stay; older ones go when a new one is made."""

_NAME = re.compile(r"store-v(\d+)-(\d{8}T\d{12}Z)\.duckdb")
_TEMPORARY = ".store.tmp"


def backups(folder: Path) -> list[Path]:
    """The backups in `folder`, oldest schema first."""
    found = [path for path in folder.iterdir() if _NAME.fullmatch(path.name)] if folder.is_dir() else []
    return sorted(found, key=_order)


def back_up(store: Path, folder: Path, schema: int) -> Path:
    """Copy a store that nobody has open, and that has no write-ahead log, into `folder`.

    A copy that is there already is not made again: an upgrade that fails at every start would push out older ones.

    Args:
        store: the file.
        folder: where backups are kept; made when it is not there.
        schema: the store's schema version, for the name.

    Returns:
        The backup.

    Raises:
        DiskFullError, HaltError: it cannot be written. The store is not touched.
    """
    with disk_errors(folder):
        folder.mkdir(exist_ok=True)
        before = backups(folder)
        for path in before:
            if filecmp.cmp(path, store, shallow=False):
                return path
        path = folder / f"store-v{schema}-{utc_now():%Y%m%dT%H%M%S%fZ}.duckdb"
        temporary = folder / _TEMPORARY  # one name: the copy that a kill left is overwritten
        try:
            shutil.copyfile(store, temporary)
            sync_file(temporary)
            temporary.rename(path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
        sync_directory(folder)
        for old in before[: len(before) + 1 - KEPT]:
            old.unlink(missing_ok=True)
    return path


def _order(path: Path) -> tuple[int, str]:
    match = _NAME.fullmatch(path.name)
    assert match is not None, "only backups are put in order"
    return int(match[1]), match[2]
