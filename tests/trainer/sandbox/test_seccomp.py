"""The filter as a program: what it decides about a call, run through a small interpreter of its instructions."""

import errno
import struct

import pytest

from trainer.sandbox import seccomp
from trainer.sandbox.levels import Isolation
from trainer.sandbox.syscalls import JUDGED, NEWEST, REFUSED

L2, L3 = Isolation.L2, Isolation.L3
EPERM, DONE, ENOSYS = seccomp.REFUSE, seccomp.SUCCEED, seccomp.UNKNOWN
PID = 4242
MACHINES = ("x86_64", "aarch64")


def decide(code: bytes, machine: str, name: str | int, *arguments: int) -> int:
    """What the program says about a call: the instructions of classic BPF that it uses, no others."""
    numbers = {**REFUSED, **JUDGED}
    number = numbers[name][MACHINES.index(machine)] if isinstance(name, str) else name
    assert number is not None
    words = [argument & (2**64 - 1) for argument in (*arguments, *[0] * (6 - len(arguments)))]
    data = struct.pack("=IIQ6Q", number, seccomp.AUDIT_ARCH[machine], 0, *words)
    at, accumulator = 0, 0
    while True:
        operation, when_true, when_false, operand = struct.unpack_from("=HBBI", code, 8 * at)
        at += 1
        if operation == seccomp.LOAD:
            accumulator = struct.unpack_from("=I", data, operand)[0]
        elif operation == seccomp.AND:
            accumulator &= operand
        elif operation == seccomp.RETURN:
            return operand
        else:
            holds = {
                seccomp.JUMP_EQUAL: accumulator == operand,
                seccomp.JUMP_GREATER: accumulator > operand,
                seccomp.JUMP_GREATER_EQUAL: accumulator >= operand,
            }[operation]
            at += when_true if holds else when_false


def program(machine: str, level: Isolation = L2, device: str = "cpu", abi: int = 7) -> bytes:
    return seccomp.assemble(seccomp.rules(level, device, abi, PID), machine)


@pytest.mark.parametrize("machine", MACHINES)
@pytest.mark.parametrize("level", [L2, L3, Isolation.L4])
def test_what_is_never_allowed(machine: str, level: Isolation) -> None:
    code = program(machine, level)
    for name, numbers in REFUSED.items():
        if numbers[MACHINES.index(machine)] is not None:
            want = ENOSYS if name == "memfd_secret" else EPERM
            assert decide(code, machine, name) == want, name
    assert decide(code, machine, "clone3") == ENOSYS
    assert decide(code, machine, NEWEST + 1) == ENOSYS
    assert decide(code, machine, 900) == ENOSYS


@pytest.mark.parametrize("machine", MACHINES)
def test_what_must_stay_allowed(machine: str) -> None:
    code = program(machine)
    common = {"x86_64": (0, 1, 9, 202, 231, 39), "aarch64": (63, 64, 222, 98, 94, 172)}  # read, write, mmap, futex …
    for number in common[machine]:
        assert decide(code, machine, number) == seccomp.ALLOW
    assert decide(code, machine, "clone", 0x11) == seccomp.ALLOW  # fork
    assert decide(code, machine, "clone", 0x3D0F00) == seccomp.ALLOW  # a thread
    assert decide(code, machine, "kill", PID, 9) == seccomp.ALLOW  # Landlock sees to it
    assert decide(code, machine, "prlimit64", 0) == seccomp.ALLOW
    assert decide(code, machine, "openat", -100, 0, 0o101, 0o666) == seccomp.ALLOW
    assert decide(code, machine, "openat", -100, 0, 0o1101, 0o666) == seccomp.ALLOW
    assert decide(code, machine, "openat", -100, 0, 0, 0o7777) == seccomp.ALLOW  # no file is made: the mode is anything
    assert decide(code, machine, "ioctl", 1, 0x5401) == seccomp.ALLOW


@pytest.mark.parametrize("machine", MACHINES)
@pytest.mark.parametrize("level", [L2, L3])
def test_namespaces_setid_bits_and_ways_to_empty_a_file(machine: str, level: Isolation) -> None:
    code = program(machine, level)
    for bit in (0x20000, 0x2000000, 0x4000000, 0x8000000, 0x10000000, 0x20000000, 0x40000000, 0x8000):
        assert decide(code, machine, "clone", bit | 0x11) == EPERM
    assert decide(code, machine, "openat", -100, 0, 0o1000) == EPERM
    assert decide(code, machine, "openat", -100, 0, 0o1003) == EPERM
    assert decide(code, machine, "openat", -100, 0, 0o101, 0o4755) == EPERM
    assert decide(code, machine, "openat", -100, 0, 0o20200001, 0o2755) == EPERM
    assert decide(code, machine, "mkdirat", -100, 0, 0o2755) == EPERM
    assert decide(code, machine, "fchmodat", -100, 0, 0o4755) == DONE
    assert decide(code, machine, "fchmodat", -100, 0, 0o755) == DONE
    assert decide(code, machine, "utimensat", -100, 0, 0, 0) == DONE
    for command in seccomp.FILE_ATTRIBUTES:
        assert decide(code, machine, "ioctl", 3, command) == EPERM


@pytest.mark.parametrize("machine", MACHINES)
@pytest.mark.parametrize("level", [L2, L3])
def test_what_is_in_memory_of_a_file_is_neither_told_nor_changed(machine: str, level: Isolation) -> None:
    code = program(machine, level)
    assert decide(code, machine, "mincore", 0, 4096, 0) == EPERM
    assert decide(code, machine, "fadvise64", 3, 0, 0, 4) == DONE
    for flags in (8, 0x80):
        assert decide(code, machine, "preadv2", 3, 0, 1, 0, 0, flags) == EPERM
    assert decide(code, machine, "preadv2", 3, 0, 1, 0, 0, 0) == seccomp.ALLOW
    for advice, want in ((20, EPERM), (21, EPERM), (4, seccomp.ALLOW), (8, seccomp.ALLOW), (14, seccomp.ALLOW)):
        assert decide(code, machine, "madvise", 0, 4096, advice) == want
    for command in seccomp.SHARED_MARKS:
        assert decide(code, machine, "fcntl", 3, command) == EPERM


@pytest.mark.parametrize("machine", MACHINES)
@pytest.mark.parametrize("level", [L2, L3])
def test_the_end_of_children_is_never_ignored(machine: str, level: Isolation) -> None:
    """Whatever is to be set, at whatever address; asking is nobody's harm."""
    code, child, other = program(machine, level), 17, 15
    for address in (0x1000, 0x7F00_0000_0000, 0x1_0000_0000):
        assert decide(code, machine, "rt_sigaction", child, address) == seccomp.SUCCEED
        assert decide(code, machine, "rt_sigaction", other, address) == seccomp.ALLOW
    assert decide(code, machine, "rt_sigaction", child, 0, 0x1000) == seccomp.ALLOW


@pytest.mark.parametrize("machine", MACHINES)
def test_sockets(machine: str) -> None:
    unix, inet, stream, datagram, packets = 1, 2, 1, 2, 5
    nonblocking = 0o4000
    cpu, cuda, spaced = program(machine), program(machine, device="cuda"), program(machine, L3)
    for family in (unix, inet, 16, 17, 40):
        assert decide(cpu, machine, "socket", family, stream) == EPERM
    assert decide(cpu, machine, "socketpair", unix, stream | nonblocking) == seccomp.ALLOW
    assert decide(cpu, machine, "socketpair", unix, packets) == seccomp.ALLOW
    assert decide(cpu, machine, "socketpair", unix, datagram) == EPERM
    assert decide(cpu, machine, "socketpair", unix, 3) == EPERM  # raw becomes datagrams
    assert decide(cpu, machine, "connect", 3) == decide(cuda, machine, "connect", 3) == EPERM
    assert decide(cuda, machine, "socket", unix, packets | nonblocking) == seccomp.ALLOW
    assert decide(cuda, machine, "socket", unix, datagram) == decide(cuda, machine, "socket", inet, stream) == EPERM
    assert decide(spaced, machine, "socket", unix, datagram) == seccomp.ALLOW
    assert decide(spaced, machine, "connect", 3) == seccomp.ALLOW
    assert decide(spaced, machine, "socket", inet, stream) == EPERM


@pytest.mark.parametrize("machine", MACHINES)
def test_other_processes(machine: str) -> None:
    alone, spaced = program(machine), program(machine, L3)
    for name in ("prlimit64", "sched_setaffinity", "sched_setscheduler"):
        assert decide(alone, machine, name, PID) == EPERM
        assert decide(spaced, machine, name, PID) == seccomp.ALLOW
    assert decide(alone, machine, "setpriority", 0, PID) == EPERM
    assert decide(alone, machine, "setpriority", 0, 0) == seccomp.ALLOW
    for code in (alone, spaced):
        assert decide(code, machine, "setpriority", 2, 0) == EPERM
        assert decide(code, machine, "ioprio_set", 3, 0) == EPERM


@pytest.mark.parametrize("machine", MACHINES)
def test_an_old_landlock_is_made_up_for(machine: str) -> None:
    old, older = program(machine, abi=5), program(machine, abi=2)
    assert decide(old, machine, "kill", PID, 15) == seccomp.ALLOW
    for other in (1, PID + 1, -1, 0, -PID):
        assert decide(old, machine, "kill", other, 0) == EPERM
    assert decide(old, machine, "tgkill", PID, PID + 3, 6) == seccomp.ALLOW
    assert decide(old, machine, "pidfd_send_signal", 3) == EPERM
    assert decide(old, machine, "fcntl", 3, seccomp.SET_OWNER, PID) == EPERM
    assert decide(old, machine, "fcntl", 3, 1) == seccomp.ALLOW
    assert decide(old, machine, "truncate") == seccomp.ALLOW
    assert decide(older, machine, "truncate") == EPERM


def test_calls_of_another_architecture_kill() -> None:
    code = program("x86_64")
    assert decide(code, "aarch64", 1) == seccomp.KILL_PROCESS
    assert decide(code, "x86_64", 0x40000000 + 39) == seccomp.KILL_PROCESS


def test_an_unknown_architecture_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(seccomp, "AUDIT_ARCH", {})
    with pytest.raises(OSError, match="no system call filter") as raised:
        seccomp.program(L2, "tpu", 7)
    assert raised.value.errno == errno.ENOSYS


def test_programs_stay_within_the_kernels_limit() -> None:
    for machine in MACHINES:
        for device in ("cpu", "cuda"):
            assert len(program(machine, L2, device, abi=1)) // 8 < 4096
