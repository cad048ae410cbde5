"""A seccomp filter by ctypes: the system calls that a training program has no honest use for are refused.

It closes what Landlock leaves open (modes and owners of files, sockets, other processes' priorities, namespaces, what
outlives a process) and narrows the way to the kernel. Interface: seccomp(2); programs are classic BPF over
`struct seccomp_data`. A filter sees numbers, never what a pointer points to.
"""

import ctypes
import errno
import functools
import os
import signal
import socket
import struct
from dataclasses import dataclass

from trainer.sandbox.levels import Isolation
from trainer.sandbox.syscalls import JUDGED, NEWEST, REFUSED

SECCOMP = {"x86_64": 317, "aarch64": 277}
"""The number of seccomp(2) itself."""
AUDIT_ARCH = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
X32_BIT = 0x40000000
SET_MODE_FILTER = 1
ALLOW, KILL_PROCESS, ERRNO = 0x7FFF0000, 0x80000000, 0x00050000
SUCCEED, REFUSE, UNKNOWN = ERRNO, ERRNO | errno.EPERM, ERRNO | errno.ENOSYS
"""Pretend that it was done; `EPERM`; `ENOSYS`, which makes a library fall back on an older call."""
LOAD, JUMP_EQUAL, JUMP_GREATER_EQUAL, JUMP_GREATER, AND, RETURN = 0x20, 0x15, 0x35, 0x25, 0x54, 0x06
NUMBER_AT, ARCH_AT, ARGUMENTS_AT = 0, 4, 16
"""Offsets in `struct seccomp_data`. Both architectures are little-endian: the low half of an argument comes first."""

NEW_NAMESPACES = 0x7E020000
"""CLONE_NEW* for cgroup, uts, ipc, user, pid, net and mount."""
CLONE_PARENT = 0x8000
"""It would make the new process a child of the supervisor."""
SET_ID_BITS = 0o6000
WAYS_TO_OPEN, TRUNCATE, CREATE, UNNAMED = 0o3, 0o1000, 0o100, 0o20000000
STREAM, PACKETS, KIND_OF_SOCKET = socket.SOCK_STREAM, 5, 0xF
SET_OWNER, SET_OWNER_EX = 8, 15
SHARED_MARKS = (1024, 1026, 1036, 1038)
"""fcntl commands on what others use too: SETLEASE makes those wait who open a file to write, NOTIFY tells what happens
in a folder, SET_RW_HINT and SET_FILE_RW_HINT leave a number with a file."""
COLD, PAGE_OUT = 20, 21
"""Advice to madvise that throws pages of files out of memory. What frees a process's own memory is another."""
FILE_ATTRIBUTES = (0x40086602, 0x401C5820, 0x40087602, 0x40086604, 0x40806685)
"""ioctls that change a file opened for reading: SETFLAGS, FSSETXATTR, SETVERSION (two) and ENABLE_VERITY."""
SET_RECEIVER = (0x8901, 0x8902)
"""ioctls that send a socket's signals to another process: FIOSETOWN and SIOCSPGRP."""
SCOPED_SIGNALS_SINCE, TRUNCATE_SINCE = 6, 3
"""Versions of Landlock that see to signals, and to truncation, themselves."""

CHANGE_FILES = ("chmod", "fchmod", "fchmodat", "fchmodat2", "chown", "fchown", "lchown", "fchownat")
CHANGE_TIMES = ("utime", "utimes", "futimesat", "utimensat")
"""Landlock does not stop these on files that the process may only read, nor a namespace on devices bound into it."""


@dataclass(frozen=True, slots=True)
class Test:
    """Whether an argument of the call, after `& mask`, is `value`; or is not, with `equal` off.

    The low 32 bits, which are all of an int; with `high` the others, which a pointer has too.
    """

    argument: int
    mask: int
    value: int
    equal: bool = True
    high: bool = False


@dataclass(frozen=True, slots=True)
class Rule:
    """What becomes of a system call when all the tests hold."""

    name: str
    action: int
    tests: tuple[Test, ...] = ()


def supported() -> bool:
    """Whether the filter is written for this machine's architecture."""
    return os.uname().machine in AUDIT_ARCH


def rules(level: Isolation, device: str, landlock_abi: int, pid: int) -> list[Rule]:
    """What is refused at a level, in order: the first rule whose tests hold decides. Everything else is allowed.

    Args:
        level: in namespaces (L3 on) more can be allowed.
        device: `cpu` or `cuda`.
        landlock_abi: what Landlock does not see to yet is seen to here.
        pid: the only process that may be signalled, where Landlock cannot say it.
    """
    found = [Rule(name, REFUSE) for name in REFUSED]
    found += [Rule("clone3", UNKNOWN), Rule("openat2", UNKNOWN), Rule("memfd_secret", UNKNOWN)]
    found.append(Rule("clone", REFUSE, (Test(0, NEW_NAMESPACES | CLONE_PARENT, 0, False),)))
    # Of `which`, 0 is a process for setpriority, 1 for ioprio_set; the others mean all processes of a user or group.
    found += [
        Rule("setpriority", REFUSE, (Test(0, ~0, 0, False),)),
        Rule("ioprio_set", REFUSE, (Test(0, ~0, 1, False),)),
    ]
    found += [Rule("ioctl", REFUSE, (Test(1, ~0, command),)) for command in FILE_ATTRIBUTES]
    found += [Rule("fcntl", REFUSE, (Test(1, ~0, command),)) for command in SHARED_MARKS]
    found += [Rule(name, SUCCEED) for name in (*CHANGE_FILES, *CHANGE_TIMES)]
    found += [*_opening(), *_page_cache(), *_dead_children()]
    if level >= Isolation.L3:
        return [*found, Rule("socket", REFUSE, (Test(0, ~0, socket.AF_UNIX, False),))]
    found += [*_sockets(device), *_other_processes()]
    if landlock_abi < SCOPED_SIGNALS_SINCE:
        found += _signals(pid)
    if landlock_abi < TRUNCATE_SINCE:
        found.append(Rule("truncate", REFUSE))
    return found


def _opening() -> list[Rule]:
    """Ways of opening and making files that mean more than they say."""
    found: list[Rule] = []
    for name, flags in (("open", 1), ("openat", 2)):
        mode = flags + 1
        # Way 3 asks for neither reading nor writing, so Landlock lets it pass; emptying needs no way to write.
        found.append(Rule(name, REFUSE, (Test(flags, WAYS_TO_OPEN, 3),)))
        found.append(Rule(name, REFUSE, (Test(flags, WAYS_TO_OPEN | TRUNCATE, TRUNCATE),)))
        set_id = Test(mode, SET_ID_BITS, 0, False)
        found.append(Rule(name, REFUSE, (Test(flags, CREATE | UNNAMED, 0, False), set_id)))
    for name, mode in (("creat", 1), ("mkdir", 1), ("mkdirat", 2), ("mknod", 1), ("mknodat", 2)):
        found.append(Rule(name, REFUSE, (Test(mode, SET_ID_BITS, 0, False),)))
    return found


def _page_cache() -> list[Rule]:
    """Which pages of a library are in memory outlives a process: none may change that but by reading, or be told."""
    found = [Rule("madvise", REFUSE, (Test(2, ~0, advice),)) for advice in (COLD, PAGE_OUT)]
    # Flags say: only what is in memory, or: throw it out when it is read. Without flags it is what everybody uses.
    found += [Rule(name, REFUSE, (Test(5, ~0, 0, False),)) for name in ("preadv2", "pwritev2")]
    return [*found, Rule("fadvise64", SUCCEED)]  # advice, so nobody can tell that it was not taken


def _dead_children() -> list[Rule]:
    """What is done about SIGCHLD stays as it is: whoever ignores it is not credited with the time of dead children.

    No register says whether it is to be ignored or handled, so both are pretended to be done: what a library (a
    DataLoader) has a handler for, it notices later by itself.
    """
    child = Test(0, ~0, signal.SIGCHLD)
    to_set = (Test(1, ~0, 0, False), Test(1, ~0, 0, False, high=True))
    return [Rule("rt_sigaction", SUCCEED, (child, given)) for given in to_set]


def _sockets(device: str) -> list[Rule]:
    """Without a network namespace: no sockets but connected pairs. Datagrams can be sent to any address, even there."""
    datagrams = (Test(1, KIND_OF_SOCKET, STREAM, False), Test(1, KIND_OF_SOCKET, PACKETS, False))
    found = [Rule("socketpair", REFUSE, datagrams), Rule("connect", REFUSE)]
    if device != "cuda":
        return [*found, Rule("socket", REFUSE)]
    # CUDA opens a Unix socket of its own for other processes to connect to.
    return [*found, Rule("socket", REFUSE, (Test(0, ~0, socket.AF_UNIX, False),)), Rule("socket", REFUSE, datagrams)]


def _other_processes() -> list[Rule]:
    """Without namespaces: limits and priorities only of the caller itself, which is 0, and no news of others."""
    names = ("prlimit64", "sched_setaffinity", "sched_setscheduler", "sched_setparam", "sched_setattr", "move_pages")
    found = [Rule(name, REFUSE, (Test(0, ~0, 0, False),)) for name in names]
    found += [Rule(name, REFUSE, (Test(1, ~0, 0, False),)) for name in ("setpriority", "ioprio_set")]
    found += [Rule("fcntl", REFUSE, (Test(1, ~0, command),)) for command in (SET_OWNER, SET_OWNER_EX)]
    found += [Rule("ioctl", REFUSE, (Test(1, ~0, command),)) for command in SET_RECEIVER]
    return [*found, Rule("inotify_add_watch", REFUSE)]  # it tells what happens in folders that cannot be read


def _signals(pid: int) -> list[Rule]:
    """Where Landlock cannot scope signals: none to others, in any of the ways to send one."""
    found = [Rule(name, REFUSE, (Test(0, ~0, pid, False),)) for name in ("kill", "tgkill", "tkill")]
    return found + [Rule(name, REFUSE) for name in ("rt_sigqueueinfo", "rt_tgsigqueueinfo", "pidfd_send_signal")]


def assemble(wanted: list[Rule], machine: str) -> bytes:
    """The rules as a BPF program for an architecture; rules for calls that it never had are left out.

    Calls of another architecture (32 bit, x32) kill the process: their numbers mean something else.
    """
    column = list(AUDIT_ARCH).index(machine)
    numbers, by_number = {**REFUSED, **JUDGED}, dict[int, list[Rule]]()
    for rule in wanted:
        if (number := numbers[rule.name][column]) is not None:
            by_number.setdefault(number, []).append(rule)
    code = [_op(LOAD, ARCH_AT), _op(JUMP_EQUAL, AUDIT_ARCH[machine], 1, 0), _op(RETURN, KILL_PROCESS)]
    code += [_op(LOAD, NUMBER_AT), _op(JUMP_GREATER_EQUAL, X32_BIT, 0, 1), _op(RETURN, KILL_PROCESS)]
    code += [_op(JUMP_GREATER, NEWEST, 0, 1), _op(RETURN, UNKNOWN)]
    for number, here in by_number.items():
        body = [instruction for rule in here for instruction in _body(rule)]
        if here[-1].tests:
            body.append(_op(RETURN, ALLOW))
        code += [_op(JUMP_EQUAL, number, 0, len(body)), *body]
    return b"".join([*code, _op(RETURN, ALLOW)])


def _body(rule: Rule) -> list[bytes]:
    """Tests that lead to the action, or past it."""
    code = [_op(RETURN, rule.action)]
    for test in reversed(rule.tests):
        past = len(code)
        jump = _op(JUMP_EQUAL, test.value, 0, past) if test.equal else _op(JUMP_EQUAL, test.value, past, 0)
        masked = [_op(AND, test.mask & 0xFFFFFFFF)] if test.mask != ~0 else []
        place = ARGUMENTS_AT + 8 * test.argument + (4 if test.high else 0)
        code = [_op(LOAD, place), *masked, jump, *code]
    return code


def _op(code: int, operand: int, when_true: int = 0, when_false: int = 0) -> bytes:
    return struct.pack("=HBBI", code, when_true, when_false, operand)


@functools.lru_cache(maxsize=8)
def program(level: Isolation, device: str, landlock_abi: int, pid: int = 0) -> bytes:
    """The filter of a level for this machine. Raises OSError on an architecture that it is not written for."""
    if not supported():
        raise OSError(errno.ENOSYS, f"no system call filter is written for {os.uname().machine}")
    return assemble(rules(level, device, landlock_abi, pid), os.uname().machine)


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_uint16), ("instructions", ctypes.c_char_p))


def install(level: Isolation, device: str, landlock_abi: int) -> None:
    """Filter the system calls of the calling thread, and of all that it starts, for good.

    Raises:
        OSError: the architecture is not known, or the kernel refuses.
    """
    named = os.getpid() if landlock_abi < SCOPED_SIGNALS_SINCE else 0
    code = program(level, device, landlock_abi, named)
    libc = ctypes.CDLL(None, use_errno=True)
    filter_ = _Program(len(code) // 8, code)
    if libc.syscall(SECCOMP[os.uname().machine], SET_MODE_FILTER, 0, ctypes.byref(filter_)) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"the system call filter was refused: {os.strerror(number)}")
