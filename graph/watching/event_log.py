"""What the loop said since it began, one JSON object a line, in a file that other programs can follow.

The loop only puts words into a queue; a thread writes them, at most twice a second, and a disk that is full or gone
costs the loop nothing: what could not be written is counted as missed. Lines are ASCII, so that nothing in them can act
on a terminal. The file is there from a loop's beginning until the next one's, begins with a line that names the loop,
and begins anew when it has become large.
"""

import json
import math
import os
import socket
import threading
import time
from contextlib import suppress
from pathlib import Path
from queue import Empty, SimpleQueue
from types import TracebackType
from typing import Any, Self

from graph.watching.events import Observer, TrainingProgress
from graph.watching.resume_point import ResumePoint
from memory.lock import own_start_s
from memory.records import Campaign, CampaignState, Measurement, Trial, utc_now
from rails.text import clean_text

EVERY_S = 0.5
"""The file is written no more often."""

PROGRESS_EVERY_S = 1.0
"""Reports of a training, and of the preparing of data, are passed on no more often."""

MAX_BYTES = 16_000_000
"""From this size on the file begins anew: a night of eight hours has some five million."""

TEXT_CHARS = 1000
"""Most of any text."""


class EventLog(Observer):
    """Writes the file while it is entered. Its methods cost microseconds and never fail.

    A signal handler may call `note` in the middle of any other method: nothing here takes a lock.

    Args:
        path: of the file; its folder is there.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._said = SimpleQueue[dict[str, Any] | None]()
        self._file: int | None = None
        self._torn, self._missed = False, 0
        self._last_s = dict[str, float]()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._write_what_is_said, name="events", daemon=True)

    def __enter__(self) -> Self:
        with suppress(OSError):
            self._begin()
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._say("loop_ended")
        self._said.put(None)
        self._over.set()
        self._thread.join()
        if self._file is not None:
            os.close(self._file)

    def preparing(self, stage: str, done: int, total: int) -> None:
        """See `Observer`."""
        if self._is_due("preparing"):
            self._say("preparing", stage=stage, share=done / total if total else None)

    def campaign_started(self, campaign: Campaign, resume_point: ResumePoint | None) -> None:
        """See `Observer`."""
        self._say(
            "campaign_started",
            campaign=campaign.campaign_id,
            tag=campaign.tag,
            proposer=campaign.proposer,
            lineage=campaign.lineage,
            limits=campaign.limits,
            resumed=None if resume_point is None else resume_point.sentence,
        )

    def state_changed(self, state: CampaignState, reason: str | None) -> None:
        """See `Observer`."""
        self._say("state", state=str(state), reason=reason)

    def trial_opened(self, trial: Trial) -> None:
        """See `Observer`."""
        self._say("trial_opened", trial=trial.seq, kind=str(trial.kind))

    def planning(self, trial: Trial, step: str, text: str) -> None:
        """See `Observer`."""
        self._say("planning", trial=trial.seq, step=step, text=text)

    def proposed(self, trial: Trial, attempt: int) -> None:
        """See `Observer`."""
        self._say("proposed", trial=trial.seq, attempt=attempt, proposer=trial.proposer, **_author(trial))

    def railed(self, trial: Trial, rail: str | None, reason: str | None) -> None:
        """See `Observer`."""
        self._say(
            "railed", trial=trial.seq, attempt=trial.attempt, passed=rail is None, rail=rail, reason=reason,
            edit=trial.edit_key,
        )  # fmt: skip

    def training(self, progress: TrainingProgress) -> None:
        """See `Observer`."""
        if self._is_due("progress"):
            self._say(
                "progress",
                trial=progress.trial_seq,
                measured=progress.measured_seq,
                seed_index=progress.seed_index,
                step=progress.step,
                tokens=progress.tokens,
                elapsed_s=progress.elapsed_s,
                loss=progress.loss,
                share=progress.fraction,
            )

    def scoring(self, trial: Trial) -> None:
        """See `Observer`."""
        self._say("scoring", trial=trial.seq)

    def measured(self, trial: Trial, measurement: Measurement) -> None:
        """See `Observer`."""
        self._say(
            "measured",
            trial=trial.seq,
            seed_index=measurement.seed_index,
            purpose=str(measurement.purpose),
            state=str(measurement.state),
            score=measurement.score,
            reason=measurement.reason,
        )

    def decided(self, trial: Trial) -> None:
        """See `Observer`."""
        self._say(
            "decided",
            trial=trial.seq,
            status=None if trial.status is None else str(trial.status),
            reason=trial.reason,
            edit=trial.edit_key,
            **_author(trial),
            metric=trial.metric,
            gain=trial.gain,
            gain_low=trial.gain_low,
            gain_high=trial.gain_high,
            measurements=trial.n_measurements,
            total_s=trial.total_s,
            usd=trial.usd,
            joules=trial.joules,
        )

    def measuring_result(self, target: Trial, seed_index: int) -> None:
        """See `Observer`."""
        self._say("measuring_result", trial=target.seq, seed_index=seed_index)

    def keep_undone(self, trial: Trial, incumbent: Trial) -> None:
        """See `Observer`."""
        self._say("keep_undone", trial=trial.seq, incumbent=incumbent.seq)

    def note(self, text: str) -> None:
        """See `Observer`."""
        self._say("note", text=text)

    def campaign_stopped(self, campaign: Campaign) -> None:
        """See `Observer`."""
        self._say("campaign_stopped", campaign=campaign.campaign_id, reason=campaign.stop_reason)

    def _is_due(self, what: str) -> bool:
        now = time.monotonic()
        due = now - self._last_s.get(what, -math.inf) >= PROGRESS_EVERY_S
        if due:
            self._last_s[what] = now
        return due

    def _say(self, event: str, **fields: Any) -> None:
        self._said.put(_event(event, fields))

    def _write_what_is_said(self) -> None:
        goes_on = True
        while goes_on:
            said = [self._said.get()]
            with suppress(Empty):
                while True:
                    said.append(self._said.get_nowait())
            events = [event for event in said if event is not None]
            goes_on = len(events) == len(said)
            self._write(events)
            if goes_on:
                self._over.wait(EVERY_S)

    def _write(self, events: list[dict[str, Any]]) -> None:
        missed = [_event("missed", {"count": self._missed})] if self._missed else []
        data = "".join(map(_line, [*missed, *events])).encode("ascii")
        try:
            if self._file is None or os.fstat(self._file).st_size > MAX_BYTES:
                self._begin()
            assert self._file is not None
            whole = b"\n" * self._torn + data
            self._torn = os.write(self._file, whole) < len(whole)
            self._missed = len(events) if self._torn else 0
        except OSError:
            self._missed += len(events)

    def _begin(self) -> None:
        """A new file, and its first line. Whoever reads the old one keeps it until it has read it to its end."""
        self._path.unlink(missing_ok=True)
        file = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
        if self._file is not None:
            os.close(self._file)
        self._file, self._torn = file, False
        names = {"pid": os.getpid(), "host": socket.gethostname(), "started_s": own_start_s()}
        os.write(file, _line(_event("loop", names)).encode("ascii"))


def _author(trial: Trial) -> dict[str, Any]:
    return {"specialist": trial.specialist, "origin": None if trial.origin is None else str(trial.origin)}


def _event(event: str, fields: dict[str, Any]) -> dict[str, Any]:
    return {"at": utc_now().isoformat(), "event": event, **fields}


def _line(event: dict[str, Any]) -> str:
    return json.dumps({name: _plain(value) for name, value in event.items()}, default=str) + "\n"


def _plain(value: Any) -> Any:
    """A value as JSON has it: no endless text, and null for what is no number."""
    if isinstance(value, str):
        return clean_text(value, TEXT_CHARS)
    return None if isinstance(value, float) and not math.isfinite(value) else value
