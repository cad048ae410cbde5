"""What is to be decided about a candidate now: as a gain, and once it is given up as that, as a simplification."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

from graph.measuring.evidence import evidence_for
from graph.services import Services
from memory.keep.comparable import points_of
from memory.keep.evidence import Decision, Evidence
from memory.keep.rules import simpler_rule
from memory.keep.simpler import Size, as_simplification, best_of, saving
from memory.records import SIMPLER, Measurement, Purpose, Trial
from rails.source.edits import program_size


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """A decision, and what it was made on."""

    decision: Decision
    evidence: Evidence
    incumbent_trial_id: str | None
    """Whom the candidate was held against, and who is measured when the decision asks for the incumbent."""


def first_seed(services: Services, trial: Trial) -> int:
    """With which seed a candidate is measured first: as the rule asks that has seen nothing of it.

    On a clock that is the incumbent's newest, or a new one: the first ones may be too old to count. A trial that is
    gone through again begins where it began.
    """
    begun = [m for m in services.store.measurements(trial.trial_id) if m.purpose is Purpose.SEARCH]
    if begun:
        return min(begun, key=lambda measurement: measurement.started_at).seed_index
    asked = services.rule_for(trial).decide(evidence_for(services, trial))
    return asked.seed_index or 0 if asked.target == "candidate" else 0


def judge(services: Services, trial: Trial, coming: Measurement | None = None) -> Judgement:
    """Decide about a candidate on all that is known.

    Args:
        services: with the store.
        trial: the candidate's.
        coming: a measurement of it that is not stored yet, to see what it would decide.
    """
    evidence = evidence_for(services, trial, coming)
    decision = services.rule_for(trial).decide(evidence)
    as_gain = Judgement(decision=decision, evidence=evidence, incumbent_trial_id=trial.parent_trial_id)
    given_up = (trial.decision or {}).get("kind") == SIMPLER
    if not may_be_simpler(services, trial) or not (given_up or decision.action == "discard"):
        return as_gain
    saved = _saved(services, trial, coming)
    if saved is None:  # by what it stated of its parameters before, it was
        discard = replace(decision, action="discard", target=None, seed_index=None)
        return replace(as_gain, decision=discard if given_up else decision)
    return _as_simplification(services, trial, coming, decision, saved)


def may_be_simpler(services: Services, trial: Trial) -> bool:
    """Whether being simpler is a reason to keep this trial, if it turns out to be."""
    return services.task.keep.simpler_margin > 0 and trial.edits_code and trial.parent_trial_id is not None


def _as_simplification(
    services: Services, trial: Trial, coming: Measurement | None, given_up: Decision, saved: str
) -> Judgement:
    keep, best = services.task.keep, _best_kept(services, trial)
    evidence = replace(evidence_for(services, trial, coming, best.trial_id), margin=keep.simpler_margin)
    if best.trial_id != trial.parent_trial_id:
        # Pairs tell how far a program follows the one that it changes. Several changes later they promise too much.
        evidence = replace(evidence, pairs=())
    name = f"trial {best.seq}" if best.seq else "the baseline"
    decision = as_simplification(
        simpler_rule(keep).decide(evidence), given_up, saved=saved, best=name, margin=keep.simpler_margin
    )
    return Judgement(decision=decision, evidence=evidence, incumbent_trial_id=best.trial_id)


def _saved(services: Services, trial: Trial, coming: Measurement | None) -> str | None:
    parent = services.trial(str(trial.parent_trial_id))
    ours, theirs = services.measured(trial.trial_id), services.measured(parent.trial_id)
    return saving(_size(services, trial, ours if coming is None else [*ours, coming]), _size(services, parent, theirs))


def _size(services: Services, trial: Trial, measured: list[Measurement]) -> Size:
    stated = [m.params for m in measured if m.params]
    return Size(nodes=program_size(services.source_of(trial)), params=max(stated, default=None))


def _best_kept(services: Services, trial: Trial) -> Trial:
    """The best of the programs that the candidate stands on, by their means on this machine.

    What was kept as simpler is none of them: of many that are a little worse one would look best by chance, and be what
    the next one may be worse than.
    """
    parent = services.trial(str(trial.parent_trial_id))
    return best_of(_chain(services, parent), services.task.metric.direction) or parent


def _chain(services: Services, trial: Trial) -> Iterator[tuple[Trial, float]]:
    """Each program from `trial` down to the baseline that was measured here and is no simplification, with its mean."""
    current: Trial | None = trial
    while current is not None:
        scores = [score for _, score in points_of(services.measured(current.trial_id))]
        if scores and not current.kept_as_simpler:
            yield current, sum(scores) / len(scores)
        current = None if current.parent_trial_id is None else services.trial(current.parent_trial_id)
