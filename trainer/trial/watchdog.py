"""Stops a trial that takes the machine down with it: memory, disk, files, processes.

Resident memory does not show what lies in memory files, so growth of the machine's shared memory counts too; and when
the machine has nearly none left the trial must go, whoever took it.
"""

import os
import shutil
import time
from contextlib import suppress
from pathlib import Path

import psutil

from trainer.launch.child import Child
from trainer.sandbox.permissions import Limits

CHECK_EVERY_S = 0.2
SHARE = 0.9
"""Of what was free at the launch: the machine needs the rest."""
MIB = 2**20


class Watchdog:
    """Looks at one trial's processes, a few times a second at most.

    Attributes:
        limits: what it may take.
        peak_rss_bytes: the most resident memory seen, of all its processes together.
    """

    def __init__(self, child: Child, scratch: Path, limits: Limits) -> None:
        self._child, self._scratch, self.limits = child, scratch, limits
        self._memory = psutil.virtual_memory()
        self._free_disk = shutil.disk_usage(scratch).free
        self._files = _files(scratch)
        self._next_check = time.monotonic() + CHECK_EVERY_S
        self.peak_rss_bytes = 0

    def check(self) -> str | None:
        """Why the trial must be killed now, or None. Cheap to call often."""
        now = time.monotonic()
        if now < self._next_check:
            return None
        self._next_check = now + CHECK_EVERY_S
        processes = self._child.processes(self.limits.processes)
        rss = sum(map(_rss, processes))
        self.peak_rss_bytes = max(self.peak_rss_bytes, rss)
        if len(processes) > self.limits.processes:
            return f"it started more than {self.limits.processes} processes"
        if rss > self.limits.memory_bytes:
            return f"it used {rss // MIB} MiB of memory, more than the limit of {self.limits.memory_bytes // MIB} MiB"
        return self._machine()

    def note_peak(self) -> None:
        """Add the kernel's own record of the leader's peak, which no sampling can miss."""
        with suppress(OSError, StopIteration, ValueError):
            status = Path(f"/proc/{self._child.trial_pid}/status").read_text()
            line = next(line for line in status.splitlines() if line.startswith("VmHWM:"))
            self.peak_rss_bytes = max(self.peak_rss_bytes, int(line.split()[1]) * 1024)

    def _machine(self) -> str | None:
        memory, before = psutil.virtual_memory(), self._memory
        shared = getattr(memory, "shared", 0) - getattr(before, "shared", 0)  # Linux only
        if shared > self.limits.memory_bytes:
            return f"the machine's shared memory grew by {shared // MIB} MiB while it ran"
        if memory.available < (1 - SHARE) * before.available:
            return f"the machine has only {memory.available // MIB} MiB of memory left"
        with suppress(OSError):
            written = self._free_disk - shutil.disk_usage(self._scratch).free
            if written > min(self.limits.disk_bytes, SHARE * self._free_disk):
                return f"the disk's free space fell by {written // MIB} MiB while it ran"
            if _files(self._scratch) - self._files > self.limits.files:
                return f"more than {self.limits.files:,} files were made on the disk while it ran"
        return None


def _files(folder: Path) -> int:
    """How many files there are on its disk; always 0 where the file system does not count them.

    How many there could be besides falls with the free space on some.
    """
    found = os.statvfs(folder)
    return found.f_files - found.f_ffree


def _rss(pid: int) -> int:
    with suppress(psutil.Error):
        return psutil.Process(pid).memory_info().rss
    return 0
