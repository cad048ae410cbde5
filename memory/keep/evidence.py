"""What every keep rule shares: the evidence it reads, the decision it gives, and what "better" means."""

import math
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, TypeAlias

from memory.statistics.pairs import PairSpread

Direction: TypeAlias = Literal["minimize", "maximize"]
Action: TypeAlias = Literal["keep", "discard", "measure"]
Target: TypeAlias = Literal["candidate", "incumbent"]
Points: TypeAlias = tuple[tuple[int, float], ...]
"""Measurements of one program: (index of the campaign's shared seed, metric), in any order."""

_LARGEST = 1e100
"""Beyond this a metric is not a measurement, and sums of squares would overflow."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """Everything a keep rule may look at. Rebuilt from the store before every decision."""

    candidate: Points
    incumbent: Points
    """All measurements of the incumbent so far; it is the baseline until the first keep."""
    baseline: Points
    """The campaign's baseline replicates: the scale that gains are relative to."""
    noise_sd: float | None
    """Standard deviation of one measurement, in units of the metric, pooled over replicates of identical programs."""
    noise_df: int
    """Degrees of freedom of `noise_sd`; 0 when there is none."""
    direction: Direction
    noise_campaigns: int = 1
    """How many campaigns of the store the noise is pooled over."""
    pairs: tuple[PairSpread, ...] = ()
    """How earlier candidates differed from their incumbents from seed to seed, oldest first."""
    log_scale: bool = False
    """Whether metrics multiply: they are compared on logarithms, on which `noise_sd` and `pairs` are then, too."""
    on_clock: bool = False
    """Whether the budget counts time: then the machine is part of the noise, and may change in the night."""
    controls: frozenset[int] = frozenset()
    """On a clock: the seeds with which the incumbent was measured in the candidate's own trial."""
    since_control: int = 0
    """On a clock: how many trials ago the incumbent was last measured."""
    margin: float = 0.0
    """How much worse than the incumbent a candidate may be, as a gain is counted: what is to be refuted is that it is
    worse by this much (non-inferiority), with 0 that it is no better."""

    def on_scale(self, metric: float) -> float:
        """A metric on the scale on which two are compared."""
        return math.log(metric) if self.log_scale else metric

    def is_sound(self, metric: float) -> bool:
        """Whether a metric can be compared at all: a number of a size to count with, above 0 on logarithms."""
        return math.isfinite(metric) and abs(metric) <= _LARGEST and (metric > 0 or not self.log_scale)


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What to do with a trial.

    `measure` asks for one more measurement: of `target`, with the campaign's seed number `seed_index`; then decide
    again. `keep` and `discard` are final. Gains are relative to the baseline's mean and positive when the candidate is
    better; they are None before there is a shared seed, the interval also without a noise estimate.
    """

    action: Action
    reason: str
    """One sentence for a person, and for the proposer that reads the lineage block."""
    target: Target | None = None
    seed_index: int | None = None
    gain: float | None = None
    gain_low: float | None = None
    gain_high: float | None = None
    p_improve: float | None = None
    evidence: dict[str, Any] = field(default_factory=dict[str, Any])
    """The numbers behind it, ready for JSON: rule, seeds, means, noise, and what the rule adds."""

    def __post_init__(self) -> None:
        asks = self.target is not None and self.seed_index is not None
        if asks != (self.action == "measure"):
            raise ValueError(f"a decision to {self.action} with target={self.target}, seed_index={self.seed_index}")


class KeepRule(Protocol):
    """Turns evidence into a decision.

    The contract that lets rules be exchanged without touching a caller:

    - `decide` is a pure function of the evidence: after a crash, deciding again from the store gives the same answer.
    - A caller loops: build the evidence, decide; on `measure` take exactly that measurement and go round again. A rule
      must end: every `measure` names a seed that its target does not have yet, and the number asked for is bounded.
    - A failed measurement is the caller's to judge (a candidate that crashes is a crash, not a discard); the rule only
      ever sees metrics.

    Rules are registered under their names in `memory.keep.rules`.
    """

    @property
    def name(self) -> str:
        """The rule's name in task.toml."""
        ...

    @property
    def most_measurements(self) -> int:
        """Most measurements of one candidate."""
        ...

    def decide(self, evidence: Evidence) -> Decision:
        """What the evidence asks for: keep, discard, or one more measurement."""
        ...


def better(metric: float, than: float, direction: Direction) -> bool:
    """Whether `metric` is strictly better. A tie is not, and NaN is never better than anything nor worse."""
    return metric < than if direction == "minimize" else metric > than


def first_step(evidence: Evidence, rule: str, *, first_seed: int | None = None) -> Decision | None:
    """What every rule does before it can compare anything; None when there is a shared seed and all numbers are sound.

    A number that is not finite, anywhere, ends in `discard`: nothing can be proven against it. A candidate is measured
    first with the incumbent's first seed, or with `first_seed`, which the incumbent gets as well where it has it not.
    """
    for name, points in (("candidate", evidence.candidate), ("incumbent", evidence.incumbent)):
        if not all(evidence.is_sound(metric) for _, metric in points):
            wanted = "a finite number above 0" if evidence.log_scale else "a finite number"
            reason = f"a measurement of the {name} is not {wanted}"
            return Decision(action="discard", reason=reason, evidence={"rule": rule})
    if not evidence.incumbent:
        seed = min((seed for seed, _ in evidence.candidate), default=0)
        return _measure("incumbent", seed, "the incumbent has no measurement yet", rule)
    if {seed for seed, _ in evidence.candidate} & {seed for seed, _ in evidence.incumbent}:
        return None
    known = {seed for seed, _ in evidence.incumbent}
    if first_seed is None or first_seed in known:
        first = min(known) if first_seed is None else first_seed
        return _measure("candidate", first, "no seed is shared with the incumbent yet", rule)
    if not evidence.candidate:
        return _measure("candidate", first_seed, "on a new seed, for the incumbent was not measured lately", rule)
    own = min(seed for seed, _ in evidence.candidate)
    return _measure("incumbent", own, "the incumbent was not measured lately", rule)


def seeds_without(points: Points, other: Points) -> list[int]:
    """Seeds that `points` has and `other` has not, ascending: what `other` must be measured on to be comparable."""
    return sorted({seed for seed, _ in points} - {seed for seed, _ in other})


def next_seed(evidence: Evidence) -> int:
    """The candidate's next seed: one the incumbent has (one training instead of two), else the smallest new one."""
    ready = seeds_without(evidence.incumbent, evidence.candidate)
    taken = {seed for seed, _ in evidence.candidate}
    return ready[0] if ready else next(seed for seed in range(len(taken) + 1) if seed not in taken)


def new_seed(evidence: Evidence) -> int:
    """The smallest seed beyond all that either side has."""
    return 1 + max((seed for seed, _ in (*evidence.candidate, *evidence.incumbent)), default=-1)


def likely_next(evidence: Evidence, target: Target, seed_index: int, most: int) -> list[int]:
    """With which seeds a program is likely measured again, when it has been with this one and nothing spoke against it.

    A guess, for whoever wants to begin early: a rule asks for what it asks for. A candidate goes on on seeds that the
    incumbent has, on a clock the newest first; an incumbent on those of the candidate, and on a clock on new ones,
    which the candidate follows it to.

    Args:
        evidence: before that measurement.
        target: whose it is.
        seed_index: its seed.
        most: measurements of one candidate.
    """
    theirs, ours = [{seed for seed, _ in points} for points in (evidence.incumbent, evidence.candidate)]
    mine, other = (ours, theirs) if target == "candidate" else (theirs, ours)
    known = sorted(other - mine - {seed_index}, reverse=evidence.on_clock)
    beyond = 1 + max(mine | other | {seed_index})
    new = list(range(beyond, beyond + most)) if evidence.on_clock == (target == "incumbent") else []
    left = most - len(ours | {seed_index} if target == "candidate" else ours | ({seed_index} - theirs))
    return [*known, *new][: max(0, left)]


def _measure(target: Target, seed_index: int, reason: str, rule: str) -> Decision:
    return Decision(action="measure", target=target, seed_index=seed_index, reason=reason, evidence={"rule": rule})
