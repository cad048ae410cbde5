"""The loop's side of the fork server: starting it, asking it for a trial, noticing that it is gone.

Importing torch takes two seconds, and forking a process that has done so a few milliseconds. The server imports what a
program is known to import, runs nothing of the program, and forks whenever it is asked. See
`trainer.launch.fork_server_main`.
"""

import ast
import json
import os
import pickle
import select
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rails.errors import HaltError
from trainer.launch.output import last_error
from trainer.sandbox import processes
from trainer.sandbox.permissions import Permissions

START_WITHIN_S = 120.0
FORK_WITHIN_S = 60.0
END_WITHIN_S = 5.0
MAX_ANSWER_BYTES = 64 * 1024
QUIET = {"PYTORCH_NVML_BASED_CUDA_CHECK": "1"}
"""Of the server's own environment: whoever asks whether there is a GPU must not wake its driver before a fork."""
PRELOADED: dict[str, tuple[str, ...]] = {
    "numpy": ("numpy",),
    # The first optimizer of a process imports half of the compiler, the first save its settings.
    "torch": ("torch", "torch.nn.functional", "torch._dynamo", "torch.utils.serialization.config"),
    "trainer": ("trainer.session", "trainer.data.packing", "trainer.data.shards"),
}
"""What is imported ahead for a program that imports the package: known code, named here, that starts no threads."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """One trial to start; descriptors travel beside it.

    Args:
        source_file: the program, in the permissions' scratch folder.
        procs_files: of the control groups that the supervisor must join.
    """

    source_file: Path
    permissions: Permissions
    environment: dict[str, str]
    procs_files: tuple[Path, ...]


@dataclass(frozen=True, slots=True)
class Started:
    """The process ids of a trial that runs."""

    supervisor: int
    trial: int


class ServerGone(Exception):
    """The fork server ended before it had forked."""


def preloads(source: str) -> tuple[str, ...]:
    """What a server should import ahead for programs like this one, found by reading it."""
    try:
        nodes = list(ast.walk(ast.parse(source)))
    except (SyntaxError, ValueError, RecursionError, MemoryError):  # it will crash, and say so, in its own process
        return PRELOADED["trainer"]
    names = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    names |= {node.module or "" for node in nodes if isinstance(node, ast.ImportFrom) and not node.level}
    packages = {name.split(".")[0] for name in names}
    return tuple(module for package, modules in PRELOADED.items() if package in packages for module in modules)


class ForkServer:
    """A running fork server.

    Args:
        threads: CPU threads of its trials: the libraries read it when they are loaded.
        preload: modules to import ahead.
        hidden: held-back files; see `trainer.launch.undocumented`.

    Raises:
        HaltError: it could not be started.
    """

    def __init__(self, threads: int, preload: Sequence[str], hidden: Sequence[Path]) -> None:
        with ExitStack() as undo:
            self._control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            undo.callback(self._control.close)
            self._log = undo.enter_context(tempfile.TemporaryFile())
            # The kernel goes by the thread that started it: one that ends must not take the server along.
            loop = os.getpid() if threading.current_thread() is threading.main_thread() else 0
            with theirs:
                self._process = subprocess.Popen(
                    [sys.executable, "-P", "-m", "trainer.launch.fork_server_main", str(theirs.fileno()), str(loop)],
                    cwd="/",
                    env=processes.scrubbed_environment(Path("/"), threads, QUIET),
                    stdin=subprocess.DEVNULL,
                    stdout=self._log,
                    stderr=self._log,
                    pass_fds=(theirs.fileno(),),
                    start_new_session=True,
                )
            processes.note_server(self._process.pid, True)
            undo.callback(self._end)
            self._greet(preload, hidden)
            self._undo = undo.pop_all()

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    def fork(self, order: Order, lifeline: int, output: int, pass_fds: Sequence[int]) -> Started:
        """Start a trial.

        Args:
            order: what to start.
            lifeline: read end of a pipe; the supervisor ends the trial when the pipe does.
            output: for its stdout and stderr.
            pass_fds: what else it gets, in this order, under the numbers from `processes.FIRST_FD` on.

        Raises:
            ServerGone: the server has ended; another one may do better.
            HaltError: the trial could not be confined as its permissions say, or not be started.
        """
        others = processes.present()
        report, theirs = os.pipe()
        try:
            try:
                socket.send_fds(self._control, [pickle.dumps(order)], [lifeline, theirs, output, *pass_fds])
            except OSError as error:
                raise ServerGone(str(error)) from error
            finally:
                os.close(theirs)
            return self._started(_read_to_end(report), others)
        finally:
            os.close(report)

    def close(self) -> None:
        """End it. Trials that it has started go on. Idempotent."""
        self._undo.close()

    def _greet(self, preload: Sequence[str], hidden: Sequence[Path]) -> None:
        with suppress(OSError):
            self._control.send(json.dumps({"preload": list(preload), "hidden": list(map(str, hidden))}).encode())
            self._control.settimeout(START_WITHIN_S)
            if self._control.recv(100) == b"ready":
                self._control.settimeout(None)
                return
        raise HaltError(f"the process that starts trials did not start: {self._last_words()}")

    def _started(self, report: bytes, others: frozenset[int]) -> Started:
        said: dict[str, Any] = {}
        for line in report.splitlines():
            said.update(json.loads(line))
        if "confined" not in said and "supervisor" in said:
            processes.discard(said["supervisor"], others)
        if "error" in said:
            raise HaltError(f"a trial could not be started: {said['error']}")
        if "confined" not in said:
            if self._process.poll() is not None:
                raise ServerGone(self._last_words())
            raise HaltError(f"a trial could not be started: it ended before it was confined: {self._last_words()}")
        return Started(said["supervisor"], said["trial"])

    def _last_words(self) -> str:
        self._control.close()
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(END_WITHIN_S)
        self._log.seek(0)
        return last_error(self._log.read().decode(errors="replace")) or "it said nothing"

    def _end(self) -> None:
        self._control.close()
        try:
            self._process.wait(END_WITHIN_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        processes.note_server(self._process.pid, False)


def _read_to_end(report: int) -> bytes:
    """Everything that is written to a pipe until nobody can write to it any more; what there is, if that takes long."""
    deadline, said = time.monotonic() + FORK_WITHIN_S, b""
    while len(said) < MAX_ANSWER_BYTES:
        if not select.select([report], [], [], max(0.0, deadline - time.monotonic()))[0]:
            break
        chunk = os.read(report, MAX_ANSWER_BYTES)
        if not chunk:
            break
        said += chunk
    return said
