"""Signal, trace and read the loop, its supervisor and every other process in sight."""

import errno
import os
from typing import Any

from cli.attacks.programs.common import PARAMS, Logits, Tokens, attempt, honest, libc, module, trained
from trainer.train import GPT, Session


def main() -> None:
    session, model = trained(attack_all)

    def logits(tokens_BT: Tokens) -> Logits:
        return honest(model, tokens_BT)

    session.serve(logits)


def attack_all(session: Session, model: GPT) -> None:
    """The loop by the number that it has outside, and whoever is our parent in here."""
    for pid in sorted({os.getppid(), PARAMS["loop_pid"]} - {0, 1, os.getpid()}):
        attack(pid)


def attack(pid: int) -> None:
    """Everything that one process may do to another, in a form that does no harm."""
    signal, resource = module("signal"), module("resource")
    attempt(f"process {pid} by a signal", lambda: os.kill(pid, signal.SIGURG))
    attempt(f"process {pid} by its pidfd", lambda: signal.pidfd_send_signal(os.pidfd_open(pid), signal.SIGURG))
    attempt(f"memory of {pid}", lambda: os.close(os.open(f"/proc/{pid}/mem", os.O_RDWR)))
    attempt(f"limits of {pid}", lambda: same_limit(pid, resource))
    attempt(f"memory of {pid} as a tracer", lambda: read_memory(pid))


def same_limit(pid: int, resource: Any) -> None:
    """Set a limit of another process to what it is."""
    resource.prlimit(pid, resource.RLIMIT_NICE, resource.prlimit(pid, resource.RLIMIT_NICE))


def read_memory(pid: int) -> None:
    """Ask for a byte of its memory: needs the right to trace it, and unlike tracing it disturbs nobody."""
    ctypes, c = module("ctypes"), libc()
    byte = ctypes.create_string_buffer(1)
    piece = (ctypes.c_size_t * 2)(ctypes.addressof(byte), 1)
    if c.process_vm_readv(pid, piece, 1, piece, 1, 0) < 0 and ctypes.get_errno() != errno.EFAULT:
        raise PermissionError(ctypes.get_errno(), "it is not ours to read")
