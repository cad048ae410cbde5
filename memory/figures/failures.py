"""What failed and why: trials without a score by kind and reason, told apart from those that say nothing."""

import re
from dataclasses import dataclass

from memory.figures.campaign import ReportData
from memory.records import Trial
from rails.status import FINISHED, QUARANTINED, Status

_NUMBER = re.compile(r"0x[0-9a-f]+|\d+(?:[.,]\d+)*", re.IGNORECASE)
_EXAMPLES = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Reason:
    """Failures whose reasons differ only in numbers."""

    text: str
    """The latest one's."""
    count: int
    trials: tuple[int, ...]
    """Numbers of the first few."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FailureKind:
    """Failures with one status."""

    status: Status
    count: int
    seconds: float
    """Time spent on them."""
    reasons: tuple[Reason, ...]
    """The most frequent first."""
    quarantined: bool
    """Whether they say nothing about their hypotheses."""


def failures_of(data: ReportData, most_reasons: int = 12) -> tuple[FailureKind, ...]:
    """The failures of the search by kind, the most frequent first; quarantined ones last."""
    kinds: dict[Status, list[Trial]] = {}
    for trial in data.search:
        if trial.status is not None and trial.status not in FINISHED:
            kinds.setdefault(trial.status, []).append(trial)
    made = [_kind(status, trials, most_reasons) for status, trials in kinds.items()]
    return tuple(sorted(made, key=lambda kind: (kind.quarantined, -kind.count, str(kind.status))))


def _kind(status: Status, trials: list[Trial], most_reasons: int) -> FailureKind:
    groups: dict[str, list[Trial]] = {}
    for trial in trials:
        groups.setdefault(_NUMBER.sub("#", trial.reason or ""), []).append(trial)
    ranked = sorted(groups.values(), key=lambda group: (-len(group), -group[-1].seq))
    return FailureKind(
        status=status,
        count=len(trials),
        seconds=sum(t.total_s for t in trials),
        reasons=tuple(
            Reason(text=g[-1].reason or "", count=len(g), trials=tuple(t.seq for t in g[:_EXAMPLES]))
            for g in ranked[:most_reasons]
        ),
        quarantined=status in QUARANTINED,
    )
