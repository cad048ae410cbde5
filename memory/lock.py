"""One loop per workspace, by an advisory lock that the kernel drops when its holder dies."""

import errno
import fcntl
import json
import os
import socket
from collections.abc import Generator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import psutil

from memory.atomic import disk_errors
from rails.errors import BusyError, UserError

_NOTE_BYTES = 512
"""Every note is padded to this length: replacing one needs no new room on a full disk, and is never seen half-done."""

_SAME_START_S = 1.5
"""Two start times of one process differ by rounding only; a process that got its number later started later."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Holder:
    """Who holds a workspace, or held it when it was killed."""

    pid: int
    host: str
    since: datetime
    started_s: float
    """When the process was started, in seconds after the machine was: that does not jump with the clock."""

    @property
    def alive(self) -> bool:
        """Whether that very process still runs on this machine. False also when it is another machine's."""
        if self.host != socket.gethostname():
            return False
        try:
            process = psutil.Process(self.pid)
            same = abs(_started_s(process) - self.started_s) < _SAME_START_S
            return same and process.status() != psutil.STATUS_ZOMBIE
        except psutil.Error:
            return False

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host}, since {self.since.isoformat('T', 'seconds')}"


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
        note = {
            "pid": os.getpid(),
            "host": socket.gethostname(),
            "since": datetime.now(UTC).isoformat("T", "seconds"),
            "started_s": own_start_s(),
        }
        with disk_errors(path):
            _write_note(descriptor, json.dumps(note))
        try:
            yield
        finally:
            with suppress(OSError):  # a note that stays names a process that may long be about something else
                _write_note(descriptor, "")
    finally:
        # Closing drops the lock: nobody else holds this descriptor, as Python's are not inherited.
        os.close(descriptor)


def holder(path: Path) -> Holder | None:
    """Who the note in the lock file at `path` names: the one that holds it, or was killed while it did.

    Looks at the note only and never takes the lock, so that asking can make no starting loop fail.

    Returns:
        The holder, to be asked whether it is `alive`; None when nobody holds it, or has only just begun to.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
    except OSError:
        return None
    try:
        return _read_note(descriptor)
    finally:
        os.close(descriptor)


def _acquire(descriptor: int, path: Path) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in (errno.EWOULDBLOCK, errno.EACCES):
            what = f"another loop is at work here ({_read_note(descriptor) or 'it has only just started'})"
            fix = "wait for it, watch it with `nightshift watch`, or end it with Ctrl-C where it runs"
            raise BusyError(what, where=str(path.parent), fix=fix) from error
        what = f"this file system cannot lock files ({error.strerror})"
        raise UserError(what, where=str(path), fix="put the workspace on a local disk") from error


def _write_note(descriptor: int, text: str) -> None:
    os.pwrite(descriptor, text.ljust(_NOTE_BYTES).encode(), 0)
    os.ftruncate(descriptor, _NOTE_BYTES)


def _read_note(descriptor: int) -> Holder | None:
    """Who the note names. The holder may be between locking and writing it, so anything may be in there."""
    try:
        note = json.loads(os.pread(descriptor, _NOTE_BYTES, 0))
        since = datetime.fromisoformat(note["since"])
        return Holder(pid=int(note["pid"]), host=str(note["host"]), since=since, started_s=float(note["started_s"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def own_start_s() -> float:
    """When this process was started, as `Holder.started_s` has it."""
    return _started_s(psutil.Process())


def _started_s(process: psutil.Process) -> float:
    return process.create_time() - psutil.boot_time()
