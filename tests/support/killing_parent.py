"""A warm process that forks a loop at a time: the two seconds of imports are paid once, not for every kill.

It has a single thread and opens nothing, so that what it forks is as good as new. Orphans of a killed loop come to it:
it says when some did not end by themselves.
"""

import ctypes
import json
import os
import subprocess
import sys
import time
import traceback
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from types import TracebackType
from typing import Any, Self

ROOT = Path(__file__).resolve().parents[2]
PR_SET_CHILD_SUBREAPER = 36
END_WITHIN_S = 20.0


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
    """The test's end. Use it as a context manager."""

    def __init__(self) -> None:
        environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.support.killing_parent"],
            cwd=ROOT,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def run(self, chapter: str, root: Path, point: Any = None) -> Ended:
        """Run a chapter in a process of its own to its end, or to the point where it dies."""
        assert self._process.stdin is not None and self._process.stdout is not None
        order = {"chapter": chapter, "root": str(root), "point": point}
        self._process.stdin.write(json.dumps(order) + "\n")
        self._process.stdin.flush()
        return Ended(**json.loads(self._process.stdout.readline()))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.communicate()


def main() -> None:
    """Obey orders, one a line, until there are no more."""
    _warm_up()
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    for line in sys.stdin:
        order = json.loads(line)
        log = Path(order["root"]).parent / "log"
        child = os.fork()
        if child == 0:
            _obey(order, log)
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        left = _orphans()
        print(json.dumps({"code": code, "log": log.read_text()[-4000:], "left": left}), flush=True)


def _warm_up() -> None:
    """Load what a loop loads late, and find out what it would find out about this machine."""
    import rails.bootstrap  # noqa: F401  # isort: skip  # pyright: ignore[reportUnusedImport]

    for name in ("git", "gitdb", "graph.night", "guardrails", "httpcore", "numpy.ma", "rails.validators"):
        import_module(name)
    for name in ("tests.support.killing_night", "trainer.evaluate"):
        import_module(name)
    from trainer.isolation import best_isolation

    best_isolation()
    assert len(os.listdir("/proc/self/task")) == 1, "forks of a process with threads are not as good as new"


def _obey(order: Any, log: Path) -> None:
    """In the child: become a loop, and never come back."""
    from tests.support.killing import from_document
    from tests.support.killing_night import CHAPTERS, run_chapter

    with log.open("w") as file:
        for descriptor in (1, 2):
            os.dup2(file.fileno(), descriptor)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    code = 1
    try:
        run_chapter(CHAPTERS[order["chapter"]], Path(order["root"]), from_document(order["point"]))
        code = 0
    except BaseException:  # noqa: BLE001 - whatever it is, the test must read it
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(code)


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
