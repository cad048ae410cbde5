"""One loop per workspace, by an advisory lock that the kernel drops when its holder dies."""

import errno
import fcntl
import json
import os
import socket
from collections.abc import Generator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from memory.atomic import disk_errors
from rails.errors import BusyError, UserError

_READ_AT_MOST = 4096


@contextmanager
def workspace_lock(path: Path) -> Generator[None]:
    """Hold the lock file at `path` while the block runs.

    The file is made with its folder, says who holds it, and stays: removing it would let two loops hold two files of
    one name. A killed holder leaves no lock behind, only its note.

    Raises:
        BusyError: another process holds it; the message names its pid, host and since when.
        UserError: the file system has no locks (some network shares).
        HaltError: the file cannot be made.
    """
    with disk_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o666)
    try:
        _acquire(descriptor, path)
        note = {"pid": os.getpid(), "host": socket.gethostname(), "since": datetime.now(UTC).isoformat("T", "seconds")}
        with disk_errors(path):
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, json.dumps(note).encode(), 0)
        yield
    finally:
        # Closing drops the lock: nobody else holds this descriptor, as Python's are not inherited.
        os.close(descriptor)


def _acquire(descriptor: int, path: Path) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in (errno.EWOULDBLOCK, errno.EACCES):
            what = f"another loop is at work here ({_holder(descriptor)})"
            fix = "wait for it, watch it with `nightshift watch`, or end it with Ctrl-C where it runs"
            raise BusyError(what, where=str(path.parent), fix=fix) from error
        what = f"this file system cannot lock files ({error.strerror})"
        raise UserError(what, where=str(path), fix="put the workspace on a local disk") from error


def _holder(descriptor: int) -> str:
    """Who the note names. The holder may be between locking and writing it, so anything may be in there."""
    try:
        note = json.loads(os.pread(descriptor, _READ_AT_MOST, 0))
        return f"process {int(note['pid'])} on {note['host']}, since {note['since']}"
    except (ValueError, KeyError, TypeError):
        return "it has only just started"
