"""Attacks on other processes, the network and the kernel. See `isolation_program`."""

import contextlib
import ctypes
import errno
import fcntl
import glob
import mmap
import os
import signal
import socket
import struct
import subprocess
import sys
import time
from typing import Any

from tests.support.isolation_tools import ARCH, LIBC, SECONDS, attack, call

# Other processes


@attack("L2")
def signal_the_loop(facts: dict[str, Any]) -> bool:
    os.kill(facts["loop"], 0)
    return True


@attack("L2")
def signal_the_loop_by_descriptor(facts: dict[str, Any]) -> bool:
    fd = os.pidfd_open(facts["loop"])
    signal.pidfd_send_signal(fd, signal.SIGURG)
    return True


@attack("L2")
def trace_the_loop(facts: dict[str, Any]) -> bool:
    call(101, 117, 0x4206, facts["loop"], 0, 0)  # PTRACE_SEIZE
    return True


@attack("L2")
def trace_a_child(facts: dict[str, Any]) -> bool:
    child = os.fork()
    if child == 0:
        time.sleep(SECONDS)
        os._exit(0)
    try:
        call(101, 117, 0x4206, child, 0, 0)
        return True
    finally:
        os.kill(child, signal.SIGKILL)


@attack("L2")
def read_by_process_vm(facts: dict[str, Any]) -> bool:
    call(310, 270, facts["loop"], 0, 0, 0, 0, 0)
    return True


@attack("L2")
def take_a_descriptor(facts: dict[str, Any]) -> bool:
    call(438, 438, os.pidfd_open(facts["loop"]), 0, 0)
    return True


@attack("L2")
def limit_the_loop(facts: dict[str, Any]) -> bool:
    limits = struct.pack("QQ", 2**40, 2**40)
    call(302, 261, facts["loop"], 0, limits, None)  # CPU time
    return True


@attack("L2")
def slow_the_loop(facts: dict[str, Any]) -> bool:
    os.setpriority(os.PRIO_PROCESS, facts["loop"], 0)
    return True


@attack("L2")
def slow_everything_of_the_user(facts: dict[str, Any]) -> bool:
    os.setpriority(os.PRIO_USER, 0, 0)
    return True


@attack("L2")
def pin_the_loop(facts: dict[str, Any]) -> bool:
    os.sched_setaffinity(facts["loop"], os.sched_getaffinity(0))
    return True


@attack("L2")
def offer_the_loop_to_the_oom_killer(facts: dict[str, Any]) -> bool:
    with open(f"/proc/{facts['loop']}/oom_score_adj", "r+"):
        return True


@attack("L2")
def become_a_child_of_the_supervisor(facts: dict[str, Any]) -> bool:
    child = call(56, 220, 0x8000 | signal.SIGCHLD, 0, 0, 0, 0)  # CLONE_PARENT
    if child == 0:
        os._exit(0)
    return True


@attack("L2")
def send_signals_by_a_socket(facts: dict[str, Any]) -> bool:
    fcntl.fcntl(socket.socketpair()[0], fcntl.F_SETOWN, facts["loop"])
    return facts["level"] == "L2"  # in a namespace the number means nobody


@attack("L2")
def make_writers_wait(facts: dict[str, Any]) -> bool:
    fd = os.open(f"{facts['library']}/readable", os.O_RDONLY)
    fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_RDLCK)
    return True


@attack("L2")
def watch_a_folder(facts: dict[str, Any]) -> bool:
    return LIBC.inotify_add_watch(LIBC.inotify_init(), os.fsencode(facts["private"]), 0xFFF) >= 0


@attack("L2")
def read_the_arguments_of_the_loop(facts: dict[str, Any]) -> bool:
    with open(f"/proc/{facts['loop']}/cmdline", "rb") as file:
        return bool(file.read())


@attack("L2")
def read_the_name_of_another_process(facts: dict[str, Any]) -> bool:
    with open(f"/proc/{facts['loop']}/comm", "rb") as file:
        return bool(file.read())


@attack("L2")
def list_the_processes_of_the_machine(facts: dict[str, Any]) -> bool:
    return str(facts["loop"]) in os.listdir("/proc")


@attack("L2")
def read_counts_of_the_machine(facts: dict[str, Any]) -> bool:
    """A process may leave a number there for the next one: how many processes or files there have been."""
    if facts["level"] > "L2":
        return False  # a namespace has its own count of processes
    with open("/proc/sys/kernel/ns_last_pid") as file:
        return bool(file.read())


@attack("L2")
def change_the_machine(facts: dict[str, Any]) -> bool:
    for place in ("/proc/sys/kernel/core_pattern", "/proc/sysrq-trigger", "/sys/power/state"):
        with contextlib.suppress(OSError), open(place, "r+"):
            return True
    return False


@attack("L2")
def leave_the_control_group(facts: dict[str, Any]) -> bool:
    for place in glob.glob("/sys/fs/cgroup/cgroup.procs") + glob.glob("/sys/fs/cgroup/*/cgroup.procs"):
        with contextlib.suppress(OSError), open(place, "r+"):
            return True
    return False


# What is in memory of a file, and marks that stay with it


@attack("L2")
def ask_what_is_in_memory(facts: dict[str, Any]) -> bool:
    with open(os.__file__, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY) as memory:
        address = ctypes.addressof(ctypes.c_char.from_buffer(memory))
        call(27, 232, ctypes.c_void_p(address), ctypes.c_size_t(4096), ctypes.create_string_buffer(16))
    return True


@attack("L2")
def ask_for_cache_statistics(facts: dict[str, Any]) -> bool:
    fd = os.open(os.__file__, os.O_RDONLY)
    call(451, 451, fd, struct.pack("QQ", 0, 4096), ctypes.create_string_buffer(40), 0)
    return True


@attack("L2")
def read_only_from_memory(facts: dict[str, Any]) -> bool:
    with contextlib.suppress(BlockingIOError):
        os.preadv(os.open(os.__file__, os.O_RDONLY), [bytearray(1)], 0, os.RWF_NOWAIT)
    return True


@attack("L2")
def read_asynchronously(facts: dict[str, Any]) -> bool:
    call(206, 0, 1, ctypes.create_string_buffer(bytes(8)))  # io_setup
    return True


@attack("L2")
def read_ahead(facts: dict[str, Any]) -> bool:
    call(187, 213, os.open(os.__file__, os.O_RDONLY), 0, 4096)
    return True


@attack("L2")
def throw_a_library_out_of_memory(facts: dict[str, Any]) -> bool:
    with open(os.__file__, "rb") as file, mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ) as memory:
        for advice in (20, 21):  # COLD, PAGEOUT
            with contextlib.suppress(PermissionError):
                memory.madvise(advice)
                return True
    return False


@attack("L2")
def leave_a_hint(facts: dict[str, Any]) -> bool:
    for path in ("/dev/null", os.__file__):
        fd = os.open(path, os.O_RDONLY)
        for command in (1036, 1038):  # SET_RW_HINT, SET_FILE_RW_HINT
            with contextlib.suppress(OSError):
                fcntl.fcntl(fd, command, struct.pack("Q", 0))
                return True
    return False


@attack("L2")
def be_told_what_happens_in_a_folder(facts: dict[str, Any]) -> bool:
    fcntl.fcntl(os.open(os.path.dirname(os.__file__), os.O_RDONLY), fcntl.F_NOTIFY, fcntl.DN_ACCESS)
    return True


@attack("L2")
def change_a_device(facts: dict[str, Any]) -> bool:
    before = os.stat("/dev/full")
    os.chmod("/dev/full", before.st_mode ^ 0o001)
    changed = os.stat("/dev/full").st_mode != before.st_mode
    os.chmod("/dev/full", before.st_mode)
    os.utime("/dev/full", ns=(before.st_atime_ns, before.st_mtime_ns + 1))
    changed = changed or os.stat("/dev/full").st_mtime_ns != before.st_mtime_ns
    os.utime("/dev/full", ns=(before.st_atime_ns, before.st_mtime_ns))
    return changed


# Network and sockets


@attack("L2")
def connect_by_tcp(facts: dict[str, Any]) -> bool:
    with socket.socket() as client:
        client.connect(("127.0.0.1", facts["tcp_port"]))
    return True


@attack("L2")
def listen_by_tcp(facts: dict[str, Any]) -> bool:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
    return True


@attack("L2")
def send_by_udp(facts: dict[str, Any]) -> bool:
    with socket.socket(type=socket.SOCK_DGRAM) as sender:
        sender.sendto(b"x", ("127.0.0.1", facts["tcp_port"]))
    return True


@attack("L2")
def open_raw_socket(facts: dict[str, Any]) -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP):
        return True


@attack("L2")
def open_packet_socket(facts: dict[str, Any]) -> bool:
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW):
        return True


@attack("L2")
def open_netlink(facts: dict[str, Any]) -> bool:
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0):
        return True


@attack("L2")
def open_vsock(facts: dict[str, Any]) -> bool:
    with socket.socket(socket.AF_VSOCK, socket.SOCK_STREAM):
        return True


@attack("L2")
def connect_to_unix_socket(facts: dict[str, Any]) -> bool:
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(facts["unix_socket"])
    return True


@attack("L2")
def connect_to_abstract_socket(facts: dict[str, Any]) -> bool:
    with socket.socket(socket.AF_UNIX) as client:
        client.connect("\0" + facts["abstract_socket"])
    return True


@attack("L2")
def send_from_a_socket_pair(facts: dict[str, Any]) -> bool:
    for kind in (socket.SOCK_DGRAM, socket.SOCK_RAW):
        with contextlib.suppress(OSError):
            pair = socket.socketpair(socket.AF_UNIX, kind)
            pair[0].sendto(b"x", facts["unix_datagrams"])
            return True
    return False


@attack("L2")
def connect_a_socket_pair(facts: dict[str, Any]) -> bool:
    pair = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    pair[0].connect(facts["unix_socket"])
    return True


# The kernel


@attack("L2")
def gain_privileges(facts: dict[str, Any]) -> bool:
    with open("/proc/self/status") as file:
        status = dict(line.split(":", 1) for line in file)
    left = any(int(status[name], 16) for name in ("CapInh", "CapPrm", "CapEff", "CapAmb"))
    return left or int(status["NoNewPrivs"]) != 1


@attack("L2")
def regain_privileges_by_a_program(facts: dict[str, Any]) -> bool:
    program = """
import ctypes
header, sets = (ctypes.c_uint32 * 2)(0x20080522, 0), (ctypes.c_uint32 * 6)()
print(ctypes.CDLL(None).capget(header, sets), any(sets))
"""
    command = [sys.executable, "-S", "-c", program]
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout != "0 False\n"


@attack("L2")
def make_user_namespace(facts: dict[str, Any]) -> bool:
    call(272, 97, 0x10000000)
    return True


@attack("L2")
def clone_into_user_namespace(facts: dict[str, Any]) -> bool:
    child = call(56, 220, 0x10000000 | signal.SIGCHLD, 0, 0, 0, 0)
    if child == 0:
        os._exit(0)
    return True


@attack("L2")
def clone3_into_user_namespace(facts: dict[str, Any]) -> bool:
    arguments = struct.pack("QQQQQQQQ", 0x10000000, 0, 0, 0, signal.SIGCHLD, 0, 0, 0)
    child = call(435, 435, arguments, len(arguments))
    if child == 0:
        os._exit(0)
    return True


@attack("L2")
def mount_something(facts: dict[str, Any]) -> bool:
    call(165, 40, b"none", os.fsencode(os.getcwd()), b"tmpfs", 0, None)
    return True


@attack("L2")
def uncover_hidden_files(facts: dict[str, Any]) -> bool:
    call(166, 39, os.fsencode(facts["hidden_places"][0]), 2)
    return True


@attack("L2")
def join_namespaces(facts: dict[str, Any]) -> bool:
    call(308, 268, os.open("/proc/1/ns/mnt", os.O_RDONLY), 0)
    return True


@attack("L2")
def change_root(facts: dict[str, Any]) -> bool:
    os.chroot(".")
    return True


@attack("L2")
def open_by_handle(facts: dict[str, Any]) -> bool:
    handle = ctypes.create_string_buffer(struct.pack("Ii", 8, 1) + bytes(128))
    try:
        call(304, 265, os.open(".", os.O_RDONLY), handle, os.O_RDONLY)
    except OSError as error:
        return error.errno not in (errno.EPERM, errno.ENOSYS)
    return True


@attack("L2")
def use_io_uring(facts: dict[str, Any]) -> bool:
    call(425, 425, 4, ctypes.create_string_buffer(120))
    return True


@attack("L2")
def load_bpf(facts: dict[str, Any]) -> bool:
    try:
        call(321, 280, 5, ctypes.create_string_buffer(128), 128)
    except OSError as error:
        return error.errno not in (errno.EPERM, errno.ENOSYS)
    return True


@attack("L2")
def use_userfaultfd(facts: dict[str, Any]) -> bool:
    call(323, 282, 1)
    return True


@attack("L2")
def measure_the_kernel(facts: dict[str, Any]) -> bool:
    attributes = ctypes.create_string_buffer(struct.pack("IIQ", 1, 120, 0) + bytes(104))
    call(298, 241, attributes, 0, -1, -1, 0)
    return True


@attack("L2")
def use_another_architectures_calls(facts: dict[str, Any]) -> bool:
    if ARCH != "x86_64":
        return False
    child = os.fork()
    if child == 0:
        LIBC.syscall(ctypes.c_long(0x40000000 + 39))  # getpid of x32
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) != -signal.SIGSYS


@attack("L2")
def use_calls_of_tomorrow(facts: dict[str, Any]) -> bool:
    try:
        call(900, 900)
    except OSError as error:
        return error.errno != errno.ENOSYS
    return True


# What outlives a process


@attack("L2")
def keep_a_key(facts: dict[str, Any]) -> bool:
    call(248, 217, b"user", b"weights", b"x", 1, -4)  # the user's keyring
    return True


@attack("L2")
def keep_shared_memory(facts: dict[str, Any]) -> bool:
    call(29, 194, 0x5EC4E7, 4096, 0o1600)
    return True


@attack("L2")
def keep_semaphores(facts: dict[str, Any]) -> bool:
    call(64, 190, 0x5EC4E7, 1, 0o1600)
    return True


@attack("L2")
def keep_messages(facts: dict[str, Any]) -> bool:
    call(68, 186, 0x5EC4E7, 0o1600)
    return True


@attack("L2")
def keep_posix_messages(facts: dict[str, Any]) -> bool:
    call(240, 180, b"weights", os.O_CREAT | os.O_RDWR, 0o600, None)
    return True
