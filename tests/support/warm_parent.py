"""A warm process that forks loops and commands: the seconds of imports are paid once, not for every kill.

It has a single thread and opens nothing, so that what it forks is as good as new. Orphans of a killed loop come to it:
it says when some did not end by themselves.
"""

import atexit
import ctypes
import json
import os
import select
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import psutil

ROOT = Path(__file__).resolve().parents[2]
PR_SET_CHILD_SUBREAPER = 36
END_WITHIN_S = 20.0
ORDER_WITHIN_S = 300.0
LATE = (
    *("git", "gitdb", "graph.night", "guardrails", "httpcore", "numpy.ma", "rails.checks.validators"),
    *(
        "tests.support.killing_night",
        "trainer.scoring.evaluate",
        "cli.main",
        "cli.show.progress_rows",
        "cli.show.status",
        "cli.show.trial",
    ),
    *("cli.show.difference", "cli.report.leave", "fontpkg", "resvg_py"),
)
"""What loops and commands load late."""


@dataclass(frozen=True, slots=True)
class Ended:
    """How a loop ended."""

    code: int
    """Exit code; negative for the signal that killed it."""
    log: str
    """The last of what it said."""
    left: list[str]
    """Processes that it left, and that did not end by themselves."""

    @property
    def well(self) -> bool:
        """Whether it came to its end and left nothing."""
        return self.code == 0 and not self.left


class Parent:
    """The test's end; see `warm_parent`. May be asked from any thread."""

    def __init__(self) -> None:
        environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
        self._lock = threading.Lock()
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.support.warm_parent"],
            cwd=ROOT,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def run(self, chapter: str, root: Path, point: Any = None) -> Ended:
        """Run a chapter in a process of its own to its end, or to the point where it dies."""
        log = root.parent / "log"
        code, left = self._order(log, log, chapter=chapter, root=str(root), point=point)
        return Ended(code, log.read_text()[-4000:], left)

    def command(self, arguments: Sequence[str], cwd: Path | None, stdin: str | None) -> tuple[int, str, str]:
        """Run `nightshift` with these arguments, in the environment of this process; exit code, stdout and stderr."""
        with TemporaryDirectory() as folder:
            given, out, err = (Path(folder) / name for name in ("in", "out", "err"))
            given.write_text(stdin or "")
            place = {"cwd": str(cwd or Path.cwd()), "env": dict(os.environ), "stdin": str(given)}
            code, left = self._order(out, err, arguments=list(arguments), **place)
            assert left == [], f"a command left processes: {left}"
            return code, out.read_text(), err.read_text()

    def _order(self, out: Path, err: Path, **order: Any) -> tuple[int, list[str]]:
        assert self._process.stdin is not None and self._process.stdout is not None
        with self._lock:
            self._process.stdin.write(json.dumps({"out": str(out), "err": str(err), **order}) + "\n")
            self._process.stdin.flush()
            hangs = not select.select([self._process.stdout], [], [], ORDER_WITHIN_S)[0]
            if hangs:
                for child in psutil.Process(self._process.pid).children(recursive=True):
                    child.kill()
            code, left = json.loads(self._process.stdout.readline())
        assert not hangs, f"killed: {order.get('arguments') or order['chapter']} took more than {ORDER_WITHIN_S:g} s"
        return code, left

    def close(self) -> None:
        """End the process."""
        self._process.communicate()


@cache
def warm_parent() -> Parent:
    """The one of this process; it ends with it."""
    parent = Parent()
    atexit.register(parent.close)
    return parent


def main() -> None:
    """Obey orders, one a line, until there are no more."""
    _warm_up()
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    for line in sys.stdin:
        order = json.loads(line)
        child = os.fork()
        if child == 0:
            _obey(order)
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        print(json.dumps([code, _orphans()]), flush=True)


def _warm_up() -> None:
    """Load all that, and find out what every loop would find out about this machine."""
    import rails.bootstrap  # noqa: F401  # isort: skip  # pyright: ignore[reportUnusedImport]

    for name in LATE:
        import_module(name)
    from trainer.sandbox.levels import best_isolation

    best_isolation()
    assert len(os.listdir("/proc/self/task")) == 1, "forks of a process with threads are not as good as new"


def _obey(order: Any) -> None:
    """In the child: become a loop or a command, and never come back."""
    for descriptor, name in ((1, "out"), (2, "err")):
        os.dup2(os.open(order[name], os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_TRUNC, 0o600), descriptor)
    os.dup2(os.open(order.get("stdin", os.devnull), os.O_RDONLY), 0)
    code = 1
    try:
        if "chapter" in order:
            _play(order)
        else:
            _command(order)
        code = 0
    except BaseException:  # noqa: BLE001 - whatever it is, the test must read it
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(code)


def _play(order: Any) -> None:
    from tests.support.killing import from_document
    from tests.support.killing_night import CHAPTERS, run_chapter

    run_chapter(CHAPTERS[order["chapter"]], Path(order["root"]), from_document(order["point"]))


def _command(order: Any) -> None:
    from cli.main import main as command

    os.chdir(order["cwd"])
    os.environ.clear()
    os.environ.update(order["env"])
    sys.argv = ["nightshift", *order["arguments"]]
    command()


def _orphans() -> list[str]:
    """Reap what a loop has left; what does not end by itself is named, and killed."""
    deadline = time.monotonic() + END_WITHIN_S
    try:
        while time.monotonic() < deadline:
            if os.waitpid(-1, os.WNOHANG)[0] == 0:
                time.sleep(0.005)
    except ChildProcessError:
        return []
    children = Path(f"/proc/{os.getpid()}/task/{os.getpid()}/children").read_text().split()
    names = [Path(f"/proc/{child}/cmdline").read_text().replace("\0", " ") for child in children]
    for child in map(int, children):
        os.kill(child, 9)
        os.waitpid(child, 0)
    return names


if __name__ == "__main__":
    main()
