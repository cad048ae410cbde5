"""Running the `nightshift` command as a person does: a process of its own, and nothing but what it prints."""

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.support.warm_parent import warm_parent


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
    """Run a command to its end. `env` adds to the environment of a process that is started cold; see `warm_parent`."""
    if env is None:
        return Finished(*warm_parent().command(list(map(str, arguments)), cwd, stdin))
    whole = {**os.environ, **env}
    done = subprocess.run(
        argv(*arguments), cwd=cwd, input=stdin, env=whole, capture_output=True, text=True, timeout=300
    )
    return Finished(done.returncode, done.stdout, done.stderr)
