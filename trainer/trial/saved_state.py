"""What a training leaves behind: a memory file that the trial writes once and nobody can change afterwards.

The trained process will be questioned; copies of it are questioned too. Both must be the same model, so what a copy is
made from is sealed the moment that training is over, and a trial that kept a way to change it is out.
"""

import errno
import fcntl
import os
import tempfile

from rails.errors import TrialError
from rails.status import Status

CHUNK_BYTES = 2**20


def create(name: str = "nightshift-state") -> int:
    """A file descriptor of an empty file in memory that can be sealed; of an unnamed temporary file elsewhere."""
    if hasattr(os, "memfd_create"):
        return os.memfd_create(name, os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    with tempfile.TemporaryFile() as file:
        return os.dup(file.fileno())


def seal(fd: int) -> int:
    """Make the file's content final.

    Returns:
        A descriptor of the content that nobody can change, at its beginning: of the same file where the kernel can seal
        it, else of a copy.

    Raises:
        TrialError: the trial still has the file mapped for writing (status `disqualified`).
        OSError: no room for a copy.
    """
    if not hasattr(fcntl, "F_ADD_SEALS"):
        return _copy(fd)
    wanted = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE
    try:
        fcntl.fcntl(fd, fcntl.F_ADD_SEALS, wanted | fcntl.F_SEAL_SEAL)
    except OSError as error:
        # EPERM: the trial has sealed it against further seals. Enough, when those it set are the ones we want.
        if error.errno != errno.EPERM or fcntl.fcntl(fd, fcntl.F_GET_SEALS) & wanted != wanted:
            what = "it can still change the state that it saved: a writable mapping of the file was left open"
            raise TrialError(Status.DISQUALIFIED, what) from error
    return reopen(fd)


def reopen(fd: int) -> int:
    """The same file for reading, with a position of its own where the system can do that."""
    try:
        return os.open(f"/proc/self/fd/{fd}", os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return os.dup(fd)


def _copy(fd: int) -> int:
    copy, at = create(), 0
    while chunk := os.pread(fd, CHUNK_BYTES, at):
        at += os.pwrite(copy, chunk, at)
    return copy
