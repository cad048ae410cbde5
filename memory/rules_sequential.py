"""Keep rule `sequential`: measure until the evidence is clear, with the noise that was measured."""

import math
from dataclasses import replace
from typing import Final

from memory.rules_base import (
    CONFIDENCE,
    Action,
    Decision,
    Estimate,
    Evidence,
    Target,
    conclude,
    first_step,
    next_seed,
    seeds_without,
)
from memory.student_t import t_cdf, t_quantile

KEEP_LEVEL: Final = 0.0015
"""One-sided level of a keep at each look: the chance that a candidate without effect looks this good."""

FUTILITY: Final = (0.7, 1.0, 1.3, 1.6, 1.8, 2.0)
"""Below this statistic after 1, 2, … measurements of the candidate it is given up; the last one stays."""

FIRST_KEEP: Final = 2
"""Measurements of a candidate before it may be kept: one alone is never believed."""

INCUMBENT_CAP: Final = 8
"""Measurements of an incumbent beyond which more would hardly sharpen the comparison."""


class SequentialRule:
    """A group-sequential t test with bounds for keeping and for giving up.

    The statistic is (incumbent's mean - candidate's mean) / (sd · sqrt(1/n + 1/m)) over all n and m measurements, sign
    turned for a metric to maximise, with the sd pooled over all replicates of identical programs; while its degrees of
    freedom are few, Student's t makes the bound for keeping wide. Most candidates are given up after one measurement.
    The bounds were chosen by simulation: `benchmarks/keep_rule.py` shows false keeps, power and cost.

    Args:
        max_measurements: most measurements of one candidate, 2 or more.
    """

    name = "sequential"

    def __init__(self, *, max_measurements: int) -> None:
        self._cap = max_measurements

    def decide(self, evidence: Evidence) -> Decision:
        """Give up, ask for the measurement that tells most, or keep."""
        early = first_step(evidence, self.name)
        if early is not None:
            return early
        n = len({seed for seed, _ in evidence.candidate})
        found, statistic = compare(evidence)
        futility = FUTILITY[min(n, len(FUTILITY)) - 1]
        p_null = _tail(statistic, evidence.noise_df)
        action, why, ask = self._step(evidence, n, statistic < futility, p_null <= KEEP_LEVEL)
        decision = conclude(action, found, evidence, why, rule=self.name, ask=ask)
        stated = {
            "n_candidate": n,
            "n_incumbent": len({seed for seed, _ in evidence.incumbent}),
            "statistic": statistic if math.isfinite(statistic) else None,
            "p_null": p_null,
            "keep_level": KEEP_LEVEL,
            "futility_bound": futility,
            "cap": self._cap,
        }
        return replace(decision, evidence={**decision.evidence, **stated})

    def _step(
        self, evidence: Evidence, n: int, futile: bool, proven: bool
    ) -> tuple[Action, str, tuple[Target, int] | None]:
        if futile:
            return "discard", ", not promising enough to measure again" if n == 1 else ", not proven", None
        missing = seeds_without(evidence.candidate, evidence.incumbent)
        if n >= FIRST_KEEP and missing and len(evidence.incumbent) < INCUMBENT_CAP:
            return "measure", "; measuring the incumbent", ("incumbent", missing[0])
        if n >= FIRST_KEEP and proven:
            return "keep", ", proven", None
        if n >= self._cap:
            return "discard", f", not proven after {n} measurements", None
        return "measure", "; measuring again", ("candidate", next_seed(evidence))


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
        low, high, p_improve = gain - margin, gain + margin, 1 - _tail(statistic, evidence.noise_df)
    shared = sorted({seed for seed, _ in evidence.candidate} & {seed for seed, _ in evidence.incumbent})
    found = Estimate(
        seeds=tuple(shared),
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


def _tail(statistic: float, df: int) -> float:
    """The chance of a statistic at least this large without any effect; 1 when nothing is known of the noise."""
    return 1 - t_cdf(statistic, df) if df > 0 else 1.0


def _mean(values: list[float]) -> float:
    return math.fsum(values) / len(values)
