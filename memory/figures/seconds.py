"""Where a night's time went: the loop's own record of its waits, or a log's columns, and what neither explains."""

from dataclasses import dataclass
from datetime import datetime

from memory.figures.campaign import ReportData

PARTS = {
    ("propose", "proposer"): "proposing",
    ("train", "startup"): "startup",
    ("train", "tryout"): "trying out",
    ("train", "train"): "training",
    ("evaluate", "score"): "scoring",
    ("evaluate", "probe"): "probing",
    ("curate", "lesson"): "lessons",
}
"""Spans of a trial by the names that people know."""
APART = {"finale": "result on fresh seeds", "rebaseline": "measuring again"}
"""Nodes beside the trials: their seconds are the campaign's."""
DOC = {
    "proposing": "waiting for the proposer, also while it did not answer",
    "startup": "starting trial processes and building models",
    "trying out": "one step of new code before it is trained",
    "training": "by the parent's clock",
    "scoring": "counted from outside",
    "probing": "trick questions to a fresh copy of the model",
    "lessons": "waiting for the model that writes a line after each trial",
    "own": "rails, git, store, decisions",
    "result on fresh seeds": "incumbent and baseline once more, after the search",
    "measuring again": "baseline and incumbent on another machine",
    "between trials": "start-up, snapshots, waiting for room, work that a crash undid",
    "not attributed": "of the trials' time; the log does not say for what",
    "paused or not running": "by the calendar: no loop was at work",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """A part of the time, in seconds."""

    name: str
    seconds: float
    doc: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TimeSpent:
    """Where the time went; `parts` without `idle` add up to `active_s`."""

    active_s: float | None
    """Seconds that loops worked on the campaign; of a log, the sum over its trials. None: not measured."""
    parts: tuple[Share, ...]
    idle: Share | None
    """From the first to the last moment of the campaign, what was not work; None when there was none."""
    by_status: dict[str, float]
    """Seconds of trials by what became of them, the baseline among them."""
    failed_s: float | None
    """Of those, in trials that did not finish."""
    per_trial_s: float | None
    """Mean over the search's trials."""


def time_of(data: ReportData) -> TimeSpent:
    """Where the time of a campaign went."""
    seconds = data.analysis.seconds
    active_s = data.campaign.active_s or seconds.total
    if active_s is None:
        return TimeSpent(active_s=None, parts=(), idle=None, by_status={}, failed_s=None, per_trial_s=None)
    parts = _spans(data) if data.seconds_by_part else _columns(data)
    rest = active_s - sum(parts.values())
    if rest > 0.005 * active_s or rest > 60:
        name = "between trials" if data.seconds_by_part else "not attributed"
        parts[name] = rest
    searched = [t.total_s for t in data.search if t.total_s]
    return TimeSpent(
        active_s=active_s,
        parts=tuple(Share(name=name, seconds=value, doc=DOC[name]) for name, value in parts.items() if value > 0),
        idle=_idle(data, active_s),
        by_status=dict(sorted(seconds.by_status.items(), key=lambda item: -item[1])),
        failed_s=seconds.wasted,
        per_trial_s=sum(searched) / len(searched) if searched else None,
    )


def _spans(data: ReportData) -> dict[str, float]:
    """What each trial's nodes waited for; their own work is what remains of the trials' whole time."""
    spans = data.seconds_by_part
    parts = {name: spans.get(key, 0.0) for key, name in PARTS.items()}
    whole = spans.get(("trial", "total")) or sum(t.total_s for t in data.decided)
    parts["own"] = max(0.0, whole - sum(parts.values()))
    for node, name in APART.items():
        parts[name] = sum(s for (of, _), s in spans.items() if of == node)
    return parts


def _columns(data: ReportData) -> dict[str, float]:
    """What the trials' rows say."""
    decided = data.decided
    return {
        "proposing": sum(t.propose_s for t in decided),
        "training": sum(t.train_s for t in decided),
        "scoring": sum(t.score_s for t in decided),
    }


def _idle(data: ReportData, active_s: float) -> Share | None:
    if not data.campaign.active_s:
        return None
    idle = (_last_moment(data) - data.campaign.created_at).total_seconds() - active_s
    name = "paused or not running"
    # The row's two times of day and the monotonic clock never agree to the second.
    return Share(name=name, seconds=idle, doc=DOC[name]) if idle > max(5.0, 0.01 * active_s) else None


def _last_moment(data: ReportData) -> datetime:
    known = [data.campaign.ended_at, *(t.decided_at for t in data.decided[-1:])]
    return max([moment for moment in known if moment is not None], default=data.campaign.created_at)
