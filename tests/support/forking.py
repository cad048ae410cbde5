"""What must be forked from a process with a single thread: run in a fresh interpreter, as a test's own is not one.

Libraries that other tests have loaded (pyarrow, OpenBLAS) start their threads again in every forked child.
"""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from trainer.sandbox import bubblewrap
from trainer.sandbox.control_group import ControlGroup
from trainer.sandbox.levels import Isolation
from trainer.sandbox.permissions import Limits, Permissions, readable_paths

ROOT = Path(__file__).resolve().parents[2]
LIMITS = Limits(memory_bytes=64 * 2**20, processes=5)


def in_fresh_process(function: Callable[[str], str], argument: str = "") -> str:
    """What a function of this module returns when a new interpreter runs it."""
    code = f"from tests.support.forking import {function.__name__} as run; print(run({argument!r}))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def in_child(work: Callable[[], str]) -> str:
    """What `work` returns in a forked child: a process that may join namespaces and never come back."""
    reading, writing, said = *os.pipe(), ""
    if (child := os.fork()) == 0:
        try:
            said = work()
        except Exception as error:  # noqa: BLE001 - whatever it is, it is the answer
            said = f"{type(error).__name__}: {error}"
        finally:
            os.write(writing, said.encode())
            os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as pipe:
        said = pipe.read()
    os.waitpid(child, 0)
    return said


def namespaced(scratch: str) -> Permissions:
    """Permissions at L3 with this folder."""
    return Permissions(
        level=Isolation.L3,
        scratch=Path(scratch),
        readable=readable_paths("cpu"),
        hidden=(),
        device="cpu",
        limits=Limits(memory_bytes=2**30),
    )


def processes_in_sight(scratch: str) -> str:
    """How many processes, and which network devices, a child in new namespaces sees; it leaves a file in scratch."""

    def supervise() -> str:
        holder = bubblewrap.start(namespaced(scratch))
        holder.join()

        def inside() -> str:
            Path(scratch, "from_inside").write_text("")
            processes = [name for name in os.listdir("/proc") if name.isdecimal()]
            return f"{len(processes)} {sorted(os.listdir('/sys/class/net') if os.path.exists('/sys/class') else [])}"

        said = in_child(inside)
        holder.end()
        return said

    return in_child(supervise)


def end_of_all(scratch: str) -> str:
    """How a child that ignores signals, and has a daemon, ends when its namespaces are ended."""

    def supervise() -> str:
        holder = bubblewrap.start(namespaced(scratch))
        holder.join()
        if (child := os.fork()) == 0:
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            if os.fork() == 0:
                os.setsid()
            time.sleep(600)
        holder.kill()
        how = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        holder.end()
        try:
            os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return str(how)
        return "something is left"

    return in_child(supervise)


def tasks_until_refused(unused: str) -> str:
    """How many tasks a control group has when the kernel refuses one more."""
    group = ControlGroup.create(LIMITS)

    def fill() -> str:
        for path in group.procs_files:
            path.write_text("0")
        made = 0
        try:
            while True:
                made += 1
                if os.fork() == 0:
                    time.sleep(600)
        except OSError:
            return str(made)

    try:
        reading, writing = os.pipe()
        child = os.fork()
        if child == 0:
            os.write(writing, fill().encode())
            os._exit(0)
        os.waitpid(child, 0)
        return os.read(reading, 16).decode()
    finally:
        group.kill()
        group.remove()
