"""What the loop does at this moment, in a small file for whoever watches from another process.

The loop only notes what it is told of; a thread writes the file, at most twice a second and only when something is new,
and a disk that is full or gone costs the loop nothing. The file is replaced by an atomic rename, is there while the
loop is, and names it: one that a killed loop left behind can be told from that of a loop at work.
"""

import os
import socket
import threading
import time
from contextlib import suppress
from pathlib import Path
from queue import SimpleQueue
from types import TracebackType
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, ValidationError

from graph.watching.events import Observer, TrainingProgress
from graph.watching.resume_point import ResumePoint
from memory.lock import own_start_s
from memory.records import Campaign, CampaignState, Measurement, Trial, TrialKind
from rails.text import clean_text

EVERY_S = 0.5
"""The file is written no more often."""

MAX_POINTS = 200
"""Points of a running curve that are kept: more than any terminal is wide."""

PLANNING_CHARS = 200
"""Of a step of the planner, more than any terminal is wide."""

MAX_FILE_BYTES = 1_000_000
"""More than a loop ever writes: what is larger is not read."""


class LivePart(BaseModel):
    """Base of what the file holds: immutable; keys of a newer loop are passed over."""

    model_config = ConfigDict(frozen=True, extra="ignore", allow_inf_nan=True, ser_json_inf_nan="null")


class LiveTraining(LivePart):
    """A training that runs, or was the last that ran in this trial."""

    measured: int
    """The trial whose program it is."""
    seed_index: int
    step: int
    tokens: int
    elapsed_s: float
    loss: float | None
    fraction: float
    """Share of the budget used, 0 to 1."""
    curve: list[tuple[float, float | None]]
    """(share of the budget, loss), thinned evenly, the newest point last."""


class LiveState(LivePart):
    """The content of the file."""

    pid: int
    host: str
    started_s: float
    """When the loop's process started, as `memory.lock.Holder` has it."""
    monotonic_s: float
    """When this was written, by the machine's monotonic clock, which all its processes share."""
    preparing: str | None = None
    """What is being done to the training data before the campaign begins, and how far it is."""
    campaign_id: str | None = None
    tag: str | None = None
    active_s: float = 0.0
    """Running time of the campaign when this was written; it grows while the state is not `paused`."""
    limits: dict[str, Any] = {}
    budget: dict[str, Any] = {}
    """Of one training: `kind` and `amount`."""
    state: CampaignState = CampaignState.RUNNING
    state_reason: str | None = None
    state_since_s: float | None = None
    """By the monotonic clock; likewise `phase_since_s`."""
    trial: int | None = None
    edit: str | None = None
    attempt: int = 0
    phase: str = "starting"
    """starting, proposing, checking, launching, training, scoring, deciding, or between (trials)."""
    phase_since_s: float | None = None
    planning: str | None = None
    """The last step of the planner towards the proposal that it is asked for."""
    result: bool = False
    """Whether the search is over, and its result is being measured."""
    usd: float | None = None
    """Dollars of all calls that are stored, those of the trial in hand included; None: none has a price."""
    joules: float | None = None
    """Energy of the campaign when it was last read: every second of a training, after each call, between trials."""
    training: LiveTraining | None = None
    note: str | None = None
    """The last thing that a person should know."""
    note_since_s: float | None = None
    """When it was said, by the monotonic clock."""


def read_live(path: Path) -> LiveState | None:
    """What the file at `path` says; None when there is none, or none that this nightshift understands."""
    try:
        with path.open("rb") as file:
            return LiveState.model_validate_json(file.read(MAX_FILE_BYTES))
    except (OSError, ValidationError):
        return None


class Curve:
    """The points of a running training: every one until there are too many, then every second, every fourth, …"""

    def __init__(self) -> None:
        self._points: list[tuple[float, float | None]] = []
        self._stride, self._seen = 1, 0
        self._last: tuple[float, float | None] | None = None

    def add(self, fraction: float, loss: float) -> None:
        """Take a point."""
        self._last = (fraction, loss)
        if self._seen % self._stride == 0:
            if len(self._points) >= MAX_POINTS - 1:
                self._points, self._stride = self._points[::2], 2 * self._stride
            if self._seen % self._stride == 0:
                self._points.append(self._last)
        self._seen += 1

    @property
    def points(self) -> list[tuple[float, float | None]]:
        """At most `MAX_POINTS`, the newest last."""
        points, last = list(self._points), self._last
        return points if last is None or (points and points[-1] == last) else [*points, last]


class LiveFile(Observer):
    """Keeps the file while it is entered, and removes it afterwards. Its methods cost microseconds and never fail.

    A signal handler may call `note` in the middle of any other method: nothing here takes a lock.

    Args:
        path: of the file; its folder is there.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._known: dict[str, Any] = {
            "pid": os.getpid(),
            "host": socket.gethostname(),
            "started_s": own_start_s(),
        }
        self._active_s, self._active_since = 0.0, time.monotonic()
        self._curve: Curve | None = None
        self._progress: TrainingProgress | None = None
        self._wake = SimpleQueue[bool]()
        self._told, self._over = False, threading.Event()
        self._thread = threading.Thread(target=self._write_while_told, name="live", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        self._tell()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._wake.put(False)
        self._thread.join()
        with suppress(OSError):
            self._path.unlink(missing_ok=True)

    def preparing(self, stage: str, done: int, total: int) -> None:
        """See `Observer`."""
        share = f" {100 * done / total:.0f} %" if total else ""
        self._tell(preparing=f"{stage}{share}")

    def campaign_started(self, campaign: Campaign, resume_point: ResumePoint | None) -> None:
        """See `Observer`."""
        self._active_s, self._active_since = campaign.active_s, time.monotonic()
        budget = campaign.task.get("budget") or {}
        self._tell(
            preparing=None,
            campaign_id=campaign.campaign_id,
            tag=campaign.tag,
            limits=campaign.limits,
            budget={key: budget.get(key) for key in ("kind", "amount")},
        )

    def state_changed(self, state: CampaignState, reason: str | None) -> None:
        """See `Observer`."""
        now, before = time.monotonic(), self._known.get("state", CampaignState.RUNNING)
        if before is not CampaignState.PAUSED:
            self._active_s += now - self._active_since
        self._active_since = now
        self._tell(state=state, state_reason=reason, state_since_s=now)

    def trial_opened(self, trial: Trial) -> None:
        """See `Observer`."""
        self._curve = self._progress = None
        baseline = trial.kind is TrialKind.BASELINE
        news = {"trial": trial.seq, "edit": trial.edit_key, "attempt": 0, "planning": None}
        self._enter("launching" if baseline else "proposing", **news)

    def planning(self, trial: Trial, step: str, text: str) -> None:
        """See `Observer`."""
        self._tell(planning=clean_text(f"{step}: {text}", PLANNING_CHARS))

    def proposed(self, trial: Trial, attempt: int) -> None:
        """See `Observer`."""
        self._enter("checking", attempt=attempt, planning=None)

    def railed(self, trial: Trial, rail: str | None, reason: str | None) -> None:
        """See `Observer`."""
        if rail is None:
            self._enter("launching", edit=trial.edit_key)
        else:
            self._enter("proposing")
            self.note(f"trial {trial.seq}: {rail}: {reason}")

    def training(self, progress: TrainingProgress) -> None:
        """See `Observer`."""
        last = self._progress
        if self._curve is None or last is None or _another(last, progress):
            self._curve = Curve()
        self._curve.add(progress.fraction, progress.loss)
        self._progress = progress
        if self._known.get("phase") == "training":
            self._tell()
        else:
            self._enter("training", trial=progress.trial_seq)

    def scoring(self, trial: Trial) -> None:
        """See `Observer`."""
        self._enter("scoring")

    def measured(self, trial: Trial, measurement: Measurement) -> None:
        """See `Observer`."""
        self._enter("deciding")

    def decided(self, trial: Trial) -> None:
        """See `Observer`."""
        self._enter("between")

    def measuring_result(self, target: Trial, seed_index: int) -> None:
        """See `Observer`."""
        self._curve = self._progress = None
        self._enter("launching", trial=target.seq, edit=target.edit_key, attempt=0, result=True)

    def spent(self, usd: float | None, joules: float | None) -> None:
        """See `Observer`."""
        self._tell(usd=usd, joules=joules)

    def note(self, text: str) -> None:
        """See `Observer`."""
        self._tell(note=text, note_since_s=time.monotonic())

    def _enter(self, phase: str, **news: Any) -> None:
        self._tell(phase=phase, phase_since_s=time.monotonic(), **news)

    def _tell(self, **news: Any) -> None:
        """Take note, and have it written. One assignment: the thread sees all of it or nothing."""
        self._known = {**self._known, **news} if news else self._known
        if not self._told:
            self._told = True
            self._wake.put(True)

    def _write_while_told(self) -> None:
        while self._wake.get() and not self._over.is_set():
            self._told = False
            with suppress(OSError):
                self._write()
            self._over.wait(EVERY_S)

    def _write(self) -> None:
        """Replace the file. The temporary one has one name: a loop that is killed here leaves one behind, not many."""
        temporary = self._path.with_name(f".{self._path.name}.tmp")
        try:
            temporary.write_text(self._state().model_dump_json(), encoding="utf-8")
            temporary.replace(self._path)
        except OSError:
            temporary.unlink(missing_ok=True)
            raise

    def _state(self) -> LiveState:
        now, progress, curve = time.monotonic(), self._progress, self._curve
        training = None
        if progress is not None and curve is not None:
            training = LiveTraining(
                measured=progress.measured_seq,
                seed_index=progress.seed_index,
                step=progress.step,
                tokens=progress.tokens,
                elapsed_s=progress.elapsed_s,
                loss=progress.loss,
                fraction=progress.fraction,
                curve=curve.points,
            )
        known = self._known
        paused = known.get("state") is CampaignState.PAUSED
        active_s = self._active_s + (0.0 if paused else now - self._active_since)
        return LiveState(**known, monotonic_s=now, active_s=active_s, training=training)


def _another(before: TrainingProgress, now: TrainingProgress) -> bool:
    """Whether a report belongs to another training than the one before it."""
    same = (before.trial_seq, before.measured_seq, before.seed_index) == (
        now.trial_seq,
        now.measured_seq,
        now.seed_index,
    )
    return not same or now.step < before.step
