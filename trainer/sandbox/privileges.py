"""Giving up what a process could do beyond its user's own rights, and limiting what it may take (Linux).

Capabilities are dropped from every set, the bounding set included, and `no_new_privs` makes setuid programs ordinary
ones, so nothing can win them back (capabilities(7), prctl(2)).
"""

import ctypes
import os
import resource
import sys
from contextlib import suppress
from pathlib import Path

from trainer.sandbox.levels import Isolation
from trainer.sandbox.permissions import Permissions

PR_CAPBSET_DROP, PR_SET_NO_NEW_PRIVS, PR_CAP_AMBIENT = 24, 38, 47
PR_CAP_AMBIENT_CLEAR_ALL = 4
CAPABILITY_VERSION_3 = 0x20080522
CAP_SETPCAP = 8
FIRST_TO_GO = "1000"
"""When the machine runs out of memory the kernel ends this process before any other."""


def limit(permissions: Permissions) -> None:
    """Set the resource limits, hard and soft alike. Address space has none: CUDA reserves huge ranges.

    Raises:
        OSError: a limit cannot be set.
    """
    limits = permissions.limits
    wanted = {
        resource.RLIMIT_CORE: 0,
        resource.RLIMIT_FSIZE: limits.disk_bytes,
        resource.RLIMIT_NOFILE: limits.open_files,
    }
    if permissions.level >= Isolation.L3:
        # Counted per user namespace there. Without one it would count all that the person runs. Root is exempt.
        wanted[resource.RLIMIT_NPROC] = limits.tasks
    for number, value in wanted.items():
        hard = resource.getrlimit(number)[1]
        ceiling = value if hard == resource.RLIM_INFINITY else min(value, hard)
        try:
            resource.setrlimit(number, (ceiling, ceiling))
        except ValueError as error:
            raise OSError(f"resource limit {number} cannot be set to {ceiling}: {error}") from error
    if sys.platform == "linux":
        with suppress(OSError):  # a courtesy to the rest of the machine, not a part of the confinement
            Path("/proc/self/oom_score_adj").write_text(FIRST_TO_GO)


def drop() -> None:
    """Give up every capability for good, and the chance to gain any by running a setuid program.

    Raises:
        OSError: something is left.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    if capabilities()[1] & (1 << CAP_SETPCAP):
        # Without this capability the bounding set stays, and is harmless: nothing can be gained from it below.
        for capability in range(_last_capability() + 1):
            _check(libc.prctl(PR_CAPBSET_DROP, capability, 0, 0, 0), f"capability {capability} cannot be dropped")
    _check(libc.prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0), "ambient capabilities cannot be cleared")
    _check(libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "privileges gained from programs cannot be ruled out")
    _check(libc.capset(_header(), (ctypes.c_uint32 * 6)()), "capabilities cannot be dropped")
    if any(capabilities()):
        raise OSError("capabilities are left after dropping them")


def capabilities() -> tuple[int, int, int]:
    """The calling thread's effective, permitted and inheritable capabilities, as bit sets."""
    libc = ctypes.CDLL(None, use_errno=True)
    data = (ctypes.c_uint32 * 6)()
    _check(libc.capget(_header(), data), "capabilities cannot be read")
    low, high = data[:3], data[3:]
    return (low[0] | high[0] << 32, low[1] | high[1] << 32, low[2] | high[2] << 32)


def _header() -> ctypes.Array[ctypes.c_uint32]:
    return (ctypes.c_uint32 * 2)(CAPABILITY_VERSION_3, 0)


def _last_capability() -> int:
    return int(Path("/proc/sys/kernel/cap_last_cap").read_text())


def _check(result: int, what: str) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")
