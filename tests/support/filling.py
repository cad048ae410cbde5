"""A night on a small disk that somebody else fills at a chosen moment, to the last byte.

    with small_disk(folder / "disk", mib=160) as disk:
        run = FilledNight(root, "candidate committed", trials=5)
        run.wait_until_paused()
        run.free()
        assert run.wait() == 0

As a program it is the loop itself: `nightshift run` in this process, with one function wrapped.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

MIB = 2**20
ROOT = Path(__file__).resolve().parent.parent.parent
SMALL = {
    "graph.limits.disk.PAUSE_BELOW_BYTES": 24,
    "graph.limits.disk.MIN_FREE_BYTES": 64,
    "graph.limits.disk.BALLAST_BYTES": 16,
}
"""Thresholds in MiB that leave room for a night on a disk of `SMALL_DISK_MIB`."""
SMALL_DISK_MIB = 160

PHASES: dict[str, tuple[str, str, int]] = {
    "trial opened": ("memory.store.Store", "open_trial", 2),
    "reply stored": ("memory.store.Store", "add_calls", 2),
    "candidate committed": ("memory.git.ratchet.Ratchet", "commit_candidate", 1),
    "process launched": ("trainer.trial.process.TrialProcess", "launch", 5),
    "training": ("graph.watching.events.Observer", "training", 5),
    "measured": ("memory.store.Store", "finish_measurement", 4),
    "decided": ("memory.store.Store", "decide", 2),
    "kept": ("memory.git.ratchet.Ratchet", "commit_keep", 1),
    "branch moved": ("memory.git.ratchet.Ratchet", "advance", 1),
    "published": ("graph.services.Services", "publish", 3),
}
"""Phase to owner, function, and which of its calls finds the disk full."""


class FilledNight:
    """The loop as a process of its own, whose disk is full from one of the `PHASES` on.

    Args:
        root: the workspace, on the small disk.
        phase: when the disk fills; None: never.
        trials: limit of the campaign.
        small: whether thresholds are `SMALL`; else they are the real ones.
    """

    def __init__(self, root: Path, phase: str | None, trials: int, *, small: bool = True) -> None:
        self.root, self.filler = root, root.parent / "filler"
        self.filled = root.parent.parent / f"{root.parent.name}-filled"
        self.log = root.parent.parent / f"{root.parent.name}-log"
        command = [sys.executable, "-m", "tests.support.filling", str(root), "--trials", str(trials)]
        command += ["--filler", str(self.filler), "--filled", str(self.filled)]
        command += ([] if phase is None else ["--phase", phase]) + (["--small"] if small else [])
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log, cwd=ROOT, env=environment)

    def wait_until_paused(self, seconds: float = 90.0) -> dict[str, Any]:
        """Wait until the disk is full and another process can read that the loop is paused; returns what it reads."""
        deadline, document = time.monotonic() + seconds, dict[str, Any]()
        while time.monotonic() < deadline:
            assert self.process.poll() is None, f"the loop ended: {self.said}"
            if self.filled.exists():
                document = self.status()
                if document.get("state") == "paused":
                    return document
            time.sleep(0.3)
        raise AssertionError(f"not paused within {seconds:g} s: {document.get('state')}; {self.said}")

    def status(self) -> dict[str, Any]:
        """What `nightshift status --json` says; empty when it says nothing."""
        command = [sys.executable, "-m", "cli.main", "status", str(self.root), "--json"]
        done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
        return json.loads(done.stdout) if done.returncode == 0 else {}

    def free(self) -> None:
        """Give the space back."""
        self.filler.unlink()

    def wait(self, seconds: float = 180.0) -> int:
        """Wait for the loop's end; returns its exit code."""
        return self.process.wait(seconds)

    def end(self) -> None:
        """Kill it, if it still runs."""
        self.process.kill()
        self.process.wait()

    @property
    def said(self) -> str:
        """The last that it printed."""
        return self.log.read_text(encoding="utf-8", errors="replace")[-4000:]


@contextmanager
def small_disk(place: Path, mib: int) -> Generator[Path]:
    """A disk of its own at `place`, in memory.

    Raises:
        PermissionError: nothing can be mounted here.
    """
    place.mkdir()
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={mib}m,mode=700", "nightshift-test", str(place)],
        capture_output=True,
        text=True,
    )
    if done.returncode != 0:
        raise PermissionError(f"no disk can be mounted here: {done.stderr.strip()}")
    try:
        yield place
    finally:
        subprocess.run(["umount", "--lazy", str(place)], check=True, capture_output=True)


def fill(filler: Path) -> None:
    """Leave not a byte free on the disk of `filler`."""
    with filler.open("ab", buffering=0) as file:
        for size in (MIB, 4096, 1):
            while _write(file.fileno(), b"\0" * size):
                pass


def _write(fd: int, data: bytes) -> bool:
    try:
        return os.write(fd, data) > 0
    except OSError:
        return False


def _arm(phase: str, filler: Path, filled: Path) -> None:
    """Fill the disk right before that call of the phase's function, once."""
    place, name, nth = PHASES[phase]
    owner = _find(place)
    original: Any = vars(owner)[name]
    function: Callable[..., Any] = original.__func__ if isinstance(original, classmethod) else original
    calls = 0

    def wrapped(*arguments: Any, **named: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == nth and not filled.exists():
            fill(filler)
            filled.touch()
        return function(*arguments, **named)

    setattr(owner, name, classmethod(wrapped) if isinstance(original, classmethod) else wrapped)


def _find(place: str) -> Any:
    """The module, or the class in a module, of that name."""
    from importlib import import_module

    module, _, last = place.rpartition(".")
    return getattr(import_module(module), last) if last[0].isupper() else import_module(place)


def main() -> None:
    """Run the night."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("root", type=Path)
    parser.add_argument("--trials", type=int, required=True)
    parser.add_argument("--filler", type=Path, required=True)
    parser.add_argument("--filled", type=Path, required=True)
    parser.add_argument("--phase", choices=PHASES)
    parser.add_argument("--small", action="store_true")
    arguments = parser.parse_args()
    import rails.bootstrap  # noqa: F401  # isort: skip  # pyright: ignore[reportUnusedImport]
    from graph.campaign.options import RunOptions
    from graph.night import run_night
    from graph.watching.events import Observer

    class Printing(Observer):
        def note(self, text: str) -> None:
            print(text, flush=True)

    for name, mib in SMALL.items() if arguments.small else ():
        place, _, constant = name.rpartition(".")
        setattr(_find(place), constant, mib * MIB)
    if arguments.phase is not None:
        _arm(arguments.phase, arguments.filler, arguments.filled)
    run_night(arguments.root, RunOptions(proposer="random", trials=arguments.trials, tag="disk"), Printing())


if __name__ == "__main__":
    main()
