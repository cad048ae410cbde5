"""Running the `nightshift` command as a person does: a process of its own."""

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True)
class Finished:
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def document(self) -> Any:
        """What it printed with --json."""
        return json.loads(self.out)


def argv(*arguments: object) -> list[str]:
    """The command line that runs `nightshift` with this interpreter."""
    return [sys.executable, "-m", "cli.main", *(str(argument) for argument in arguments)]


def nightshift(
    *arguments: object, cwd: Path | None = None, stdin: str | None = None, env: dict[str, str] | None = None
) -> Finished:
    """Run a command to its end; `env` adds to the environment."""
    whole = None if env is None else {**os.environ, **env}
    done = subprocess.run(
        argv(*arguments), cwd=cwd, input=stdin, env=whole, capture_output=True, text=True, timeout=300
    )
    return Finished(done.returncode, done.stdout, done.stderr)
