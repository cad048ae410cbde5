"""Real git repositories for the ratchet's tests, and git as a person would run it."""

import os
import subprocess
from datetime import UTC, datetime
from pathlib import Path

SOURCE = "class Knobs:\n    depth: int = 4\n\n\nprint(Knobs.depth)\n"
WHEN = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
FILES = {"train.py": SOURCE, "program.md": "# Policy\n", "task.toml": 'name = "gpt"\n', ".gitignore": ".nightshift/\n"}


def git(folder: Path, *arguments: str, check: bool = True) -> str:
    """Run git as a person with a name; returns standard output and error together, stripped."""
    identity = {f"GIT_{who}_{what}": value for who in ("AUTHOR", "COMMITTER") for what, value in _PERSON.items()}
    done = subprocess.run(
        ["git", *arguments], cwd=folder, env={**os.environ, **identity}, capture_output=True, text=True, check=False
    )
    if check and done.returncode != 0:
        raise AssertionError(f"git {arguments} failed: {done.stderr}")
    return (done.stdout + done.stderr).strip()


def refs(folder: Path) -> dict[str, str]:
    """Every ref of a repository."""
    lines = git(folder, "for-each-ref", "--format=%(refname) %(objectname)").splitlines()
    return dict((line.split()[0], line.split()[1]) for line in lines)


def with_depth(depth: int) -> str:
    """The program with another value of its knob."""
    return SOURCE.replace("= 4", f"= {depth}")


_PERSON = {"NAME": "Ada", "EMAIL": "ada@example.com"}
