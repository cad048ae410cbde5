"""The live view of a running campaign: a terminal gets a redrawn panel, anything else gets lines."""

import time
from dataclasses import dataclass
from datetime import datetime
from types import TracebackType
from typing import Self

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from cli.show.status import result_lines
from cli.terminal.output import gain_text, score_text, seconds, table
from graph.watching.events import Observer, TrainingProgress
from graph.watching.resume_point import ResumePoint
from memory.records import Campaign, CampaignState, Measurement, MeasurementState, Trial, TrialKind
from memory.records.metric import metric_of
from rails.status import FINISHED, Status
from rails.text import UNCORRECTED

_LAST_TRIALS = 8
_BAR_CELLS = 24
_LINE_EVERY_S = 5.0
"""How often a log without a terminal gets a line while training."""


class Lines(Observer):
    """One line per event: for logs, pipes and CI."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._last_line = 0.0
        self._incumbent: Trial | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        return None

    def _say(self, text: str) -> None:
        self._console.print(Text(text), soft_wrap=True)

    def note(self, text: str) -> None:
        """See `Observer`."""
        self._say(text)

    def campaign_started(self, campaign: Campaign, resume_point: ResumePoint | None) -> None:
        """See `Observer`."""
        self._say(headline(campaign, resume_point))

    def proposed(self, trial: Trial, attempt: int) -> None:
        """See `Observer`."""
        if attempt:
            self._say(f"trial {trial.seq}: proposal {attempt + 1}")

    def railed(self, trial: Trial, rail: str | None, reason: str | None) -> None:
        """See `Observer`."""
        self._say(f"trial {trial.seq}: {trial.edit_key}" if rail is None else f"trial {trial.seq}: {rail}: {reason}")

    def training(self, progress: TrainingProgress) -> None:
        """See `Observer`."""
        now = time.monotonic()
        if now - self._last_line >= _LINE_EVERY_S:
            self._last_line = now
            best = f", incumbent {score_text(self._incumbent.metric)}" if self._incumbent else ""
            self._say(f"trial {progress.trial_seq}: {progress_text(progress)}{best}")

    def measured(self, trial: Trial, measurement: Measurement) -> None:
        """See `Observer`."""
        self._say(f"trial {trial.seq}: {measurement_text(measurement)}")

    def decided(self, trial: Trial) -> None:
        """See `Observer`."""
        if trial.status in {Status.KEEP, Status.BASELINE}:
            self._incumbent = trial
        self._say(f"trial {trial.seq}: {trial.ended_as}: {trial.reason}")

    def keep_undone(self, trial: Trial, incumbent: Trial) -> None:
        """See `Observer`."""
        self._incumbent = incumbent

    def measuring_result(self, target: Trial, seed_index: int) -> None:
        """See `Observer`."""
        self._say(result_step_text(target, seed_index))

    def campaign_stopped(self, campaign: Campaign) -> None:
        """See `Observer`."""
        for line in result_lines(campaign.final, metric_of(campaign.task).decimals):
            self._say(line)
        self._say(f"stopped: {campaign.stop_reason}")


@dataclass(frozen=True, slots=True)
class Held:
    """A time in which the loop does nothing: paused or waiting."""

    what: str
    reason: str
    at: str
    """The time of day, for the person at this terminal."""
    since: float
    """By the monotonic clock."""

    @property
    def text(self) -> str:
        """For how long, and why."""
        return f"{self.what} for {seconds(time.monotonic() - self.since)}, since {self.at}: {self.reason}"


def held(state: CampaignState, reason: str | None) -> Held | None:
    """What is shown from now on, in place of the work; None while there is work."""
    if state not in {CampaignState.PAUSED, CampaignState.WAITING}:
        return None
    return Held(str(state), reason or "", f"{datetime.now().astimezone():%H:%M}", time.monotonic())


class LiveView(Observer):
    """A panel that is redrawn in place: what runs now, the incumbent, the last trials."""

    def __init__(self, console: Console) -> None:
        self._started = time.monotonic()
        self._headline = ""
        self._doing = "starting"
        self._held: Held | None = None
        self._progress: TrainingProgress | None = None
        self._prepared: float | None = None
        """How much of the training data is ready, 0 to 1; None when nobody knows, or all is."""
        self._incumbent: Trial | None = None
        self._trials: list[Trial] = []
        self._live = Live(console=console, refresh_per_second=4, get_renderable=self._render, transient=True)

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._live.stop()

    def note(self, text: str) -> None:
        """See `Observer`."""
        self._live.console.print(Text(text), soft_wrap=True)

    def preparing(self, stage: str, done: int, total: int) -> None:
        """See `Observer`."""
        self._doing, self._prepared = f"preparing data: {stage}", done / total if total else None

    def campaign_started(self, campaign: Campaign, resume_point: ResumePoint | None) -> None:
        """See `Observer`."""
        self._prepared = None
        self._headline = headline(campaign, resume_point)

    def state_changed(self, state: CampaignState, reason: str | None) -> None:
        """See `Observer`."""
        self._held = held(state, reason)

    def trial_opened(self, trial: Trial) -> None:
        """See `Observer`."""
        self._progress = None
        self._doing = f"trial {trial.seq}: {'baseline' if trial.kind is TrialKind.BASELINE else 'proposing'}"

    def railed(self, trial: Trial, rail: str | None, reason: str | None) -> None:
        """See `Observer`."""
        self._doing = f"trial {trial.seq}: {trial.edit_key if rail is None else f'{rail}: {reason}'}"

    def training(self, progress: TrainingProgress) -> None:
        """See `Observer`."""
        self._progress = progress

    def scoring(self, trial: Trial) -> None:
        """See `Observer`."""
        self._progress = None

    def measured(self, trial: Trial, measurement: Measurement) -> None:
        """See `Observer`."""
        self._progress = None
        if trial.kind is TrialKind.BASELINE:
            self._doing = f"trial 0: baseline, {measurement_text(measurement)}"

    def decided(self, trial: Trial) -> None:
        """See `Observer`."""
        if trial.status in {Status.KEEP, Status.BASELINE}:
            self._incumbent = trial
        self._trials.append(trial)

    def keep_undone(self, trial: Trial, incumbent: Trial) -> None:
        """See `Observer`."""
        self._incumbent = incumbent
        self._trials = [trial if shown.seq == trial.seq else shown for shown in self._trials]

    def measuring_result(self, target: Trial, seed_index: int) -> None:
        """See `Observer`."""
        self._doing = result_step_text(target, seed_index)

    def _render(self) -> Group:
        clock = seconds(time.monotonic() - self._started)
        best = incumbent_text(self._incumbent) if self._incumbent else ""
        lines: list[RenderableType] = [Text(self._headline, style="bold"), Text(f"{clock}   {best}"), Text("")]
        if self._trials:
            lines.append(trials_table(self._trials[-_LAST_TRIALS:]))
            lines.append(Text(""))
        if self._held is not None:
            lines.append(Text(self._held.text, style="bold"))
            return Group(*lines)
        lines.append(Text(self._doing, overflow="ellipsis", no_wrap=True))
        if self._prepared is not None:
            lines.append(Text(f"{_bar(self._prepared)} {100 * self._prepared:3.0f} %"))
        if self._progress is not None:
            text = f"{_bar(self._progress.fraction)} {progress_text(self._progress)}"
            lines.append(Text(text, overflow="ellipsis", no_wrap=True))
        return Group(*lines)


def _bar(share: float) -> str:
    full = round(_BAR_CELLS * min(1.0, share))
    return "█" * full + "░" * (_BAR_CELLS - full)


def observer_for(console: Console) -> LiveView | Lines:
    """A live panel on a terminal, lines elsewhere."""
    return LiveView(console) if console.is_terminal else Lines(console)


def headline(campaign: Campaign, resume_point: ResumePoint | None) -> str:
    """The campaign in one line: branch, proposer, lineage, isolation; and where it goes on."""
    lineage = "on" if campaign.lineage else "off"
    fallback = f" (or {campaign.fallback})" if campaign.fallback else ""
    line = (
        f"nightshift {campaign.branch} · proposer {campaign.proposer}{fallback} · lineage {lineage} · "
        f"rule {campaign.keep_rule} · isolation {campaign.isolation}"
    )
    return line if resume_point is None else f"{line}\n{resume_point.sentence}"


def incumbent_text(incumbent: Trial) -> str:
    """The best so far, with its gain over what it replaced."""
    text = f"incumbent: trial {incumbent.seq}, {score_text(incumbent.metric)}"
    if incumbent.gain is None:
        return text
    return f"{text}, {_gain(incumbent)} on its parent, {UNCORRECTED}, n = {incumbent.n_measurements}"


def result_step_text(target: Trial, seed_index: int) -> str:
    """What is going on after the search."""
    who = "baseline" if target.kind is TrialKind.BASELINE else f"incumbent (trial {target.seq})"
    return f"measuring the result: {who}, seed {seed_index}"


def progress_text(progress: TrainingProgress) -> str:
    """Step, loss and clock of the running training."""
    extra = "" if progress.trial_seq == progress.measured_seq else f" (again: trial {progress.measured_seq})"
    return (
        f"{100 * progress.fraction:3.0f} %  step {progress.step}  loss {progress.loss:.4f}  "
        f"{progress.elapsed_s:.1f} s  seed {progress.seed_index}{extra}"
    )


def measurement_text(measurement: Measurement) -> str:
    """A measurement in a few words."""
    if measurement.state is MeasurementState.MEASURED:
        return f"seed {measurement.seed_index}: {score_text(measurement.score)} in {seconds(measurement.train_s)}"
    if measurement.state is MeasurementState.STOPPED:
        return f"seed {measurement.seed_index}: stopped after {seconds(measurement.train_s)}: {measurement.reason}"
    return f"seed {measurement.seed_index}: {measurement.status}: {measurement.reason}"


def trials_table(trials: list[Trial]) -> Table:
    """Trials as a person compares them."""
    rows = [
        (t.seq, t.ended_as, t.edit_key, score_text(t.metric), _gain(t), t.n_measurements, seconds(t.total_s), _why(t))
        for t in trials
    ]
    columns = ("trial", "status", "edit", "score", f"gain on parent,\n{UNCORRECTED}", "n", "time", "why")
    return table(columns, rows, right=("trial", "score", "n", "time"))


def _gain(trial: Trial) -> str:
    return gain_text(trial.gain, trial.gain_low, trial.gain_high)


def _why(trial: Trial) -> str:
    """Why a trial has no score; what became of one that has stands in the other columns."""
    reason = "" if trial.status in FINISHED and trial.metric is not None else trial.reason or ""
    return reason if len(reason) <= 60 else reason[:59] + "…"
