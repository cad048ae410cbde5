"""Two arms of a study against each other: what pairs differ by, measure by measure."""

import math
from collections.abc import Mapping, Sequence

from pydantic import BaseModel

from memory.keep.evidence import Direction
from memory.statistics.exact_tests import holm
from memory.statistics.paired_tests import bootstrap_mean, pairs_needed, sign_flip_test
from studies.ablation.outcome import MEASURES, Outcome
from studies.ablation.study import Study

LEVEL = 0.05
"""A difference with a smaller p is told."""


class Difference(BaseModel):
    """Of one measure: the first arm minus the second, pair by pair."""

    mean: float
    low: float | None
    """95 % interval of the mean; None with one pair."""
    high: float | None
    p: float
    """Two-sided, by exchanging the arms of pairs."""
    p_holm: float
    """Corrected for the number of measures. Of the measure that decides, `p` counts."""
    method: str
    n: int
    """Pairs in which both arms know it."""
    pairs_needed: int | None
    """How many pairs in all would tell a difference as large as this one; None: none is seen."""


class ArmFigures(BaseModel):
    """One arm on its own: the means over its campaigns."""

    name: str
    overrides: dict[str, object]
    proposer: str
    campaigns: int
    failed: list[str]
    """Campaigns without a result, and why."""
    measures: dict[str, float | None]
    statuses: dict[str, int]
    curve: list[float]
    """The mean best so far, after the baseline and after each trial."""


class Comparison(BaseModel):
    """One arm against another."""

    first: str
    second: str
    pairs: int
    """Pairs that both finished."""
    differences: dict[str, Difference]
    pairs_to_settle: int | None
    """How many more pairs would tell the difference that is seen in the measure that decides; 0: it is told."""


def arm_figures(study: Study, arm: int) -> ArmFigures:
    """The figures of one arm."""
    planned = study.plan.arms[arm]
    found = [o for o in study.outcomes.values() if o.arm == arm and o.pair < study.pairs]
    good = [outcome for outcome in found if outcome.failed is None]
    statuses: dict[str, int] = {}
    for outcome in good:
        for status, count in outcome.statuses.items():
            statuses[status] = statuses.get(status, 0) + count
    return ArmFigures(
        name=planned.name,
        overrides=planned.overrides,
        proposer=planned.overrides.get("proposer", study.plan.proposer),
        campaigns=len(good),
        failed=[f"pair {o.pair}: {o.failed}" for o in sorted(found, key=lambda o: o.pair) if o.failed is not None],
        measures={name: _mean([o.measures.get(name) for o in good]) for name in MEASURES},
        statuses=statuses,
        curve=mean_curve([outcome.curve for outcome in good]),
    )


def mean_curve(curves: Sequence[Sequence[float]]) -> list[float]:
    """The mean of curves; one that ended early stays where it was."""
    longest = max(map(len, curves), default=0)
    return [math.fsum(curve[min(i, len(curve) - 1)] for curve in curves) / len(curves) for i in range(longest)]


def compare(study: Study, first: int, second: int) -> Comparison:
    """Compare two arms on the pairs that both finished."""
    pairs = finished_pairs(study, first, second)
    found: dict[str, Difference] = {}
    for name in MEASURES:
        sides = [(ours.measures.get(name), theirs.measures.get(name)) for ours, theirs in pairs.values()]
        known = [ours - theirs for ours, theirs in sides if ours is not None and theirs is not None]
        if known:
            found[name] = _difference(known)
    corrected = holm({name: difference.p for name, difference in found.items()})
    found = {name: d.model_copy(update={"p_holm": corrected[name]}) for name, d in found.items()}
    return Comparison(
        first=study.plan.arms[first].name,
        second=study.plan.arms[second].name,
        pairs=len(pairs),
        differences=found,
        pairs_to_settle=_to_settle(found.get(MEASURES[0])),
    )


def finished_pairs(study: Study, first: int, second: int) -> Mapping[int, tuple[Outcome, Outcome]]:
    """The pairs that both arms finished, by number."""
    found: dict[int, dict[int, Outcome]] = {}
    for outcome in study.outcomes.values():
        if outcome.failed is None and outcome.pair < study.pairs:
            found.setdefault(outcome.pair, {})[outcome.arm] = outcome
    return {pair: (arms[first], arms[second]) for pair, arms in sorted(found.items()) if {first, second} <= arms.keys()}


def is_better(mean: float, direction: Direction) -> bool:
    """Whether a difference of scores is in the first arm's favour."""
    return mean < 0 if direction == "minimize" else mean > 0


def _difference(known: Sequence[float]) -> Difference:
    tested, interval = sign_flip_test(known), bootstrap_mean(known)
    low, high = interval or (None, None)
    return Difference(
        mean=math.fsum(known) / len(known),
        low=low,
        high=high,
        p=tested.p,
        p_holm=tested.p,
        method=tested.method,
        n=len(known),
        pairs_needed=pairs_needed(known),
    )


def _to_settle(deciding: Difference | None) -> int | None:
    if deciding is None:
        return None
    if deciding.p < LEVEL:
        return 0
    return None if deciding.pairs_needed is None else max(1, deciding.pairs_needed - deciding.n)


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return math.fsum(known) / len(known) if known else None
