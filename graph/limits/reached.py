"""When a campaign ends by itself: a pure function of its limits, its trials and what it has used up."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import takewhile

from memory.records import Trial, TrialKind
from rails.status import FINISHED, QUARANTINED
from rails.task import LimitsConfig


@dataclass(frozen=True, slots=True, kw_only=True)
class Spent:
    """What the loops of a campaign have used up together."""

    active_s: float
    """Seconds of running, pauses left out."""
    joules: float | None
    """None when the machine does not count them, or no longer."""


def limit_reached(limits: LimitsConfig, trials: Sequence[Trial], spent: Spent) -> str | None:
    """The limit that ends the campaign before its next trial, in one sentence; None to go on.

    Args:
        limits: 0 is no limit.
        trials: all of the campaign, by number.
        spent: by all its loops.
    """
    # Called after every trial: what a longer record cannot change is not counted anew.
    if limits.trials and len(trials) >= limits.trials and sum(map(_counts, trials)) >= limits.trials:
        return f"limit of {limits.trials} trials reached"
    if limits.hours and spent.active_s >= 3600 * limits.hours:
        return f"limit of {limits.hours:g} hours reached"
    usd = sum(t.usd for t in trials if t.usd is not None) if limits.usd else 0.0
    if limits.usd and usd >= limits.usd:
        return f"limit of {limits.usd:g} dollars reached: {usd:.4g} were spent"
    if limits.joules and spent.joules is None:
        return f"limit of {limits.joules:g} joules can no longer be kept: the machine's meter was lost"
    if limits.joules and spent.joules is not None and spent.joules >= limits.joules:
        return f"limit of {limits.joules:g} joules reached: {spent.joules:.4g} were taken"
    return _too_many_failures(limits, trials)


def _counts(trial: Trial) -> bool:
    """Whether it is a trial of the search that came to an end by itself."""
    return trial.kind is TrialKind.SEARCH and trial.status not in QUARANTINED


def _too_many_failures(limits: LimitsConfig, trials: Sequence[Trial]) -> str | None:
    """What was interrupted or aborted is no failure of the search, and does not end a row of them either."""
    if not limits.failures_in_a_row:
        return None
    failed = list(takewhile(lambda trial: trial.status not in FINISHED, filter(_counts, reversed(trials))))
    if len(failed) < limits.failures_in_a_row:
        return None
    return f"{len(failed)} trials in a row failed, the last with {failed[0].status}: {failed[0].reason}"
