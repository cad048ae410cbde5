"""Who found what: trials, keeps and gains by specialist and by whose idea it was, and what the critic was worth.

Pure functions of stored rows. A gain counts when it is confirmed (its whole 95 % interval lies above zero) and its keep
stands; what was kept for being simpler is counted apart and brings none. Seconds are those of whole trials. Tokens and
dollars are those of proposing: the critic's stand in its own record, lessons belong to nobody. Trials that were
interrupted or aborted count as trials and seconds, and nowhere else.
"""

import math
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass

from memory.database.queries import TrialCalls
from memory.keep.gains import confirmed_gain
from memory.records import CallRole, Origin, Trial
from rails.status import FINISHED, QUARANTINED, Status


@dataclass(frozen=True, slots=True, kw_only=True)
class Finder:
    """What one specialist, or one kind of origin, proposed, and what became of it."""

    name: str
    trials: int
    keeps: int
    """Those kept for being simpler included."""
    simpler: int
    confirmed: int
    """Keeps with a confirmed gain."""
    gain: float
    """Sum of the confirmed gains, relative to the baseline."""
    seconds: float
    prompt_tokens: int | None
    """Of the requests to models for its proposals; None where none was made, or none is counted."""
    completion_tokens: int | None
    usd: float | None
    """Sum of the known prices; None when none is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Redrafts:
    """What came of the proposals that were changed because the critic asked for it."""

    trials: int
    keeps: int
    confirmed: int
    gain: float
    discarded: int
    failed: int
    """Blocked by the rails, crashed, too slow, …"""


@dataclass(frozen=True, slots=True, kw_only=True)
class CriticRecord:
    """How often the critic was asked, what it said, what came of it, and what it cost."""

    asked: int
    """Trials whose proposal it saw."""
    passed: int
    revise: int
    """Trials for which it asked for another draft."""
    vetoed: int
    redrafts: Redrafts
    calls: int
    prompt_tokens: int | None
    completion_tokens: int | None
    seconds: float
    usd: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Findings:
    """Who found what in a campaign."""

    specialists: tuple[Finder, ...]
    """Those with a trial, in the task's order; empty where nobody in particular proposed."""
    origins: tuple[Finder, ...]
    """By whose idea it was; trials of which that is not known are in none."""
    critic: CriticRecord | None
    """None when nobody was asked for a second opinion."""

    @property
    def worth_telling(self) -> bool:
        """Whether there is more than one answer to who found what, or a critic."""
        return bool(self.specialists) or len(self.origins) > 1 or self.critic is not None


def confirmed_of(trials: Iterable[Trial]) -> frozenset[int]:
    """Numbers of the keeps with a confirmed gain, by their rows alone."""
    return frozenset(trial.seq for trial in trials if confirmed_gain(trial) > 0)


def findings_of(
    trials: Sequence[Trial], calls: Sequence[TrialCalls], confirmed: Collection[int], specialists: Sequence[str] = ()
) -> Findings:
    """Who found what.

    Args:
        trials: the decided trials of the search.
        calls: the campaign's requests to models.
        confirmed: numbers of the keeps whose gain is confirmed.
        specialists: names in the task's order.
    """
    own = [c for c in calls if c.role is CallRole.PROPOSE]

    def finders(names: Iterable[str], name_of: Callable[[Trial], str | None]) -> tuple[Finder, ...]:
        parts = ((name, [t for t in trials if name_of(t) == name]) for name in names)
        return tuple(_finder(name, part, own, confirmed) for name, part in parts if part)

    names = dict.fromkeys([*specialists, *(t.specialist for t in trials if t.specialist)])
    return Findings(
        specialists=finders(names, lambda trial: trial.specialist),
        origins=finders([str(origin) for origin in Origin], lambda trial: trial.origin),
        critic=_critic([t for t in trials if t.critique], [c for c in calls if c.role is CallRole.CRITIC], confirmed),
    )


def _finder(name: str, trials: list[Trial], calls: Sequence[TrialCalls], confirmed: Collection[int]) -> Finder:
    ids = {trial.trial_id for trial in trials}
    asked = [call for call in calls if call.trial_id in ids]
    proven = _proven(trials, confirmed)
    return Finder(
        name=name,
        trials=len(trials),
        keeps=sum(trial.status is Status.KEEP for trial in trials),
        simpler=sum(trial.kept_as_simpler for trial in trials),
        confirmed=len(proven),
        gain=math.fsum(proven),
        seconds=math.fsum(trial.total_s for trial in trials),
        prompt_tokens=_total(call.prompt_tokens for call in asked),
        completion_tokens=_total(call.completion_tokens for call in asked),
        usd=_dollars(asked),
    )


def _critic(trials: list[Trial], calls: Sequence[TrialCalls], confirmed: Collection[int]) -> CriticRecord | None:
    if not trials and not calls:
        return None
    said = [str((trial.critique or {}).get("verdict")) for trial in trials]
    return CriticRecord(
        asked=len(trials),
        passed=said.count("pass"),
        revise=said.count("revise"),
        vetoed=said.count("veto"),
        redrafts=_redrafts([t for t in trials if (t.critique or {}).get("revised") is True], confirmed),
        calls=sum(call.requests for call in calls),
        prompt_tokens=_total(call.prompt_tokens for call in calls),
        completion_tokens=_total(call.completion_tokens for call in calls),
        seconds=math.fsum(call.seconds for call in calls),
        usd=_dollars(calls),
    )


def _redrafts(trials: list[Trial], confirmed: Collection[int]) -> Redrafts:
    proven = _proven(trials, confirmed)
    return Redrafts(
        trials=len(trials),
        keeps=sum(t.status is Status.KEEP for t in trials),
        confirmed=len(proven),
        gain=math.fsum(proven),
        discarded=sum(t.status is Status.DISCARD for t in trials),
        failed=sum(t.status not in FINISHED | QUARANTINED for t in trials),
    )


def _proven(trials: Iterable[Trial], confirmed: Collection[int]) -> list[float]:
    return [t.gain or 0.0 for t in trials if t.seq in confirmed and t.status is Status.KEEP and not t.kept_as_simpler]


def _total(counts: Iterable[int | None]) -> int | None:
    known = [count for count in counts if count is not None]
    return sum(known) if known else None


def _dollars(calls: Iterable[TrialCalls]) -> float | None:
    known = [call.usd for call in calls if call.usd is not None]
    return math.fsum(known) if known else None
