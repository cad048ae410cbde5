"""Namespaces of a trial's own, made by bubblewrap: the few files that it may read, no network, no other processes.

bubblewrap runs a program in new namespaces; a trial however is forked, so that it need not import torch again. So
bubblewrap runs a shell that does nothing, the *holder*, and the trial's supervisor joins the holder's namespaces. A
process joins a process namespace only through its children: what the supervisor forks next is in it.

Hidden files are covered by the supervisor once it has joined: there are hundreds, and bubblewrap reads the whole list
of mounts again after each (measured: 190 to 370 ms, against 3).
"""

import ctypes
import errno
import fcntl
import functools
import json
import os
import select
import shutil
import signal
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from trainer.sandbox.permissions import Permissions

READY_WITHIN_S = 20.0
END_WITHIN_S = 20.0
NEW_USER, NEW_MOUNT, NEW_PID, NEW_NET = 0x10000000, 0x00020000, 0x20000000, 0x40000000
NEW_IPC, NEW_UTS, NEW_CGROUP = 0x08000000, 0x04000000, 0x02000000
NAMESPACES = NEW_USER | NEW_MOUNT | NEW_PID | NEW_NET | NEW_IPC | NEW_UTS
SHM_SHARE, TMP_SHARE = 0.5, 0.25
"""Of the memory limit: files in memory count as memory."""
SMALL_BYTES = 64 * 1024
MS_RDONLY, MS_NOSUID, MS_NODEV, MS_NOEXEC, MS_BIND = 1, 2, 4, 8, 4096
STUB = Path(__file__).with_name("hidden_file.py")
DEVICES = ("null", "zero", "full", "random", "urandom")
LINKS = {"/dev/fd": "/proc/self/fd", "/dev/stdin": "fd/0", "/dev/stdout": "fd/1", "/dev/stderr": "fd/2"}
HOLD = ("/bin/sh", "-c", "echo ready; read -r the_end")
"""It reports when all is mounted, and ends when its input does."""
PASSED_FROM = 100
"""Descriptors for bubblewrap start here, out of the way of the ones that they become."""


@dataclass(slots=True)
class Holder:
    """Namespaces that exist as long as this does.

    Attributes:
        pid: bubblewrap, a child of the process that started it.
        init: a descriptor of the first process of the process namespace; when it dies, all of them do.
        life: the holder's input.
        covers: what `join` puts over hidden files.
    """

    pid: int
    init: int
    life: int
    covers: "tuple[Cover, ...]"

    def join(self) -> None:
        """Enter the namespaces; of the process namespace, only what is forked after this is a member. Call it once.

        Raises:
            OSError: the kernel refuses.
        """
        wanted = NAMESPACES | (NEW_CGROUP if _has_cgroup_namespaces() else 0)
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.setns(self.init, wanted) != 0:
            code = ctypes.get_errno()
            raise OSError(code, f"the namespaces that bubblewrap made cannot be joined: {os.strerror(code)}")
        for cover in self.covers:
            cover.put(libc)

    def kill(self) -> None:
        """Kill every process of the process namespace at once. Idempotent; safe while `end` is still to come."""
        with suppress(OSError):
            signal.pidfd_send_signal(self.init, signal.SIGKILL)

    def end(self) -> None:
        """Kill all that is in the namespaces and reap bubblewrap.

        The first process of a namespace goes last, so the caller's own children in it must be reaped: those that are
        left are reaped here, and their exit statuses are lost. Call it once, and get the statuses of interest before.

        Raises:
            TimeoutError: something in it does not die: it hangs in the kernel.
        """
        self.kill()
        with suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)
        os.close(self.life)
        os.close(self.init)
        deadline = time.monotonic() + END_WITHIN_S
        while True:
            try:
                ended, _ = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if ended == self.pid:
                return
            if ended == 0:
                if time.monotonic() > deadline:
                    raise TimeoutError(f"the namespaces of process {self.pid} did not end within {END_WITHIN_S:g} s")
                time.sleep(0.0005)


def start(permissions: Permissions) -> Holder:
    """Make the namespaces of permissions.

    Call it in a process with one thread. It marks every open descriptor from 3 on to be closed in other programs.

    Raises:
        OSError: bubblewrap is not installed or fails; the text is its own.
    """
    program = shutil.which("bwrap")
    if program is None:
        raise FileNotFoundError("bubblewrap is not installed")
    for name in os.listdir("/proc/self/fd"):
        with suppress(OSError):
            if int(name) > 2:
                os.set_inheritable(int(name), False)
    with _Pipes() as pipes:
        users = [pipes.holding(text) for text in _users(permissions.scratch)]
        passed = [pipes.life_out, pipes.ready_in, pipes.errors_in, pipes.info_in, *users]
        actions = [(os.POSIX_SPAWN_DUP2, fd, number) for number, fd in enumerate(passed)]
        command = ["bwrap", "--info-fd", "3", *arguments(permissions, *range(4, 6)), *HOLD]
        pid = os.posix_spawn(program, command, {"PATH": "/usr/bin:/bin"}, file_actions=actions)
        pipes.close_passed(passed)
        try:
            return Holder(
                pid,
                _wait_until_ready(pipes),
                os.dup(pipes.life_in),
                covers(permissions.readable, permissions.out_of_sight),
            )
        except BaseException:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            raise


def arguments(permissions: Permissions, passwd: int, group: int) -> list[str]:
    """What bubblewrap is told, but for the program it runs.

    Args:
        permissions: what the trial may do.
        passwd: file descriptor of the user database that the trial sees.
        group: likewise of the group database.
    """
    memory = permissions.limits.memory_bytes
    found = ["--unshare-user", "--unshare-pid", "--unshare-net", "--unshare-ipc", "--unshare-uts", "--cap-drop", "ALL"]
    found += ["--unshare-cgroup"] if _has_cgroup_namespaces() else []
    found += ["--die-with-parent", "--hostname", "trial"]
    found += [*_tmpfs("/tmp", int(TMP_SHARE * memory), 0o1777), *_tmpfs("/dev", SMALL_BYTES, 0o755)]
    found += _tmpfs("/dev/shm", int(SHM_SHARE * memory), 0o1777)
    for name in device_nodes(permissions.device):
        found += ["--dev-bind", name, name]
    for name, target in LINKS.items():
        found += ["--symlink", target, name]
    found += ["--proc", "/proc", "--perms", "0444", "--file", str(passwd), "/etc/passwd"]
    found += ["--perms", "0444", "--file", str(group), "/etc/group"]
    found += _visible(permissions.readable)
    found += ["--bind", str(permissions.scratch), str(permissions.scratch), "--remount-ro", "/dev", "--remount-ro", "/"]
    return [*found, "--chdir", "/"]


def device_nodes(device: str) -> list[str]:
    """The devices that a trial may use: all of NVIDIA's with CUDA, and the harmless ones."""
    found = [f"/dev/{name}" for name in DEVICES]
    return found + sorted(map(str, Path("/dev").glob("nvidia*"))) if device == "cuda" else found


def prepare(permissions: Permissions) -> None:
    """Work out once, in the process that forks the supervisors, what is shown and what is covered: it is cached."""
    _visible(permissions.readable)
    covers(permissions.readable, permissions.out_of_sight)


@dataclass(frozen=True, slots=True)
class Cover:
    """Something harmless to be mounted over a hidden file or folder."""

    place: str
    is_folder: bool

    def put(self, libc: ctypes.CDLL) -> None:
        """Mount it. What is not there needs no cover."""
        if self.is_folder:
            flags = MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC
            failed = libc.mount(b"tmpfs", os.fsencode(self.place), b"tmpfs", flags, b"size=4k,mode=555")
        else:
            failed = libc.mount(os.fsencode(STUB), os.fsencode(self.place), None, MS_BIND, None)
        if failed and (code := ctypes.get_errno()) != errno.ENOENT:
            raise OSError(code, f"{self.place} cannot be hidden: {os.strerror(code)}")


@functools.cache
def covers(readable: tuple[Path, ...], hidden: frozenset[Path]) -> tuple[Cover, ...]:
    """What hides the hidden, at every path that leads to it in the namespace."""
    found: list[Cover] = []
    for place, real in _binds(readable).items():
        if not _is_root_link(place):
            below = [path for path in hidden if path.is_relative_to(real)]
            found += [Cover(str(place / path.relative_to(real)), path.is_dir()) for path in below]
    return tuple(found)


@functools.cache
def _visible(readable: tuple[Path, ...]) -> tuple[str, ...]:
    """What may be read, at every path that leads to it."""
    found: list[str] = []
    for place, real in _binds(readable).items():
        if _is_root_link(place):
            found += ["--symlink", str(place.readlink()), str(place)]
        else:
            found += ["--ro-bind", str(real), str(place)]
    return tuple(found)


def _is_root_link(place: Path) -> bool:
    """Whether it is one of the links that a merged /usr has in the root: /lib → usr/lib."""
    return place.is_symlink() and place.parent == Path("/")


def _binds(readable: tuple[Path, ...]) -> dict[Path, Path]:
    """Place → real path: each as it is named and as it really is, and none below another."""
    wanted = {place: path.resolve() for path in readable for place in (path, path.resolve())}
    return {
        place: real for place, real in sorted(wanted.items()) if not any(parent in wanted for parent in place.parents)
    }


def _tmpfs(place: str, size: int, mode: int) -> list[str]:
    return ["--perms", f"{mode:04o}", "--size", str(max(size, SMALL_BYTES)), "--tmpfs", place]


def _users(scratch: Path) -> tuple[str, str]:
    """A user database with one user in it, the caller, and a group database likewise."""
    uid, gid = os.getuid(), os.getgid()
    name = "root" if uid == 0 else "trial"
    return f"{name}:x:{uid}:{gid}::{scratch}:/bin/sh\n", f"{name}:x:{gid}:\n"


def _has_cgroup_namespaces() -> bool:
    return os.path.exists("/proc/self/ns/cgroup")


class _Pipes:
    """The descriptors between the supervisor and bubblewrap; closed at the end of the `with`."""

    def __init__(self) -> None:
        self._open: set[int] = set()
        self.life_out, self.life_in = self._pipe()
        self.ready_out, self.ready_in = self._pipe()
        self.errors_out, self.errors_in = self._pipe()
        self.info_out, self.info_in = self._pipe()

    def holding(self, text: str) -> int:
        """A descriptor from which `text` can be read."""
        fd = os.memfd_create("nightshift")
        os.write(fd, text.encode())
        os.lseek(fd, 0, os.SEEK_SET)
        return self._moved(fd)

    def close_passed(self, fds: list[int]) -> None:
        """Close what bubblewrap has now, so that its end is seen."""
        for fd in fds:
            os.close(fd)
            self._open.discard(fd)

    def __enter__(self) -> "_Pipes":
        return self

    def __exit__(self, *_: object) -> None:
        for fd in self._open:
            os.close(fd)

    def _pipe(self) -> tuple[int, int]:
        ours, theirs = os.pipe()
        return self._moved(ours), self._moved(theirs)

    def _moved(self, fd: int) -> int:
        moved = fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, PASSED_FROM)
        os.close(fd)
        self._open.add(moved)
        return moved


def _wait_until_ready(pipes: _Pipes) -> int:
    """A descriptor of the namespaces' first process, once everything is mounted."""
    ready, _, _ = select.select([pipes.ready_out], [], [], READY_WITHIN_S)
    if not ready:
        raise TimeoutError(f"bubblewrap was not ready within {READY_WITHIN_S:g} s")
    if not os.read(pipes.ready_out, 64):
        raise OSError(os.read(pipes.errors_out, 4096).decode(errors="replace").strip() or "bubblewrap ended at once")
    return os.pidfd_open(json.loads(os.read(pipes.info_out, 4096))["child-pid"])
