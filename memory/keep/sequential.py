"""Keep rule `sequential`: measure until the evidence is clear, with the noise that was measured."""

import math
from dataclasses import dataclass, replace
from typing import Final, TypeAlias

from memory.keep.evidence import (
    Action,
    Decision,
    Estimate,
    Evidence,
    Points,
    Target,
    compare,
    conclude,
    first_step,
    new_seed,
    next_seed,
    seeds_without,
    tail,
)
from memory.keep.machine_change import since_change


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """When a candidate is kept and when it is given up."""

    keep_level: float
    """One-sided level of a keep at each look: the chance that a candidate without effect looks this good."""
    futility: tuple[float, ...]
    """Below this statistic after 1, 2, … measurements of the candidate it is given up; the last one stays."""


STEADY: Final = Bounds(keep_level=0.0015, futility=(0.7, 1.0, 1.3, 1.6, 1.8, 2.0))
"""For budgets that repeat exactly."""

WALL_CLOCK: Final = Bounds(keep_level=0.002, futility=(0.9, 1.3, 1.5, 1.7, 1.9, 2.1))
"""For budgets of seconds: controls cost measurements and sharpen the comparison, so both bounds lie a little closer."""

FIRST_KEEP: Final = 2
"""Measurements of a candidate before it may be kept: one alone is never believed."""

INCUMBENT_CAP: Final = 8
"""Measurements of an incumbent beyond which more would hardly sharpen the comparison. Not for controls."""

CONTROL_BOUND: Final = 2.2
"""On a wall clock: how clearly a candidate must also beat the controls alone, in standard errors."""

REFRESH_TRIALS: Final = 12
"""On a wall clock: an incumbent that was not measured for so many trials is, so that a slower machine is noticed."""

_Step: TypeAlias = tuple[Action, str, tuple[Target, int] | None]


class SequentialRule:
    """A group-sequential t test with bounds for keeping and for giving up.

    The statistic is (incumbent's mean - candidate's mean) / (sd · sqrt(1/n + 1/m)) over all n and m measurements, sign
    turned for a metric to maximise, with the sd pooled over all replicates of identical programs; while its degrees of
    freedom are few, Student's t makes the bound for keeping wide. Most candidates are given up after one measurement.

    On a wall clock the machine is part of the noise, and it can change in the night: a neighbour's job ends, and all
    that comes after looks better than the incumbent of before. So

    - a candidate's further seeds are new ones, on which the incumbent is measured in the same trial: the controls;
    - nothing is kept that does not beat its controls alone as well;
    - the incumbent's measurements that are old, or from before the machine changed (`memory.keep.machine_change`), are
      left out;
    - an incumbent without a control for `REFRESH_TRIALS` gets one: when the machine got slower, every candidate would
      look worse than the incumbent did, for the rest of the night.

    All bounds were chosen by simulation: `benchmarks/keep_rule.py` shows false keeps, power and cost.

    Args:
        max_measurements: most measurements of one candidate, 2 or more.
    """

    name = "sequential"

    def __init__(self, *, max_measurements: int) -> None:
        self._cap = max_measurements

    def decide(self, evidence: Evidence) -> Decision:
        """Give up, ask for the measurement that tells most, or keep."""
        stale = evidence.wall_clock and evidence.since_control >= REFRESH_TRIALS
        early = first_step(evidence, self.name, first_seed=new_seed(evidence) if stale else None)
        if early is not None:
            return early
        look = _look(evidence)
        action, why, ask = self._step(evidence, look)
        decision = conclude(action, look.found, evidence, why, rule=self.name, ask=ask)
        stated = {
            "n_candidate": look.n,
            "n_incumbent": len({seed for seed, _ in look.incumbent}),
            "n_left_out": len(evidence.incumbent) - len(look.incumbent),
            "n_controls": look.n_controls,
            "statistic": _finite(look.statistic),
            "control_statistic": _finite(look.control_statistic),
            "p_null": look.p_null,
            "keep_level": look.bounds.keep_level,
            "futility_bound": look.futility_bound,
            "control_bound": CONTROL_BOUND if evidence.wall_clock else None,
            "cap": self._cap,
        }
        return replace(decision, evidence={**decision.evidence, **stated})

    def _step(self, evidence: Evidence, look: "_Look") -> _Step:
        n = look.n
        if look.statistic < look.futility_bound:
            return "discard", ", not promising enough to measure again" if n == 1 else ", not proven", None
        missing = seeds_without(evidence.candidate, evidence.incumbent)
        wanted = evidence.wall_clock or len(evidence.incumbent) < INCUMBENT_CAP
        if n >= FIRST_KEEP and missing and wanted:
            return "measure", "; measuring the incumbent", ("incumbent", missing[0])
        if n >= FIRST_KEEP and look.proven:
            return "keep", ", proven", None
        if n >= self._cap:
            return "discard", f", not proven after {n} measurements", None
        seed = new_seed(evidence) if evidence.wall_clock else next_seed(evidence)
        return "measure", "; measuring again", ("candidate", seed)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Look:
    """What one look at the evidence shows."""

    n: int
    bounds: Bounds
    incumbent: Points
    """Those of the incumbent's measurements that count."""
    found: Estimate
    statistic: float
    p_null: float
    n_controls: int | None
    control_statistic: float | None
    """None without a control, and where there is no need of one."""

    @property
    def futility_bound(self) -> float:
        """Below this statistic the candidate is given up at this look."""
        return self.bounds.futility[min(self.n, len(self.bounds.futility)) - 1]

    @property
    def proven(self) -> bool:
        """Whether the evidence is enough for a keep."""
        controlled = self.n_controls is None or (self.control_statistic or 0.0) >= CONTROL_BOUND
        return self.p_null <= self.bounds.keep_level and controlled


def _look(evidence: Evidence) -> _Look:
    usable, n_controls, against_controls = evidence.incumbent, None, None
    if evidence.wall_clock:
        usable = since_change(evidence.incumbent, evidence.noise_sd)
        made = controls(evidence)
        n_controls = len(made)
        against_controls = compare(replace(evidence, incumbent=made))[1] if made else None
    found, statistic = compare(replace(evidence, incumbent=usable))
    return _Look(
        n=len({seed for seed, _ in evidence.candidate}),
        bounds=WALL_CLOCK if evidence.wall_clock else STEADY,
        incumbent=usable,
        found=found,
        statistic=statistic,
        p_null=tail(statistic, evidence.noise_df),
        n_controls=n_controls,
        control_statistic=against_controls,
    )


def controls(evidence: Evidence) -> Points:
    """The incumbent's measurements that were made during the candidate's trial, given a wall clock.

    Those on the shared seeds but for the incumbent's first: all others were new to both sides when they were asked for.
    """
    own = {seed for seed, _ in evidence.candidate} - {min(seed for seed, _ in evidence.incumbent)}
    return tuple(point for point in evidence.incumbent if point[0] in own)


def _finite(statistic: float | None) -> float | None:
    return statistic if statistic is not None and math.isfinite(statistic) else None
