"""Control groups: the kernel counts a trial's memory, tasks and CPU time exactly, and kills it in one go (cgroups(7)).

Version 2 is one tree with controllers that a folder's parent must have switched on, and processes only in its leaves;
version 1 is one tree per controller. A group is made wherever this user may make one with limits on both.
"""

import functools
import itertools
import os
import signal
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from rails.errors import HaltError
from trainer.sandbox.permissions import Limits

CONTROLLERS = ("memory", "pids")
ACCOUNTING = "cpuacct"
"""The controller of version 1 that counts CPU time. In version 2 every group does."""
NAME = "nightshift"
END_WITHIN_S = 10.0
REMOVE_WITHIN_S = 2.0
ABANDONED_AFTER_S = 60.0
POLL_S = 0.001

_numbers = itertools.count(1)


@dataclass(frozen=True, slots=True)
class Place:
    """Where a group can be made.

    Attributes:
        folders: the folder to make it in: one in version 2, one for each controller in version 1.
        unified: whether it is version 2.
        cpu: the folder to make one more in that counts CPU time, in version 1 where there is such a hierarchy.
    """

    folders: tuple[Path, ...]
    unified: bool
    cpu: Path | None = None


@dataclass(frozen=True, slots=True)
class ControlGroup:
    """The control group of one trial. Make it with `create`.

    Attributes:
        folders: its folders: one in version 2; in version 1 one that limits memory, and one that limits tasks.
        cpu: the one that counts CPU time, which may be one of them; None where no group can.
    """

    folders: tuple[Path, ...]
    unified: bool
    cpu: Path | None = None

    @classmethod
    def create(cls, limits: Limits) -> Self:
        """Make a group with limits and nothing in it. Groups that a loop which is gone has left are removed.

        Raises:
            OSError: there is no place where this user may make one; says what was tried.
        """
        tried: list[str] = []
        for place in places():
            name = f"{NAME}-{os.getpid()}-{next(_numbers)}"
            folders = tuple(folder / name for folder in place.folders)
            cpu = folders[0] if place.unified else place.cpu and place.cpu / name
            group = cls(folders, place.unified, cpu)
            try:
                _clear_abandoned(place)
                group._make(limits)
            except OSError as error:
                group.remove()
                tried.append(f"{place.folders[0]}: {error.strerror or error}")
            else:
                return group
        where = "; ".join(dict.fromkeys(tried)) or "no controllers for memory and tasks are mounted"
        raise PermissionError(f"no control group can be made here ({where})")

    @property
    def procs_files(self) -> tuple[Path, ...]:
        """A process that writes `0` into each of these has joined."""
        return tuple(folder / "cgroup.procs" for folder in self._all)

    @property
    def cpu_s(self) -> float | None:
        """CPU seconds of all that was ever in it; None where no group counts them."""
        if self.cpu is None:
            return None
        with suppress(OSError):
            if not self.unified:
                return int((self.cpu / "cpuacct.usage").read_text()) / 1e9
            counts = dict(line.split() for line in (self.cpu / "cpu.stat").read_text().splitlines())
            return int(counts["usage_usec"]) / 1e6
        return None

    @property
    def oom_killed(self) -> bool:
        """Whether the kernel has killed a process of it because it was over its memory limit."""
        name = "memory.events" if self.unified else "memory.oom_control"
        with suppress(OSError):
            counts = dict(line.split() for line in (self.folders[0] / name).read_text().splitlines())
            return int(counts.get("oom_kill", 0)) > 0
        return False

    def kill(self) -> None:
        """Kill every process in it, and wait until they are gone (a parent may still have to reap them). Idempotent.

        Raises:
            HaltError: one of them does not die: it hangs in the kernel.
        """
        with suppress(OSError):
            (self.folders[0] / "cgroup.kill").write_text("1")  # Linux 5.14
        with suppress(OSError):
            (self.folders[-1] / "pids.max").write_text("0")  # nothing new from here on
        deadline = time.monotonic() + END_WITHIN_S
        while left := self._processes():
            if time.monotonic() > deadline:
                what = f"processes of a trial were killed {END_WITHIN_S:g} s ago and are still there: {sorted(left)}"
                raise HaltError(what, fix="look at the system's log for a hanging driver; restart the machine")
            for pid in left:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            time.sleep(POLL_S)

    def remove(self) -> None:
        """Remove it. One that is not empty stays: the next loop removes it. Idempotent."""
        deadline = time.monotonic() + REMOVE_WITHIN_S
        for folder in self._all:
            while folder.is_dir() and not _remove(folder) and time.monotonic() < deadline:
                time.sleep(POLL_S)  # what was killed a moment ago still counts for a while

    @property
    def _all(self) -> tuple[Path, ...]:
        folders = self.folders if self.cpu is None else (*self.folders, self.cpu)
        return tuple(dict.fromkeys(folders))

    def _make(self, limits: Limits) -> None:
        for folder in self._all:
            folder.mkdir()
        memory, tasks = self.folders[0], self.folders[-1]
        if self.unified:
            (memory / "memory.max").write_text(str(limits.memory_bytes))
            _write_if_there(memory / "memory.swap.max", "0")
        else:
            (memory / "memory.limit_in_bytes").write_text(str(limits.memory_bytes))
            _write_if_there(memory / "memory.memsw.limit_in_bytes", str(limits.memory_bytes))
            _write_if_there(memory / "memory.swappiness", "0")
        (tasks / "pids.max").write_text(str(limits.tasks))

    def _processes(self) -> set[int]:
        found: set[int] = set()
        for path in self.procs_files:
            with suppress(OSError):
                found.update(map(int, path.read_text().split()))
        return found


@functools.cache
def places() -> tuple[Place, ...]:
    """Where groups may be possible, best first: below the loop's own group, beside it, at the top."""
    mounts = list(_mounts(Path("/proc/self/mountinfo").read_text()))
    own = dict(_memberships(Path("/proc/self/cgroup").read_text()))
    found: list[Place] = []
    for root, top, kind, _ in mounts:
        if kind == "cgroup2":
            folders = _candidates(root, top, own.get("", "/"))
            # Where the controllers are on already, nothing of the machine need be changed.
            ready = sorted(folders, key=lambda folder: not _switched_on(folder))
            found += [Place((folder,), True) for folder in ready if _switch_on(folder)]
    chains: dict[str, list[Path]] = {}
    for controller in (*CONTROLLERS, ACCOUNTING):
        for root, top, kind, options in mounts:
            if kind == "cgroup" and controller in options:
                chains[controller] = _candidates(root, top, own.get(controller, "/"))
                break
    if set(CONTROLLERS) <= set(chains):
        cpu = next((folder for folder in chains.get(ACCOUNTING, []) if os.access(folder, os.W_OK)), None)
        found += [Place(folders, False, cpu) for folders in itertools.product(*map(chains.__getitem__, CONTROLLERS))]
    return tuple(found)


def _mounts(mountinfo: str) -> Iterator[tuple[str, Path, str, list[str]]]:
    """Control group mounts as (the part of the tree that is mounted, where, type, options); see proc(5)."""
    for line in mountinfo.splitlines():
        before, _, after = line.partition(" - ")
        kind, _, options = after.split(" ", 2)
        if kind in ("cgroup", "cgroup2"):
            root, top = before.split(" ")[3:5]
            yield root, Path(top), kind, options.split(",")


def _memberships(cgroup: str) -> Iterator[tuple[str, str]]:
    """(controller, path of the group) of each hierarchy; version 2 has an empty name."""
    for line in cgroup.splitlines():
        _, controllers, path = line.split(":", 2)
        for controller in controllers.split(","):
            yield controller, path


def _candidates(root: str, top: Path, own: str) -> list[Path]:
    """Folders of a hierarchy to try: the process's own group, the one above, the top."""
    inside = own.removeprefix(root.rstrip("/")).strip("/")
    mine = top / inside if (top / inside).is_dir() and ".." not in inside else top
    return list(dict.fromkeys((mine, mine.parent if mine != top else top, top)))


def _switched_on(folder: Path) -> bool:
    with suppress(OSError):
        return set(CONTROLLERS) <= set((folder / "cgroup.subtree_control").read_text().split())
    return False


def _switch_on(folder: Path) -> bool:
    """Have the controllers on for the groups in a folder; False where that is not to be had."""
    if not _switched_on(folder):
        with suppress(OSError):
            (folder / "cgroup.subtree_control").write_text(" ".join(f"+{name}" for name in CONTROLLERS))
    return _switched_on(folder)


def _clear_abandoned(place: Place) -> None:
    """Remove empty groups of loops that are gone. One with processes in it cannot be removed, so stays."""
    for folder in place.folders if place.cpu is None else (*place.folders, place.cpu):
        for left in folder.glob(f"{NAME}-*-*"):
            pid = left.name.split("-")[1]
            with suppress(OSError):
                old = time.time() - left.stat().st_mtime > ABANDONED_AFTER_S
                if pid.isdecimal() and old and not os.path.exists(f"/proc/{pid}"):
                    _remove(left)


def _remove(folder: Path) -> bool:
    with suppress(OSError):
        folder.rmdir()
        return True
    return False


def _write_if_there(path: Path, text: str) -> None:
    """Set what not every kernel has; a kernel that has it and refuses is an error."""
    if path.exists():
        path.write_text(text)
