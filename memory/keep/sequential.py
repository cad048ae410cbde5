"""Keep rule `sequential`: measure until the evidence is clear, with the noise that was measured."""

import math
from dataclasses import dataclass, replace
from typing import Final, TypeAlias

from memory.keep.comparison import Estimate, compare, conclude
from memory.keep.evidence import Action, Decision, Evidence, Points, Target, first_step, new_seed, seeds_without
from memory.keep.machine_change import NEWEST, since_change


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """When a candidate is kept and when it is given up."""

    keep_level: float
    """One-sided level of a keep at each look, once the noise is well known: the chance that a candidate without effect
    looks this good."""
    futility: tuple[float, ...]
    """Below this statistic after 1, 2, … measurements of the candidate it is given up; the last one stays."""


STEADY: Final = Bounds(keep_level=0.0008, futility=(0.7, 1.3, 1.7, 2.0, 2.3, 2.5))
"""For budgets that repeat exactly."""

ON_CLOCK: Final = Bounds(keep_level=0.0008, futility=(0.7, 1.3, 1.7, 2.0, 2.3, 2.5))
"""For budgets of time: a keep takes a control besides."""

FIRST_KEEP: Final = 3
"""Measurements of a candidate before it may be kept: two can agree by chance, and hide how much they vary."""

YOUNG_DF: Final = 20.0
"""While the noise is known with fewer degrees of freedom than about so many, the level of a keep is much stricter: the
looks at one candidate then err each for itself, and chances add up."""

LEARNING_PAIRS: Final = 4
"""Until so many pairs are known, a candidate that is not clearly worse is measured twice: to learn how much pairs vary.
Else everything looks noisy, is given up after one measurement, and nothing is ever learnt."""

LEARNING_STATISTIC: Final = -0.5
"""How much worse such a candidate may look."""

INCUMBENT_CAP: Final = 8
"""Measurements of an incumbent beyond which more would hardly sharpen the comparison. Not for controls."""

CONTROL_BOUND: Final = 3.0
"""On a clock: how clearly a candidate must also beat the controls alone, in standard errors."""

CONTROLS_AFTER: Final = 3
"""On a clock: after so many measurements a candidate is measured on new seeds only, each with a control. It must beat
its controls alone in the end, and those that are asked for last are too few to show it."""

REFRESH_TRIALS: Final = 12
"""On a clock: an incumbent that was not measured for so many trials is, so that a slower machine is noticed."""

_Step: TypeAlias = tuple[Action, str, tuple[Target, int] | None]


class SequentialRule:
    """A group-sequential t test with bounds for keeping and for giving up.

    The statistic is that of `memory.keep.comparison`: the difference in standard errors, by pairs on shared seeds as
    far as seeds have something in common. While little is known of the noise, Student's t and `YOUNG_DF` make the bound
    for keeping wide. Most candidates are given up after one measurement.

    On a clock the machine is part of the noise, and it can change in the night: a neighbour's job ends, and all that
    comes after looks better than the incumbent of before. So

    - a candidate is compared on the incumbent's newest seeds first;
    - one that looks proven, or promising after `CONTROLS_AFTER` measurements, gets new seeds, on which the incumbent is
      measured in the same trial: controls. Nothing is kept that does not beat its controls alone as well;
    - the incumbent's measurements that are old, or from before the machine changed (`memory.keep.machine_change`), are
      left out, and only seeds that are shared with the others count. A candidate that has none of these was measured
      before the change: it is measured again, for the two would be compared across it;
    - an incumbent without a control for `REFRESH_TRIALS` gets one: when the machine got slower, every candidate would
      look worse than the incumbent did, for the rest of the night.

    All bounds were chosen by simulation: `benchmarks/keep_rule.py` shows false keeps, power and cost.

    Args:
        max_measurements: most measurements of one candidate, 2 or more.
    """

    name = "sequential"

    def __init__(self, *, max_measurements: int) -> None:
        self.most_measurements = max_measurements

    def decide(self, evidence: Evidence) -> Decision:
        """Give up, ask for the measurement that tells most, or keep."""
        early = first_step(evidence, self.name, first_seed=_first_seed(evidence))
        if early is not None:
            return early
        look = _look(evidence)
        action, why, ask = self._step(evidence, look)
        decision = conclude(action, look.found, evidence, why, rule=self.name, ask=ask)
        stated = {
            "n_candidate": look.n_measured,
            "n_incumbent": len({seed for seed, _ in look.incumbent}),
            "n_left_out": len(evidence.incumbent) - len(look.incumbent),
            "n_controls": look.n_controls,
            "statistic": _finite(look.found.statistic),
            "control_statistic": _finite(look.control_statistic),
            "p_null": look.found.p_null,
            "keep_level": look.keep_level,
            "futility_bound": look.futility_bound,
            "control_bound": CONTROL_BOUND if evidence.on_clock else None,
            "cap": self.most_measurements,
        }
        return replace(decision, evidence={**decision.evidence, **stated})

    def _step(self, evidence: Evidence, look: "_Look") -> _Step:
        n = look.n
        if n == 0:
            return _from_before(look, self.most_measurements)
        if look.found.statistic < look.futility_bound and not look.learns(evidence):
            why = ", not promising enough to measure again" if look.n_measured == 1 else ", not proven"
            return "discard", why, None
        missing = seeds_without(evidence.candidate, evidence.incumbent)
        if look.n_measured > 1 and missing and (evidence.on_clock or len(evidence.incumbent) < INCUMBENT_CAP):
            return "measure", "; measuring the incumbent", ("incumbent", missing[0])
        enough = min(FIRST_KEEP, self.most_measurements)
        if n >= enough and look.proven and look.controlled:
            return "keep", ", proven", None
        if look.n_measured >= self.most_measurements:
            return "discard", f", not proven after {look.n_measured} measurements", None
        control = look.n_measured >= CONTROLS_AFTER or (look.proven and n >= enough - 1)
        return _next_pair(evidence, look, control=control)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Look:
    """What one look at the evidence shows."""

    n: int
    """Seeds of the candidate by which it is judged; on a clock those that it shares with `incumbent`."""
    n_measured: int
    """All of its seeds."""
    bounds: Bounds
    incumbent: Points
    """Those of the incumbent's measurements that count."""
    found: Estimate
    n_controls: int | None
    control_statistic: float | None
    """None without a control, and where there is no need of one."""

    @property
    def futility_bound(self) -> float:
        """Below this statistic the candidate is given up at this look."""
        return self.bounds.futility[min(max(self.n, 1), len(self.bounds.futility)) - 1]

    @property
    def keep_level(self) -> float:
        """The level of a keep, as strict as the noise is little known."""
        known = self.found.known_df
        return self.bounds.keep_level / (1 + (YOUNG_DF / known) ** 2) if known > 0 else 0.0

    @property
    def proven(self) -> bool:
        """Whether the evidence is enough for a keep, controls apart."""
        return self.found.p_null <= self.keep_level

    @property
    def controlled(self) -> bool:
        """Whether the candidate beats its controls alone, where there must be some."""
        return self.n_controls is None or (self.control_statistic or 0.0) >= CONTROL_BOUND

    def learns(self, evidence: Evidence) -> bool:
        """Whether a second measurement is for learning how much pairs vary."""
        return (
            self.n_measured == 1 and len(evidence.pairs) < LEARNING_PAIRS and self.found.statistic > LEARNING_STATISTIC
        )


def _look(evidence: Evidence) -> _Look:
    usable, n_controls, against_controls = evidence.incumbent, None, None
    if evidence.on_clock:
        usable = _usable(evidence)
        own = {seed for seed, _ in evidence.candidate} & evidence.controls
        made, ours = (
            tuple(point for point in points if point[0] in own) for points in (evidence.incumbent, evidence.candidate)
        )
        n_controls = len(made)
        against_controls = compare(replace(evidence, candidate=ours, incumbent=made)).statistic if made else None
    seeds = {seed for seed, _ in evidence.candidate}
    return _Look(
        n=len(seeds & {seed for seed, _ in usable}) if evidence.on_clock else len(seeds),
        n_measured=len(seeds),
        bounds=ON_CLOCK if evidence.on_clock else STEADY,
        incumbent=usable,
        found=compare(replace(evidence, incumbent=usable)),
        n_controls=n_controls,
        control_statistic=against_controls,
    )


def _usable(evidence: Evidence) -> Points:
    """The incumbent's newest measurements since the machine last changed; controls of this trial push out no other."""
    scores = tuple((seed, evidence.on_scale(metric)) for seed, metric in evidence.incumbent)
    newest = NEWEST + sum(seed in evidence.controls for seed, _ in scores)
    seeds = {seed for seed, _ in since_change(scores, evidence.noise_sd, newest=newest)}
    return tuple(point for point in evidence.incumbent if point[0] in seeds)


def _first_seed(evidence: Evidence) -> int | None:
    """A candidate's first seed on a clock: the incumbent's newest, or a new one when that is old; else its first."""
    if not evidence.on_clock or not evidence.incumbent:
        return None
    return (
        new_seed(evidence) if evidence.since_control >= REFRESH_TRIALS else max(seed for seed, _ in evidence.incumbent)
    )


def _from_before(look: _Look, most: int) -> _Step:
    """What is done with a candidate that was measured before the machine changed only."""
    why = ", from before the machine changed"
    if look.n_measured >= most:
        return "discard", f"{why}; not proven after {look.n_measured} measurements", None
    newest = max(seed for seed, _ in look.incumbent)
    return "measure", f"{why}; measuring again", ("candidate", newest)


def _known_seed(evidence: Evidence, look: _Look) -> int | None:
    """A seed that the incumbent has and the candidate has not: one training instead of two; None when there is none.

    On a clock the newest of those that count, so that the machine was most likely as it is now.
    """
    known = seeds_without(look.incumbent, evidence.candidate)
    return None if not known else known[-1] if evidence.on_clock else known[0]


def _next_pair(evidence: Evidence, look: _Look, *, control: bool) -> _Step:
    """The measurement after which candidate and incumbent may share one more seed.

    On a clock the incumbent goes first on a new seed. So the last measurement before a keep is the candidate's: it is
    known then that it decides, and a closer look at that model is taken once (`graph.measuring.scoring`), not on
    suspicion.
    """
    if not evidence.on_clock:
        seed = _known_seed(evidence, look)
        return "measure", "; measuring again", ("candidate", new_seed(evidence) if seed is None else seed)
    made = tuple(point for point in evidence.incumbent if point[0] in evidence.controls)
    if alone := seeds_without(made, evidence.candidate):
        return "measure", "; measuring again", ("candidate", alone[-1])
    known = None if control else _known_seed(evidence, look)
    if known is not None:
        return "measure", "; measuring again", ("candidate", known)
    return "measure", "; measuring the incumbent", ("incumbent", new_seed(evidence))


def _finite(statistic: float | None) -> float | None:
    return statistic if statistic is not None and math.isfinite(statistic) else None
