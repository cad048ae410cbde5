"""The one way to write a file that must never be seen half-written."""

import errno
import os
import secrets
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeAlias

from rails.errors import DiskFullError, HaltError

Identity: TypeAlias = tuple[int, ...]
"""Of a file's content: inode, size and times."""

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


def atomic_write_text(path: Path, text: str) -> None:
    """Replace the file at `path` with `text` in UTF-8, newlines as given. See `atomic_write_bytes`."""
    atomic_write_bytes(path, text.encode("utf-8"))


def atomic_write_bytes(path: Path, data: bytes, *, flush: bool = True) -> None:
    """Replace the file at `path` with `data`, or leave it as it was: never anything in between, also after power loss.

    Written to a temporary file beside it, flushed to disk, renamed, and the folder flushed. The file keeps its
    permission bits; a new one gets the process's default. A symbolic link is replaced, not followed.

    Args:
        path: the file.
        data: its new content.
        flush: False for what can be made again: several times faster, but after power loss the file may be empty.

    Raises:
        HaltError: the disk is full or the file cannot be written; the old file is still there.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}-{secrets.token_hex(4)}.tmp")
    with disk_errors(path):
        try:
            # Not tempfile: its files are 0600 whatever the umask says, and the rename would make that stick.
            descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o666)
            with open(descriptor, "wb") as file:
                if path.is_file() and not path.is_symlink():
                    os.fchmod(file.fileno(), path.stat().st_mode & 0o7777)
                file.write(data)
                file.flush()
                if flush:
                    os.fsync(file.fileno())
            os.replace(temporary, path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
        if flush:
            sync_directory(path.parent)


def sweep_temporaries(path: Path) -> None:
    """Remove what killed writers of `path` left beside it. Only for whoever is the one writer of `path`."""
    for leftover in path.parent.iterdir():
        name = leftover.name
        if name.startswith(f".{path.name}.") and name.endswith(".tmp") and leftover.is_file():
            leftover.unlink(missing_ok=True)


def identity(path: Path) -> Identity | None:
    """What differs after every change of a file that is replaced to change it; None when it is missing."""
    try:
        stat = path.stat()
    except FileNotFoundError:
        return None
    return stat.st_ino, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns


def sync_file(path: Path) -> None:
    """Flush a file's content to disk."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_directory(path: Path) -> None:
    """Flush a folder's entries to disk, so that a rename in it survives power loss."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def disk_errors(place: Path) -> Generator[None]:
    """Turn an operating-system error while writing at `place` into a HaltError with a way out.

    Raises:
        DiskFullError: there is no room, or no more than a quota or a limit allows.
        HaltError: it cannot be written for another reason.
    """
    try:
        yield
    except OSError as error:
        raise write_error(place, error) from error


def write_error(place: Path, error: OSError) -> HaltError:
    """What an operating-system error while writing at `place` means, with a way out."""
    if error.errno in _FULL:
        return disk_full(place)
    what = f"cannot be written ({error.strerror or error})"
    return HaltError(what, where=str(place), fix="check the folder's permissions, then run again")


def disk_full(place: Path) -> DiskFullError:
    """The error for a disk that is full when something is written at `place`."""
    fix = "free some space, then run the same command again; nothing recorded is lost"
    return DiskFullError("the disk is full", where=str(place), fix=fix)


def says_full(text: str) -> bool:
    """Whether a library's or a program's own words say that there was no room to write."""
    return any(os.strerror(number) in text for number in _FULL)
