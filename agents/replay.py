"""A proposer that gives the replies of a recording: the same night again, without a model."""

import json
import time
from pathlib import Path
from typing import Any

from agents.base import NoReplyError, ProposalContext, Reply, local_call
from memory.records import Trial, TrialKind
from rails.errors import UserError


class ReplayProposer:
    """Gives the raw replies of a JSONL file, one a line: `{"raw": "…"}`, a JSON string, or the proposal itself.

    Which line comes next follows from the trials in the store, so a campaign that was killed goes on where it was.

    Args:
        path: the recording.

    Raises:
        UserError: the file is missing, empty, or has a line that is not JSON.
    """

    name = "replay"
    repairs_crashes = False

    def __init__(self, path: Path) -> None:
        self._path = path
        self._replies = read_recording(path)

    def check_ready(self) -> None:
        """Always: it needs nobody."""

    def propose(self, context: ProposalContext) -> Reply:
        """Give the recorded reply for this attempt.

        Raises:
            NoReplyError: the recording is used up.
        """
        started = time.monotonic()
        earlier = sum(_replies_used(trial) for trial in context.trials if trial.seq < context.trial_seq)
        position = earlier + context.attempt
        if position >= len(self._replies):
            what = f"the recording has only {len(self._replies)} replies, and number {position + 1} is needed"
            raise NoReplyError(what, where=str(self._path), fix="run fewer trials, or use another proposer")
        raw = self._replies[position]
        return Reply(raw=raw, calls=(local_call(raw, time.monotonic() - started),))


def read_recording(path: Path) -> list[str]:
    """The raw replies in a recording, in order. Blank lines are skipped.

    Raises:
        UserError: as `ReplayProposer`.
    """
    try:
        lines = path.read_text(encoding="utf-8").split("\n")
    except FileNotFoundError:
        fix = "give the path of a JSONL file with one raw reply a line"
        raise UserError("there is no such recording", where=str(path), fix=fix) from None
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"the recording cannot be read ({error})", where=str(path), fix="save it as UTF-8") from None
    replies = [_raw(line, f"{path}:{number}") for number, line in enumerate(lines, start=1) if line.strip()]
    if not replies:
        raise UserError("the recording is empty", where=str(path), fix="put one raw reply a line")
    return replies


def _raw(line: str, where: str) -> str:
    try:
        entry: Any = json.loads(line)
    except (ValueError, RecursionError):
        raise UserError("the line is not JSON", where=where, fix='write {"raw": "…"} a line') from None
    match entry:
        case str():
            return entry
        case {"raw": str(raw)}:
            return raw
        case _:
            return line


def _replies_used(trial: Trial) -> int:
    """How many replies a trial took: its first one, and one for each correction or repair."""
    return 0 if trial.kind is TrialKind.BASELINE else trial.attempt + 1
