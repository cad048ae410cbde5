"""What every keep rule shares: the evidence it reads, the decision it gives, and what "better" means."""

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, TypeAlias

from memory.statistics.student_t import t_cdf, t_quantile

Direction: TypeAlias = Literal["minimize", "maximize"]
Action: TypeAlias = Literal["keep", "discard", "measure"]
Target: TypeAlias = Literal["candidate", "incumbent"]
Points: TypeAlias = tuple[tuple[int, float], ...]
"""Measurements of one program: (index of the campaign's shared seed, metric), in any order."""

CONFIDENCE = 0.95
"""Two-sided level of every reported gain interval."""

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
    wall_clock: bool = False
    """Whether the budget is one of seconds: then the machine is part of the noise, and may change in the night."""
    since_control: int = 0
    """On a wall clock: how many trials ago the incumbent was last measured."""


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

    def decide(self, evidence: Evidence) -> Decision:
        """What the evidence asks for: keep, discard, or one more measurement."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """The candidate against the incumbent: on the seeds that both have (`estimate`), or over all (`compare`)."""

    seeds: tuple[int, ...]
    n_candidate: int
    """Measurements behind `candidate_mean`."""
    n_incumbent: int
    candidate_mean: float
    incumbent_mean: float
    baseline_mean: float | None
    better: bool
    """Whether the candidate's mean is better: exact, not subject to rounding."""
    gain: float
    gain_low: float | None
    gain_high: float | None
    p_improve: float | None


def better(metric: float, than: float, direction: Direction) -> bool:
    """Whether `metric` is strictly better. A tie is not, and NaN is never better than anything nor worse."""
    return metric < than if direction == "minimize" else metric > than


def first_step(evidence: Evidence, rule: str, *, first_seed: int | None = None) -> Decision | None:
    """What every rule does before it can compare anything; None when there is a shared seed and all numbers are sound.

    A number that is not finite, anywhere, ends in `discard`: nothing can be proven against it. A candidate is measured
    first with the incumbent's first seed, or with `first_seed`, which the incumbent then gets as well.
    """
    for name, points in (("candidate", evidence.candidate), ("incumbent", evidence.incumbent)):
        if not all(_sound(metric) for _, metric in points):
            return Decision(
                action="discard", reason=f"a measurement of the {name} is not a finite number", evidence={"rule": rule}
            )
    if not evidence.incumbent:
        seed = min((seed for seed, _ in evidence.candidate), default=0)
        return _measure("incumbent", seed, "the incumbent has no measurement yet", rule)
    if _shared(evidence):
        return None
    if first_seed is None:
        first = min(seed for seed, _ in evidence.incumbent)
        return _measure("candidate", first, "no seed is shared with the incumbent yet", rule)
    if not evidence.candidate:
        return _measure("candidate", first_seed, "on a new seed, for the incumbent was not measured lately", rule)
    own = min(seed for seed, _ in evidence.candidate)
    return _measure("incumbent", own, "the incumbent was not measured lately", rule)


def estimate(evidence: Evidence) -> Estimate:
    """Compares candidate and incumbent on their shared seeds.

    The gain is (incumbent's mean - candidate's mean) / |baseline's mean|, sign turned for a metric to maximise: gains
    along a chain of keeps add up, and compare with `min_gain` as they stand. Its interval treats the two sides as
    independent, with the pooled noise: gain ± t(df) · sd · sqrt(2 / n) / |baseline's mean|.

    Args:
        evidence: must have a shared seed and finite metrics (`first_step` returned None).
    """
    shared = _shared(evidence)
    candidate, incumbent = _by_seed(evidence.candidate, shared), _by_seed(evidence.incumbent, shared)
    sign = 1.0 if evidence.direction == "minimize" else -1.0
    # One exactly rounded sum over both sides: its sign is that of the true difference, so a tie is a tie.
    total = math.fsum([*(sign * metric for metric in incumbent), *(-sign * metric for metric in candidate)])
    scale, baseline_mean = _scale(evidence, incumbent)
    gain = total / len(shared) / scale
    low, high, p_improve = _interval(evidence, gain, len(shared), scale)
    return Estimate(
        seeds=shared,
        n_candidate=len(shared),
        n_incumbent=len(shared),
        candidate_mean=_mean(candidate),
        incumbent_mean=_mean(incumbent),
        baseline_mean=baseline_mean,
        better=total > 0,
        gain=gain,
        gain_low=low,
        gain_high=high,
        p_improve=p_improve,
    )


def compare(evidence: Evidence) -> tuple[Estimate, float]:
    """The gain over all measurements of both sides, and its t statistic (0 when nothing is known of the noise).

    Args:
        evidence: both sides measured, all numbers finite.
    """
    candidate = [metric for _, metric in evidence.candidate]
    incumbent = [metric for _, metric in evidence.incumbent]
    baseline = [metric for _, metric in evidence.baseline]
    sign = 1.0 if evidence.direction == "minimize" else -1.0
    ours, theirs = _mean(candidate), _mean(incumbent)
    baseline_mean = _mean(baseline) if baseline else None
    scale = abs(theirs if baseline_mean is None else baseline_mean) or 1.0
    difference = sign * (theirs - ours)
    gain = difference / scale
    low = high = p_improve = None
    statistic = 0.0
    if evidence.noise_sd is not None and evidence.noise_df > 0:
        error = evidence.noise_sd * math.sqrt(1 / len(candidate) + 1 / len(incumbent))
        statistic = difference / error if error > 0 else math.copysign(math.inf, difference) if difference else 0.0
        margin = t_quantile((1 + CONFIDENCE) / 2, evidence.noise_df) * error / scale
        low, high, p_improve = gain - margin, gain + margin, 1 - tail(statistic, evidence.noise_df)
    shared = sorted({seed for seed, _ in evidence.candidate} & {seed for seed, _ in evidence.incumbent})
    found = Estimate(
        seeds=tuple(shared),
        n_candidate=len(candidate),
        n_incumbent=len(incumbent),
        candidate_mean=ours,
        incumbent_mean=theirs,
        baseline_mean=baseline_mean,
        better=difference > 0,
        gain=gain,
        gain_low=low,
        gain_high=high,
        p_improve=p_improve,
    )
    return found, statistic


def tail(statistic: float, df: int) -> float:
    """The chance of a statistic at least this large without any effect; 1 when nothing is known of the noise."""
    return 1 - t_cdf(statistic, df) if df > 0 else 1.0


def conclude(
    action: Action, found: Estimate, evidence: Evidence, why: str, *, rule: str, ask: tuple[Target, int] | None = None
) -> Decision:
    """A decision that carries the estimate and the numbers behind it."""
    target, seed_index = ask or (None, None)
    return Decision(
        action=action,
        target=target,
        seed_index=seed_index,
        reason=f"{describe(found)}{why}",
        gain=found.gain,
        gain_low=found.gain_low,
        gain_high=found.gain_high,
        p_improve=found.p_improve,
        evidence={
            "rule": rule,
            "seeds": list(found.seeds),
            "candidate_mean": found.candidate_mean,
            "incumbent_mean": found.incumbent_mean,
            "baseline_mean": found.baseline_mean,
            "noise_sd": evidence.noise_sd if _has_noise(evidence) else None,
            "noise_df": evidence.noise_df,
            "noise_campaigns": evidence.noise_campaigns,
            "wall_clock": evidence.wall_clock,
        },
    )


def describe(found: Estimate) -> str:
    """`1.7512 against 1.7601 on 1 shared seed: better by 0.51 %`; with unequal numbers, those of each side."""
    ours, theirs = f"{found.candidate_mean:.5g}", f"{found.incumbent_mean:.5g}"
    verdict = "better" if found.gain > 0 else "worse"
    amount = f"{verdict} by {abs(found.gain):.2%}".replace("%", " %") if found.gain else "no difference"
    if found.n_candidate == found.n_incumbent == len(found.seeds):
        seeds = f"{len(found.seeds)} shared seed{'s' if len(found.seeds) > 1 else ''}"
        return f"{ours} against {theirs} on {seeds}: {amount}"
    return f"{ours} ({found.n_candidate} x measured) against {theirs} ({found.n_incumbent} x measured): {amount}"


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


def _measure(target: Target, seed_index: int, reason: str, rule: str) -> Decision:
    return Decision(action="measure", target=target, seed_index=seed_index, reason=reason, evidence={"rule": rule})


def _sound(metric: float) -> bool:
    return math.isfinite(metric) and abs(metric) <= _LARGEST


def _has_noise(evidence: Evidence) -> bool:
    return evidence.noise_sd is not None and _sound(evidence.noise_sd) and evidence.noise_df > 0


def _shared(evidence: Evidence) -> tuple[int, ...]:
    return tuple(sorted({seed for seed, _ in evidence.candidate} & {seed for seed, _ in evidence.incumbent}))


def _by_seed(points: Points, seeds: Iterable[int]) -> list[float]:
    """One metric for each seed, in the order of `seeds`. A seed measured twice counts once, by its mean."""
    return [_mean([metric for seed, metric in points if seed == wanted]) for wanted in seeds]


def _mean(values: list[float]) -> float:
    return math.fsum(values) / len(values)


def _scale(evidence: Evidence, incumbent: list[float]) -> tuple[float, float | None]:
    """What gains are relative to, and the baseline's mean. A mean of zero has no relative scale: gains are absolute."""
    sound = [metric for _, metric in evidence.baseline if _sound(metric)]
    baseline_mean = _mean(sound) if sound else None
    scale = abs(_mean(incumbent) if baseline_mean is None else baseline_mean)
    return (scale or 1.0), baseline_mean


def _interval(
    evidence: Evidence, gain: float, shared: int, scale: float
) -> tuple[float | None, float | None, float | None]:
    """The gain's interval, and the probability that the true gain is above zero (flat prior)."""
    if evidence.noise_sd is None or not _has_noise(evidence):
        return None, None, None
    error = abs(evidence.noise_sd) * math.sqrt(2 / shared) / scale
    if error == 0:
        return gain, gain, 0.5 if gain == 0 else float(gain > 0)
    margin = t_quantile((1 + CONFIDENCE) / 2, evidence.noise_df) * error
    return gain - margin, gain + margin, t_cdf(gain / error, evidence.noise_df)
