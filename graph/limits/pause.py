"""`nightshift pause` and `resume`: a file that asks the loop to wait between two trials. It outlives the loop."""

import getpass
import json
import os
import socket
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from graph.workspace import Workspace
from memory.atomic import atomic_write_text

LOOK_EVERY_S = 0.5
"""How soon a loop notices that it may go on."""


@dataclass(frozen=True, slots=True)
class Pause:
    """Who asked the loop to wait, and when, for people."""

    who: str
    since: str

    def __str__(self) -> str:
        return f"asked for by {self.who} at {self.since}"


def pause_path(workspace: Workspace) -> Path:
    """The file that is there while the workspace is to be paused."""
    return workspace.state_dir / "pause"


def ask_pause(workspace: Workspace) -> Pause:
    """Ask the loop to wait, unless somebody has; returns the pause that holds.

    Raises:
        HaltError: the file cannot be written.
    """
    before = pause_asked(workspace)
    if before is not None:
        return before
    pause = Pause(f"{_user()} on {socket.gethostname()}", datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"))
    atomic_write_text(pause_path(workspace), json.dumps(asdict(pause)))
    return pause


def end_pause(workspace: Workspace) -> bool:
    """Let the loop go on. Returns whether it was asked to wait."""
    with suppress(FileNotFoundError):
        pause_path(workspace).unlink()
        return True
    return False


def pause_asked(workspace: Workspace) -> Pause | None:
    """The pause that holds, or None. A file that says nothing sensible asks for one all the same."""
    path = pause_path(workspace)
    try:
        stored = json.loads(path.read_text(encoding="utf-8"))
        return Pause(str(stored["who"]), str(stored["since"]))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError):
        return Pause("somebody", "an unknown time") if path.exists() else None


def duration(seconds: float) -> str:
    """A span of time for a sentence: `8 seconds`, `12 minutes`, `3.5 hours`."""
    if seconds < 120:
        return f"{seconds:.0f} seconds"
    return f"{seconds / 60:.0f} minutes" if seconds < 7200 else f"{seconds / 3600:.1f} hours"


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container may run as a user that has no name
        return f"user {os.getuid()}"
