"""Landlock by ctypes: reads only what permissions list, writes only in the scratch folder, no TCP, no signals outwards.

Interface: the kernel's "Landlock: unprivileged access control" (userspace-api/landlock). A rule grants rights on a
file or on all that is below a folder; there is no rule that takes one away. So a folder with hidden files in it is
granted child by child.
"""

import ctypes
import errno
import functools
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from trainer.sandbox.levels import Isolation
from trainer.sandbox.permissions import Permissions

CREATE_RULESET, ADD_RULE, RESTRICT_SELF = 444, 445, 446
"""System calls; the numbers are the same on every architecture."""
CREATE_RULESET_VERSION, RULE_PATH_BENEATH, LOG_SAME_EXEC_OFF = 1, 1, 1

EXECUTE, WRITE_FILE, READ_FILE, READ_DIR = 1 << 0, 1 << 1, 1 << 2, 1 << 3
REMOVE_DIR, REMOVE_FILE = 1 << 4, 1 << 5
MAKE_CHAR, MAKE_DIR, MAKE_REG, MAKE_SOCK, MAKE_FIFO, MAKE_BLOCK, MAKE_SYM = (1 << bit for bit in range(6, 13))
REFER, TRUNCATE, IOCTL_DEV = 1 << 13, 1 << 14, 1 << 15
ALL_BY_ABI = {1: (1 << 13) - 1, 2: (1 << 14) - 1, 3: (1 << 15) - 1, 4: (1 << 15) - 1, 5: (1 << 16) - 1}
"""Every right on files that an ABI knows; later ABIs know those of the fifth."""
NET_SINCE, SCOPE_SINCE, LOG_SINCE = 4, 6, 7
BIND_TCP, CONNECT_TCP = 1 << 0, 1 << 1
SCOPE_ABSTRACT_UNIX, SCOPE_SIGNAL = 1 << 0, 1 << 1

READ = EXECUTE | READ_FILE | READ_DIR
CHANGE = WRITE_FILE | TRUNCATE | REMOVE_DIR | REMOVE_FILE | REFER
MAKE = MAKE_DIR | MAKE_REG | MAKE_SOCK | MAKE_FIFO | MAKE_SYM
WRITE = READ | CHANGE | MAKE
ON_FILES = EXECUTE | WRITE_FILE | READ_FILE | TRUNCATE | IOCTL_DEV
"""The rights that a rule on a file, not a folder, may grant."""
HIDING = EXECUTE | READ_FILE | REFER
"""What the layer that hides files is about. Moving is denied by any layer that does not allow it."""
PROC = ("cpuinfo", "devices", "filesystems", "meminfo", "modules", "stat", "uptime", "version")
PROC_SETTINGS = (
    "kernel/cap_last_cap",
    "kernel/osrelease",
    "kernel/pid_max",
    "vm/max_map_count",
    "vm/overcommit_memory",
)
"""What libraries look up of the machine below /proc and /proc/sys; the rest of it is about other processes."""
DEVICES = ("/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom")


_prepared: dict[tuple[tuple[Path, ...], frozenset[Path], Path, str], int] = {}


class _Attributes(ctypes.Structure):
    _fields_ = (
        ("handled_access_fs", ctypes.c_uint64),
        ("handled_access_net", ctypes.c_uint64),
        ("scoped", ctypes.c_uint64),
    )


class _PathBeneath(ctypes.Structure):
    _pack_ = 1
    _fields_ = (("allowed_access", ctypes.c_uint64), ("parent_fd", ctypes.c_int32))


@dataclass(frozen=True, slots=True)
class Rule:
    """What may be done with a file, or below a folder."""

    path: str
    rights: int


@functools.cache
def abi() -> int:
    """The version of Landlock that this kernel has; 0 for none."""
    version = _libc().syscall(CREATE_RULESET, None, 0, CREATE_RULESET_VERSION)
    return max(0, int(version))


def prepare(permissions: Permissions) -> int | None:
    """Make the ruleset that keeps hidden files unread, in the process that forks the trials.

    It takes thousands of rules, far too many for each trial to make: the children inherit it. Idempotent.

    Returns:
        The file descriptor that children must keep open until `restrict`, which is faster then; None where the level
        needs none.
    """
    if permissions.level != Isolation.L2:
        return None  # below it nothing is hidden, and above it hidden files are covered by mounts
    key = (permissions.readable, permissions.out_of_sight, permissions.scratch.parent, permissions.device)
    if key not in _prepared:
        _prepared[key] = _ruleset(HIDING, _unhidden(permissions))
    return _prepared[key]


def restrict(permissions: Permissions) -> None:
    """Confine the calling thread, and all that it starts, to its permissions.

    Two layers at L2, and a process may do what both allow: one says which files can be read, minus the hidden ones,
    and is made once for all trials (`prepare`); the other says everything else, and the trial's own folder.

    Raises:
        OSError: the kernel has no Landlock, or refuses.
    """
    if abi() == 0:
        raise OSError(errno.ENOSYS, "this kernel has no Landlock, or it is switched off")
    if (hiding := prepare(permissions)) is not None:
        try:
            _enter(hiding)
        except OSError:  # the caller has closed it: make it again
            _prepared.clear()
            _enter(_ruleset(HIDING, _unhidden(permissions)))
    _enter(_ruleset(ALL_BY_ABI[min(abi(), max(ALL_BY_ABI))], rules(permissions)))


def rules(permissions: Permissions) -> list[Rule]:
    """All that the permissions allow, but for hidden files."""
    found = [Rule(str(path), READ) for path in dict.fromkeys(path.resolve() for path in permissions.readable)]
    found += [Rule(str(permissions.scratch), WRITE), *_own(permissions.device)]
    # The driver names its threads by writing below /proc.
    change = WRITE_FILE if permissions.device == "cuda" else 0
    if permissions.level >= Isolation.L3:
        found += [Rule("/tmp", WRITE), Rule("/dev/shm", WRITE), Rule("/proc", READ | change)]
        return found
    # All processes of the machine are below /proc: their arguments, and names that one trial could leave to the next.
    found += [Rule(f"/proc/{os.getpid()}", READ | change)]
    found += [Rule(f"/proc/{name}", READ_FILE) for name in PROC]
    found += [Rule(f"/proc/sys/{name}", READ_FILE) for name in PROC_SETTINGS]
    if permissions.device == "cuda":
        found.append(Rule("/proc/driver", READ))
    return found


def _own(device: str) -> list[Rule]:
    """What every trial may use besides what it may read."""
    found = [Rule("/etc/passwd", READ), Rule("/etc/group", READ)]
    found += [Rule(path, READ_FILE | WRITE_FILE) for path in DEVICES]
    if device == "cuda":
        found += [Rule(str(path), READ | WRITE_FILE | IOCTL_DEV) for path in sorted(Path("/dev").glob("nvidia*"))]
    return found


def _unhidden(permissions: Permissions) -> list[Rule]:
    """What may be read, minus what is hidden, and the folder that trials have their own folders in."""
    return [
        *_readable_rules(permissions.readable, permissions.out_of_sight),
        Rule(str(permissions.scratch.parent), HIDING),
        Rule("/proc", HIDING),
        *_own(permissions.device),
    ]


@functools.cache
def _readable_rules(readable: tuple[Path, ...], hidden: frozenset[Path]) -> tuple[Rule, ...]:
    inside = {parent for path in hidden for parent in path.parents}
    roots = [path for path in dict.fromkeys(path.resolve() for path in readable) if not _is_below(path, hidden)]
    return tuple(Rule(path, HIDING) for root in roots for path in _visible(root, hidden, inside))


def _is_below(path: Path, hidden: frozenset[Path]) -> bool:
    return path in hidden or any(parent in hidden for parent in path.parents)


def _visible(path: Path, hidden: frozenset[Path], inside: set[Path]) -> Iterator[str]:
    """Files and folders that are `path` together, but for what is hidden.

    Args:
        path: where to begin.
        hidden: what to leave out.
        inside: the folders that have something hidden in them, at any depth.
    """
    if path not in inside:
        yield str(path)
        return
    for entry in os.scandir(path):
        child = path / entry.name
        # A link needs no rule: what counts is where it leads. Nobody runs what was compiled with optimisation.
        if child not in hidden and not entry.is_symlink() and ".opt-" not in entry.name:
            yield from _visible(child, hidden, inside)


def _ruleset(handled: int, allowed: list[Rule]) -> int:
    """A new ruleset as a file descriptor: of what it handles, only the allowed is left to those that enter it."""
    version = abi()
    whole = handled != HIDING
    attributes = _Attributes(
        handled & ALL_BY_ABI[min(version, max(ALL_BY_ABI))],
        BIND_TCP | CONNECT_TCP if whole and version >= NET_SINCE else 0,
        SCOPE_ABSTRACT_UNIX | SCOPE_SIGNAL if whole and version >= SCOPE_SINCE else 0,
    )
    size = 24 if version >= SCOPE_SINCE else 16 if version >= NET_SINCE else 8
    ruleset = _call(CREATE_RULESET, ctypes.byref(attributes), size, 0)
    try:
        for rule in allowed:
            _add(ruleset, rule, attributes.handled_access_fs)
    except OSError:
        os.close(ruleset)
        raise
    return ruleset


def _enter(ruleset: int) -> None:
    # What a trial tries is not worth a line in the system's audit log each time.
    _call(RESTRICT_SELF, ruleset, LOG_SAME_EXEC_OFF if abi() >= LOG_SINCE else 0)
    os.close(ruleset)


def _add(ruleset: int, rule: Rule, handled: int) -> None:
    try:
        fd = os.open(rule.path, os.O_PATH | os.O_CLOEXEC)
    except FileNotFoundError:
        return
    try:
        rights = rule.rights & handled
        if not stat.S_ISDIR(os.fstat(fd).st_mode):
            rights &= ON_FILES
        attribute = _PathBeneath(rights, fd)
        if rights:
            _call(ADD_RULE, ruleset, RULE_PATH_BENEATH, ctypes.byref(attribute), 0)
    finally:
        os.close(fd)


def _call(number: int, *arguments: object) -> int:
    result = _libc().syscall(number, *arguments)
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, f"Landlock: {os.strerror(code)}")
    return int(result)


@functools.cache
def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)
