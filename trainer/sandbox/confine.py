"""Confining the calling process: everything that permissions ask of the process itself, in the one order that works.

Called in a freshly forked child with a single thread, before it runs anything that nobody has read. There is no way
back, and nothing is left out silently: a part that fails raises.
"""

from trainer.sandbox import bubblewrap, landlock, privileges, seccomp
from trainer.sandbox.levels import Isolation
from trainer.sandbox.permissions import Permissions


def prepare(permissions: Permissions) -> tuple[int, ...]:
    """Do once, in the process that forks the trials, the part of `enter` that all trials of a kind share.

    Returns:
        File descriptors that the children must keep open until `enter`, which closes them. Without them it does the
        work again, and takes a tenth of a second more.

    Raises:
        OSError: the level cannot be had.
    """
    if permissions.level < Isolation.L2:
        return ()
    seccomp.program(permissions.level, permissions.device, landlock.abi())
    if permissions.level >= Isolation.L3:
        bubblewrap.prepare(permissions)
    ruleset = landlock.prepare(permissions)
    return () if ruleset is None else (ruleset,)


def enter(permissions: Permissions) -> None:
    """Confine the calling process for good: resource limits, no privileges, and from L2 on Landlock and seccomp.

    Raises:
        OSError: a part of it failed. The process must end then: it is not confined.
    """
    privileges.limit(permissions)
    privileges.drop()
    if permissions.level >= Isolation.L2:
        landlock.restrict(permissions)
        seccomp.install(permissions.level, permissions.device, landlock.abi())
