"""The fork server: trusted code that has imported what trials need, and forks one whenever the loop asks.

Run as `python -P -m trainer.launch.fork_server_main FD PID`, where FD is a socket to the loop and PID the loop's, or 0.
It lives as long as the loop keeps the other end, and no longer than process PID: importing takes seconds, in which it
does not listen. It runs nothing of any program: a program runs in a child of a child, after that has been confined.

A process can be forked safely while it has a single thread and has not touched the GPU; that is checked each time.
"""

import atexit
import ctypes
import faulthandler
import gc
import importlib
import json
import os
import pickle
import signal
import socket
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import ModuleType, TracebackType
from typing import Any, NoReturn

from trainer.launch import supervisor
from trainer.launch.fork_server import Order
from trainer.launch.undocumented import import_undocumented
from trainer.sandbox import confine

MAX_ORDER_BYTES = 1 << 20
MAX_FDS = 16
TASKS, DESCRIPTORS = "/proc/self/task", "/proc/self/fd"
DRIVER = "/dev/nvidia"
"""A process that has used the GPU has these open."""


def main() -> Callable[[], NoReturn] | None:
    """Serve until the loop hangs up.

    Returns:
        In a trial's process, confined by now: what to do next, with nothing of the server on the stack. Else None.
    """
    die_with(int(sys.argv[2]))
    with socket.socket(fileno=int(sys.argv[1])) as control:
        greeting = json.loads(control.recv(MAX_ORDER_BYTES))
        prepare(greeting["preload"], [Path(path) for path in greeting["hidden"]])
        control.send(b"ready")
        return serve(control)


def die_with(parent: int) -> None:
    """Have the kernel kill this process when its parent, process `parent`, dies; 0: not."""
    if parent:
        ctypes.CDLL(None).prctl(supervisor.PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if os.getppid() != parent:
            os._exit(1)  # it was dead already


def prepare(preload: list[str], hidden: list[Path]) -> None:
    """Import everything, and leave the process fit to be forked."""
    if hidden:
        import_undocumented(hidden)
    for name in preload:
        importlib.import_module(name)
    # A library of linear algebra may have started threads when it was loaded. It ends them before a fork, and starts
    # them anew where they are needed: so fork once for nothing.
    if (child := os.fork()) == 0:
        os._exit(0)
    os.waitpid(child, 0)
    gc.collect()
    gc.freeze()  # a collection in a child would touch, and so copy, every page that it shares with us


def serve(control: socket.socket) -> Callable[[], NoReturn] | None:
    """Fork for each order; see `main`."""
    while True:
        message, fds, _, _ = socket.recv_fds(control, MAX_ORDER_BYTES, MAX_FDS)
        if not message:
            return None
        order: Order = pickle.loads(message)  # from the loop, which trusts us and which we trust
        lifeline, report, *passed = fds
        try:
            check_fit_to_fork()
            confine.prepare(order.permissions)
            fork_supervisor = os.fork()
        except (OSError, RuntimeError) as error:
            supervisor.tell(report, error=f"{type(error).__name__}: {error}")
            fork_supervisor = None
        if fork_supervisor == 0:
            control.close()
            supervisor.supervise(order, lifeline, report, passed)
            return program_runner(order)
        if fork_supervisor is not None:
            os.waitpid(fork_supervisor, 0)  # it has forked the supervisor, and so made it a child of the loop
        for fd in fds:
            os.close(fd)


def check_fit_to_fork() -> None:
    """A fork copies one thread only, and a driver's state not at all.

    Raises:
        RuntimeError: the process has more than one thread, or has used the GPU.
    """
    if (threads := len(os.listdir(TASKS))) != 1:
        raise RuntimeError(f"the process that starts trials has {threads} threads, so it cannot be forked safely")
    if any(DRIVER in open_file for open_file in open_files()):
        raise RuntimeError("the process that starts trials has used the GPU, so it cannot be forked safely")


def open_files() -> list[str]:
    """What the descriptors of this process are of."""
    found: list[str] = []
    for fd in os.listdir(DESCRIPTORS):
        with suppress(OSError):  # the one of the listing itself is closed by now
            found.append(os.readlink(f"{DESCRIPTORS}/{fd}"))
    return found


def program_runner(order: Order) -> Callable[[], NoReturn]:
    """What a trial's process does when it is confined: become `python train.py`, as far as a program can tell."""
    path = str(order.source_file)
    sys.argv = [order.source_file.name]
    sys.path.insert(0, str(order.source_file.parent))
    program = ModuleType("__main__")
    program.__dict__.update(__file__=path, __builtins__=__builtins__, __cached__=None, __loader__=None)
    sys.modules["__main__"] = program
    sys.excepthook = _ExceptHook(path)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    faulthandler.enable()
    renew_random_state()

    def run() -> NoReturn:
        """Compile and run the program, and end the process as the interpreter would."""
        try:
            source = order.source_file.read_bytes()
            exec(compile(source, path, "exec", dont_inherit=True), program.__dict__)
            code = 0
        except BaseException as error:  # noqa: BLE001 — a program may raise whatever it likes
            code = exit_code(error)
        finish(code)

    return run


def exit_code(error: BaseException) -> int:
    """The exit code of a program that ends with this exception, which is shown unless it is an orderly end."""
    if not isinstance(error, SystemExit):
        sys.excepthook(type(error), error, error.__traceback__)
        return 1
    if error.code is None or isinstance(error.code, int):
        return error.code or 0
    print(error.code, file=sys.stderr)
    return 1


def finish(code: int) -> NoReturn:
    """Wait for threads, call what was registered for the end, flush; but do not tear down half a gigabyte of modules.

    Freeing what we share with the server would copy it first, page by page.
    """
    with suppress(Exception):
        threading._shutdown()  # pyright: ignore[reportAttributeAccessIssue]  # what the interpreter calls at its end
    atexit._run_exitfuncs()  # pyright: ignore[reportPrivateUsage]  # likewise
    for stream in (sys.stdout, sys.stderr):
        with suppress(Exception):
            stream.flush()
    os._exit(code & 0xFF)


def renew_random_state() -> None:
    """What was drawn from the system at import must differ between trials, as it does between processes."""
    numpy: Any = sys.modules.get("numpy")
    if numpy is not None and "numpy.random" in sys.modules:
        numpy.random.seed()
    tempfile: Any = sys.modules.get("tempfile")
    if tempfile is not None:
        tempfile.tempdir = None


class _ExceptHook:
    """Shows an exception as the interpreter would if the program were its script: without our own frames."""

    def __init__(self, path: str) -> None:
        self._path = path

    def __call__(self, kind: type[BaseException], value: BaseException, trace: TracebackType | None) -> None:
        while trace is not None and trace.tb_frame.f_code.co_filename != self._path:
            trace = trace.tb_next
        sys.__excepthook__(kind, value.with_traceback(trace), trace)


if __name__ == "__main__":
    _run = main()
    if _run is not None:
        _run()
