"""Trying the isolation levels: a process of its own that really confines children and looks whether it worked.

Run by `trainer.sandbox.levels.probe`, because only a process with a single thread can fork safely. Prints a JSON
object: level → why it cannot be had, empty when it can.
"""

import json
import os
import shutil
import sys
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from trainer.sandbox import bubblewrap, confine, seccomp
from trainer.sandbox.control_group import ControlGroup
from trainer.sandbox.levels import Isolation
from trainer.sandbox.permissions import Limits, Permissions, readable_paths

SECRET = "secret"
LIMITS = Limits(memory_bytes=256 * 2**20)


def main() -> None:
    """Try every level and print what was found."""
    with tempfile.TemporaryDirectory(prefix="nightshift-") as folder:
        outside = Path(folder).resolve()
        scratch = outside / "scratch"
        scratch.mkdir()
        (outside / SECRET).write_text("")
        found = {
            level: attempt(_permissions(level, scratch), outside)
            for level, attempt in ((Isolation.L2, landlocked), (Isolation.L3, namespaced), (Isolation.L4, grouped))
        }
    json.dump(found, sys.stdout)


def landlocked(permissions: Permissions, outside: Path) -> str:
    """Why Landlock and seccomp do not confine a child here; empty when they do."""
    if not seccomp.supported():
        return f"the system call filter is written for x86_64 and aarch64, not for {os.uname().machine}"
    why = _looked_into(outside, _in_child(lambda: _confined(permissions, outside)))
    if "no Landlock" in why:
        return f"{why}; use Linux 5.13 or newer with 'landlock' in the kernel's lsm= list"
    return why


def namespaced(permissions: Permissions, outside: Path) -> str:
    """Why bubblewrap cannot give a child namespaces of its own here; empty when it can."""
    if shutil.which("bwrap") is None:
        return "bubblewrap is not installed: apt install bubblewrap (or your system's like)"

    def supervise() -> str:
        holder = bubblewrap.start(permissions)
        try:
            holder.join()
            return _in_child(lambda: _confined(permissions, outside))
        finally:
            holder.end()

    why = _looked_into(outside, _in_child(supervise))
    if "Unknown option" in why:
        return f"{why}; bubblewrap 0.7 or newer is needed"
    if "namespace" in why or "uid map" in why or "loopback" in why:
        restricted = Path("/proc/sys/kernel/apparmor_restrict_unprivileged_userns")
        if restricted.exists() and restricted.read_text().strip() == "1":
            return f"{why}; allow bubblewrap in AppArmor, or: sysctl kernel.apparmor_restrict_unprivileged_userns=0"
        return f"{why}; user namespaces must be allowed for this user (in a container: by its security profile)"
    return why


def grouped(permissions: Permissions, outside: Path) -> str:
    """Why no control group can be made here; empty when one can."""
    try:
        group = ControlGroup.create(permissions.limits)
    except OSError as error:
        return f"{error}; as an ordinary user, run under: systemd-run --user --scope nightshift …"
    try:
        return _in_child(lambda: _joined(group))
    finally:
        group.kill()
        group.remove()


def _permissions(level: Isolation, scratch: Path) -> Permissions:
    return Permissions(
        level=level, scratch=scratch, readable=readable_paths("cpu"), hidden=(), device="cpu", limits=LIMITS
    )


def _looked_into(outside: Path, why: str) -> str:
    """What an attempt said, or what the confined process could do all the same."""
    kept_out = not (outside / "written").exists()
    return why if kept_out or why else "a confined process could write outside its folder: Landlock does not hold here"


def _confined(permissions: Permissions, outside: Path) -> str:
    """Confine the calling process, and see that it can do what it must and nothing else."""
    confine.enter(permissions)
    (permissions.scratch / "mine").write_text("")
    os.listdir(os.path.dirname(os.__file__))
    with suppress(OSError):
        (outside / "written").write_text("")  # in namespaces it is another folder of that name
    with suppress(OSError):
        (outside / SECRET).read_text()
        return "a confined process could read outside its folder: Landlock does not hold here"
    return ""


def _joined(group: ControlGroup) -> str:
    for path in group.procs_files:
        path.write_text("0")
    return ""


def _in_child(attempt: Callable[[], str]) -> str:
    """What an attempt says, or how it failed, made in a forked child."""
    reading, writing, why = *os.pipe(), "the attempt was broken off"
    child = os.fork()
    if child == 0:
        try:
            why = attempt()
        except Exception as error:  # noqa: BLE001 - whatever it is, it is the reason
            why = str(error) or type(error).__name__
        finally:
            os.write(writing, why.encode()[:2048])
            os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        why = pipe.read().decode()
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    return why if status == 0 else f"the attempt ended with {status}"
