"""What the attempts of `isolation_program` are made with: see there."""

import ctypes
import os
from collections.abc import Callable
from typing import Any

Attempt = Callable[[dict[str, Any]], "bool | None"]

ATTACKS: dict[str, tuple[str, Attempt]] = {}
HONEST: dict[str, tuple[str, Attempt]] = {}
LIBC = ctypes.CDLL(None, use_errno=True)
ARCH = os.uname().machine
SECONDS = 30


def attack(level: str) -> Callable[[Attempt], Attempt]:
    def register(function: Attempt) -> Attempt:
        ATTACKS[function.__name__] = (level, function)
        return function

    return register


def honest(level: str = "L1") -> Callable[[Attempt], Attempt]:
    def register(function: Attempt) -> Attempt:
        HONEST[function.__name__] = (level, function)
        return function

    return register


def call(x86_64: int, aarch64: int, *arguments: Any) -> int:
    """A system call by number; raises OSError."""
    result = LIBC.syscall(ctypes.c_long(x86_64 if ARCH == "x86_64" else aarch64), *arguments)
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return result


def target(facts: dict[str, Any], name: str) -> str:
    """A file outside with the text `before`, for one attack."""
    return f"{facts['outside']}/{name}"
