"""A reader beside the loop: opens the snapshot and asks it something, twice a second; a process of its own.

    python benchmarks/soaks/reader.py WORKSPACE OUTPUT [--hz 2] [--status-every 20]

After every poll OUTPUT is replaced by a JSON document: how many polls, the errors (once there was a snapshot), how many
trials were decided, what a later poll no longer said, and how long polls took. While the file OUTPUT with the ending
`.rest` exists it does not poll. Ends on SIGTERM.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

import rails.bootstrap  # noqa: E402, F401  # isort: skip  # pyright: ignore[reportUnusedImport]
from memory.reader import Reader  # noqa: E402
from rails.errors import NightshiftError  # noqa: E402

SQL = "SELECT trial, status, metric, measurements, lesson FROM trials WHERE status IS NOT NULL ORDER BY trial"


class Watcher:
    """What the polls said so far.

    Args:
        root: the workspace.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self._snapshot = root / ".nightshift" / "snapshot"
        self._seen: dict[int, list[Any]] = {}
        self._there = False
        self._asked: subprocess.Popen[str] | None = None
        self.polls, self.status_calls = 0, 0
        self.errors: list[str] = []
        self.changed: list[str] = []
        self.seconds: list[float] = []

    def poll(self) -> None:
        """Open the snapshot, ask, and compare with what was said before."""
        self._there = self._there or (self._snapshot / "manifest.json").exists()
        if not self._there:
            return
        self.polls += 1
        started = time.monotonic()
        try:
            with Reader.open(self._snapshot) as reader:
                rows = reader.query(SQL).rows
        except Exception as error:  # noqa: BLE001  (whatever it is, it is what this looks for)
            self.errors.append(f"{type(error).__name__}: {error}")
            return
        self.seconds.append(time.monotonic() - started)
        now = {row[0]: row for row in rows}
        for seq, row in self._seen.items():
            if now.get(seq) != row:
                self.changed.append(f"trial {seq}: {row} became {now.get(seq)}")
        self._seen = now

    def status(self) -> None:
        """Ask as a person does, without waiting for the answer; an earlier one is read first."""
        if self._asked is not None:
            _, said = self._asked.communicate()
            if self._asked.returncode != 0:
                self.errors.append(f"status ended with {self._asked.returncode}: {said[-500:]}")
            self._asked = None
        if self._there:
            self.status_calls += 1
            command = [sys.executable, "-m", "cli.main", "status", str(self._root), "--json"]
            self._asked = subprocess.Popen(
                command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, cwd=ROOT
            )

    def document(self) -> dict[str, Any]:
        """All of it, for the one who started this."""
        return {
            "polls": self.polls,
            "status_calls": self.status_calls,
            "errors": self.errors[:20],
            "error_count": len(self.errors),
            "changed": self.changed[:20],
            "decided": len(self._seen),
            "median_ms": round(1e3 * statistics.median(self.seconds), 1) if self.seconds else None,
            "max_ms": round(1e3 * max(self.seconds), 1) if self.seconds else None,
        }


def main() -> None:
    """Poll until killed, or until whoever started this is gone."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("workspace", type=Path)
    parser.add_argument("output", type=Path)
    parser.add_argument("--hz", type=float, default=2.0)
    parser.add_argument("--status-every", type=int, default=20, help="polls between two calls of `nightshift status`")
    arguments = parser.parse_args()
    watcher, output = Watcher(arguments.workspace), arguments.output
    due, parent = time.monotonic(), os.getppid()
    while os.getppid() == parent:
        if not output.with_suffix(".rest").exists():
            watcher.poll()
            if watcher.polls % arguments.status_every == arguments.status_every - 1:
                watcher.status()
            temporary = output.with_suffix(".tmp")
            temporary.write_text(json.dumps(watcher.document()), encoding="utf-8")
            temporary.replace(output)
        due = max(due + 1.0 / arguments.hz, time.monotonic())
        time.sleep(max(0.0, due - time.monotonic()))


if __name__ == "__main__":
    try:
        main()
    except NightshiftError as error:
        raise SystemExit(str(error)) from error
