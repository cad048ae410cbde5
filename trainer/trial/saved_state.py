"""What a training leaves behind: a memory file that the trial writes once and nobody can change afterwards.

The trained process will be questioned; replicas of it are questioned too. All must be the same model, so what a replica
is made from is sealed the moment that training is over, and a trial that kept a way to change it is out.

No replica gets the trial's own file. Contents are not all that a file is: the trained process can still turn holes into
pages, change modes and times, and whoever has the same file open can see it. Each replica gets a fresh, full copy.
"""

import errno
import fcntl
import os
import tempfile
import time
from collections.abc import Callable

from rails.errors import TrialError
from rails.status import Status

CHUNK_BYTES = 2**20
MEMORY_SHARE = 0.25
"""Of what a trial may take of the machine's memory: the trial's file and a copy of it are there at the same time."""
BUSY_FOR_S, POLL_S = 5.0, 0.01
"""For a moment a file can be called busy though nobody has it mapped: while the kernel moves or ages its pages."""


def create(name: str = "nightshift-state") -> int:
    """A file descriptor of an empty file in memory that can be sealed; of an unnamed temporary file elsewhere."""
    if hasattr(os, "memfd_create"):
        return os.memfd_create(name, os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    with tempfile.TemporaryFile() as file:
        return os.dup(file.fileno())


def seal(fd: int, limit_bytes: int, hold: Callable[[], None] = lambda: None) -> int:
    """Make the content final, where the kernel can do that, and take a copy of it.

    Args:
        fd: the file, as `create` gave it to us.
        limit_bytes: how large it may be, holes included: copies have none.
        hold: has the trial stand still; called before a busy file is tried again, so that no cheat uses that time.

    Returns:
        The copy; see `copy`.

    Raises:
        TrialError: the trial still has the file mapped for writing, or has sealed it its own way (`disqualified`); or
            it is too large (`crash`).
        OSError: no room for the copy.
    """
    if hasattr(fcntl, "F_ADD_SEALS"):
        wanted = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE
        try:
            _add_seals(fd, wanted | fcntl.F_SEAL_SEAL, hold)
        except OSError as error:
            # EPERM: the trial has sealed it against further seals. Enough, when those it set are the ones we want.
            if error.errno != errno.EPERM or fcntl.fcntl(fd, fcntl.F_GET_SEALS) & wanted != wanted:
                what = "it can still change the state that it saved: a writable mapping of the file was left open"
                raise TrialError(Status.DISQUALIFIED, what) from error
    size = os.fstat(fd).st_size
    if size > limit_bytes:
        mib = 2**20
        raise TrialError(Status.CRASH, f"it saved a state of {size // mib} MiB; {limit_bytes // mib} MiB are allowed")
    return copy(fd)


def copy(fd: int) -> int:
    """A new file with the same content, every page of it written, that nobody can change; at its beginning.

    Only our own descriptor is read: what the trial did to the file's mode does not matter.

    Raises:
        OSError: no room for it.
    """
    fresh, at = create(), 0
    try:
        while chunk := os.pread(fd, CHUNK_BYTES, at):
            at += os.pwrite(fresh, chunk, at)
        seal_for_good(fresh, writable=False)
    except BaseException:
        os.close(fresh)
        raise
    return fresh


def copy_for_replica(fd: int) -> int:
    """See `copy`.

    Raises:
        TrialError: no room for it (`crash`).
    """
    try:
        return copy(fd)
    except OSError as error:
        what = f"its replica failed: the state that it saved cannot be copied: {error.strerror}"
        raise TrialError(Status.CRASH, what) from error


def seal_for_good(fd: int, *, writable: bool) -> None:
    """Fix the size of a memory file of ours, its content too unless it is `writable`, and keep others from sealing it.

    Does nothing where files cannot be sealed.
    """
    if hasattr(fcntl, "F_ADD_SEALS"):
        size = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL
        _add_seals(fd, size if writable else size | fcntl.F_SEAL_WRITE)


def _add_seals(fd: int, seals: int, hold: Callable[[], None] = lambda: None) -> None:
    """Raises OSError: above all EBUSY, when it is still mapped for writing after `BUSY_FOR_S` of standing still."""
    deadline = None
    while True:
        try:
            fcntl.fcntl(fd, fcntl.F_ADD_SEALS, seals)
            return
        except OSError as error:
            if error.errno != errno.EBUSY or (deadline is not None and time.monotonic() > deadline):
                raise
        if deadline is None:
            hold()
            deadline = time.monotonic() + BUSY_FOR_S
        time.sleep(POLL_S)
