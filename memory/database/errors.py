"""What an error of DuckDB means to a person: a full disk, a store that another process has open, a damaged store."""

import re
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import duckdb

from memory.atomic import disk_full, says_full
from rails.errors import BusyError, HaltError, NightshiftError, UserError

_BROKEN = (duckdb.FatalException, duckdb.InternalException, duckdb.SerializationException, duckdb.IOException)
"""What is left of these, when none of the reasons below is named, is a file that cannot be read."""

_DAMAGE = ("Corrupt", "replaying WAL")
_CANNOT_WRITE = ("Could not write", "Could not sync", "Could not truncate", "Could not remove", "fsync")
_CANNOT_OPEN = ("Permission denied", "Cannot open file", "Could not open file", "Could not create")


class DamagedStoreError(HaltError):
    """The store's file does not hold what was written into it.

    Args:
        why: what is wrong with it.
        path: the store.
    """

    def __init__(self, why: str, path: Path) -> None:
        self.why = why
        fix = "`nightshift restore` rebuilds it from what was published of it, and keeps the damaged file"
        super().__init__(f"the store is damaged ({why})", where=str(path), fix=fix)


@contextmanager
def store_errors(path: Path) -> Generator[None]:
    """Turn an error of DuckDB at the store into one with a way out. A mistake of the caller's stays what it is.

    Raises:
        DiskFullError, HaltError: there is no room or no memory, the store cannot be written, or it is damaged.
        BusyError, UserError: another process has it open; it cannot be opened at all.
    """
    try:
        yield
    except duckdb.Error as error:
        known = store_error(path, error)
        if known is not None:
            raise known from error
        raise


def store_error(path: Path, error: BaseException) -> NightshiftError | None:
    """What an error at the store means, with a way out; None when it says nothing about the store."""
    if not isinstance(error, duckdb.Error):
        return None
    where, text = str(path), str(error)
    first = text.splitlines()[0] if text else type(error).__name__
    if says_full(text):
        return disk_full(path)
    if isinstance(error, duckdb.OutOfMemoryException):
        return HaltError(f"there is not enough memory ({first})", where=where, fix="free some, then run again")
    if _any(_CANNOT_WRITE, text):
        fix = "check the disk and the folder's permissions, then run again: nothing that was stored is lost"
        return HaltError(f"the store cannot be written ({first})", where=where, fix=fix)
    return _opening_error(where, text, first) or _damage(path, error, first)


def _opening_error(where: str, text: str, first: str) -> NightshiftError | None:
    if "Could not set lock" in text:
        holder = re.search(r"PID (\d+)", text)
        who = f"process {holder[1]}" if holder else "another process"
        return BusyError(f"the store is open in {who}", where=where, fix="wait for it, or stop it")
    if "version number" in text:
        return UserError(f"another DuckDB wrote the store ({first})", where=where, fix="install a newer DuckDB")
    if _any(_CANNOT_OPEN, text):
        return UserError(f"the store cannot be opened ({first})", where=where, fix="check the folder's permissions")
    return None


def _damage(path: Path, error: duckdb.Error, first: str) -> DamagedStoreError | None:
    broken = isinstance(error, _BROKEN) or _any(_DAMAGE, str(error))
    return DamagedStoreError(first, path) if broken else None


def _any(words: tuple[str, ...], text: str) -> bool:
    return any(word in text for word in words)
