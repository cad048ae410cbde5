"""Two programs compared by their measurements: on shared seeds as pairs, with what else is known of both.

Candidate and incumbent share the order of data and most initial weights on one seed, so a good part of their noise is
the same and drops out of a difference. How much is learnt, not assumed. Let i and c be their scores on a seed. The
incumbent, measured on more seeds than the candidate, tells how lucky the shared ones are:

    difference = mean(i, shared) - mean(c) + (1 - slope) * (mean(i, all) - mean(i, shared))

with the slope of c on i from seed to seed (Anderson 1957, https://doi.org/10.1080/01621459.1957.10501379: maximum
likelihood where one variable has values missing). A slope of 1 is the mean of pairs; 0, where seeds have nothing in
common, is two independent means. Whatever the slope, the difference is unbiased, and its variance is

    var(c - slope * i) / n + (1 - slope)^2 * var(i) / m.

The first variance is moderated (`memory.statistics.moderated`): the candidate's own spread and that of earlier pairs,
with the degrees of freedom that follow; those of the sum are Satterthwaite's (https://doi.org/10.2307/3002019).
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from memory.keep.evidence import Action, Decision, Evidence, Points, Target
from memory.statistics.moderated import fit_prior
from memory.statistics.pairs import PairSpread, pair_spread
from memory.statistics.student_t import t_cdf, t_quantile

CONFIDENCE: Final = 0.95
"""Two-sided level of every reported gain interval."""

NEWEST_PAIRS: Final = 48
"""Older pairs are left out: so many say all there is to say."""

POOL_DF: Final = 2.0
"""The slope of all pairs is drawn towards 0 as by so many degrees of freedom without any correlation."""

OWN_DF: Final = 6.0
"""A candidate's own slope is drawn towards that of all pairs as by so many degrees of freedom."""

_LEAST_SHARE = 0.05
"""Of the variance of independent measurements, pairs are expected to keep at least this share."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """The candidate against the incumbent."""

    seeds: tuple[int, ...]
    """Shared ones."""
    n_candidate: int
    """Measurements behind `candidate_mean`: those on shared seeds, or all where none is shared."""
    n_incumbent: int
    """Measurements of the incumbent that count."""
    candidate_mean: float
    incumbent_mean: float
    """Over the same seeds as the candidate's, or all where none is shared."""
    baseline_mean: float | None
    better: bool
    """Whether the estimated difference is in the candidate's favour."""
    turned: bool
    """Whether it is the other way than on the shared seeds alone: by its other measurements, those were lucky or
    unlucky for the incumbent.
    """
    gain: float
    gain_low: float | None
    gain_high: float | None
    p_improve: float | None
    statistic: float
    """The difference, and what it may cost beside, in standard errors; 0 when nothing is known of the noise."""
    df: float
    """Degrees of freedom of the standard error; 0 when nothing is known of the noise."""
    known_df: float
    """Degrees of freedom of all that is known of the noise, by measurements of other programs."""
    standard_error: float | None
    """Of the gain."""
    slope: float | None
    """How far the candidate's score follows the incumbent's from seed to seed; None without a shared seed."""
    pair_sd: float | None
    """Moderated standard deviation of the pairs' part of the difference on one seed, in the metric."""

    @property
    def p_null(self) -> float:
        """The chance of a statistic at least this large if the candidate were no better, or worse by the whole margin;
        1 when nothing is known of the noise.
        """
        return 1 - t_cdf(self.statistic, self.df) if self.df > 0 else 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class _Difference:
    """A difference on the scale of comparison, positive in the candidate's favour, and how well it is known."""

    value: float
    error: float
    df: float
    known_df: float
    slope: float | None
    pair_sd: float | None


def estimate(evidence: Evidence, keeps_apart: int = 1) -> Estimate:
    """Compare the two on their shared seeds alone, as pairs: what rules that believe a mean go by, and results.

    Args:
        evidence: must have a shared seed and sound metrics (`first_step` returned None).
        keeps_apart: by how many keeps the two differ: what single edits change from seed to seed adds up.
    """
    shared = _shared(evidence)
    ours, theirs = (_scores(evidence, points, shared) for points in (evidence.candidate, evidence.incumbent))
    return _estimate(evidence, _paired(evidence, ours, theirs, slope=1.0, keeps_apart=keeps_apart), shared)


def compare(evidence: Evidence) -> Estimate:
    """Compare the two by all measurements that count.

    Args:
        evidence: both sides measured, all metrics sound.
    """
    shared = _shared(evidence)
    theirs = _scores(evidence, evidence.incumbent)
    if not shared:
        return _estimate(evidence, _unpaired(evidence, _scores(evidence, evidence.candidate), theirs), shared)
    return _estimate(evidence, _paired(evidence, _scores(evidence, evidence.candidate, shared), theirs), shared)


def conclude(
    action: Action, found: Estimate, evidence: Evidence, why: str, *, rule: str, ask: tuple[Target, int] | None = None
) -> Decision:
    """A decision that carries the estimate and the numbers behind it."""
    target, seed_index = ask or (None, None)
    ours, theirs = (_by_seed(points, found.seeds) for points in (evidence.candidate, evidence.incumbent))
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
            "direction": evidence.direction,
            "scores_by_seed": [[seed, ours[seed], theirs[seed]] for seed in found.seeds],
            "candidate_mean": found.candidate_mean,
            "incumbent_mean": found.incumbent_mean,
            "baseline_mean": found.baseline_mean,
            "noise_sd": evidence.noise_sd if _has_noise(evidence) else None,
            "noise_df": evidence.noise_df,
            "noise_campaigns": evidence.noise_campaigns,
            "slope": found.slope,
            "pair_sd": found.pair_sd,
            "earlier_pairs": len(evidence.pairs),
            "standard_error": found.standard_error,
            "df": found.df,
            "on_clock": evidence.on_clock,
        },
    )


def describe(found: Estimate) -> str:
    """`1.7512 against 1.7601 on 3 shared seeds: better by 0.51 %, ±0.12`; the last is half the 95 % interval."""
    verdict = "better" if found.gain > 0 else "worse"
    amount = f"{verdict} by {_percent(abs(found.gain))} %" if found.gain else "no difference"
    if found.gain_low is not None and found.gain_high is not None:
        amount += f", ±{_percent((found.gain_high - found.gain_low) / 2)}"
    ours, theirs = f"{found.candidate_mean:.5g}", f"{found.incumbent_mean:.5g}"
    if found.seeds:
        luck = f" ({'lucky' if found.better else 'unlucky'} for the incumbent)" if found.turned else ""
        seeds = "1 shared seed" if len(found.seeds) == 1 else f"{len(found.seeds)} shared seeds"
        return f"{ours} against {theirs} on {seeds}{luck}: {amount}"
    return f"{ours} ({found.n_candidate} x measured) against {theirs} ({found.n_incumbent} x measured): {amount}"


def _percent(share: float) -> str:
    return f"{100 * share:.2f}"


def _paired(
    evidence: Evidence,
    ours: Mapping[int, float],
    theirs: Mapping[int, float],
    *,
    slope: float | None = None,
    keeps_apart: int = 1,
) -> _Difference:
    """By shared seeds, `ours` are all of them; the incumbent's others say how lucky those were, unless slope is 1."""
    own = pair_spread(ours, theirs) or PairSpread(0, 0.0, 0.0, 0.0)
    noise, noise_df = _noise_of_others(evidence, own)
    common, slope_df = _common_slope(evidence, noise), 0.0
    if slope is None:
        slope, slope_df = _own_slope(own, noise, common)
    shared = [theirs[seed] for seed in ours]
    # One exactly rounded sum over both sides: its sign is that of the true difference, so a tie is a tie.
    value = math.fsum([*shared, *(-score for score in ours.values())]) / len(ours)
    value += (1 - slope) * (_mean(list(theirs.values())) - _mean(shared))
    squares = own.squares(slope)
    if not noise_df or not noise + squares:
        return _Difference(
            value=_favour(evidence, value), error=0.0, df=noise_df, known_df=noise_df, slope=slope, pair_sd=None
        )
    guess = (noise or squares / own.df) * max(_LEAST_SHARE, 1 + slope * slope - 2 * slope * common)
    earlier = [(pair.df, pair.squares(slope)) for pair in evidence.pairs[-NEWEST_PAIRS:]]
    prior = fit_prior(earlier, guess, noise_df)
    if keeps_apart > 1:
        most = max(prior.variance, (1 + slope * slope) * noise)
        prior = replace(prior, variance=min(keeps_apart * prior.variance, most))
    variance, df = prior.moderate(squares, max(0.0, own.df - slope_df))
    whole = variance / len(ours) + (1 - slope) ** 2 * noise / len(theirs)
    share = variance / len(ours) / whole if whole else 0.0
    return _Difference(
        value=_favour(evidence, value),
        error=math.sqrt(whole),
        df=1 / (share * share / df + (1 - share) ** 2 / noise_df),
        known_df=prior.known_df,
        slope=slope,
        pair_sd=math.sqrt(variance),
    )


def _unpaired(evidence: Evidence, ours: Mapping[int, float], theirs: Mapping[int, float]) -> _Difference:
    noise, df = (evidence.noise_sd or 0.0) ** 2, float(evidence.noise_df if _has_noise(evidence) else 0)
    value = _mean(list(theirs.values())) - _mean(list(ours.values()))
    error = math.sqrt(noise * (1 / len(ours) + 1 / len(theirs)))
    return _Difference(value=_favour(evidence, value), error=error, df=df, known_df=df, slope=None, pair_sd=None)


def _own_slope(own: PairSpread, noise: float, common: float) -> tuple[float, float]:
    """The slope for this candidate, and the degrees of freedom that fitting it takes from its spread."""
    weight = OWN_DF * noise
    whole = weight + own.incumbent
    if not whole:
        return common, 0.0
    return min(1.0, max(0.0, (weight * common + own.product) / whole)), own.incumbent / whole


def _common_slope(evidence: Evidence, noise: float) -> float:
    """The slope of all earlier pairs together."""
    whole = math.fsum(pair.incumbent for pair in evidence.pairs) + POOL_DF * noise
    return min(1.0, max(0.0, math.fsum(pair.product for pair in evidence.pairs) / whole)) if whole else 0.0


def _noise_of_others(evidence: Evidence, own: PairSpread) -> tuple[float, float]:
    """The variance of one measurement by other programs than the candidate, and its degrees of freedom.

    The candidate's own spread is among the pooled replicates, but may be of another size; it counts by itself.
    """
    if evidence.noise_sd is None or not _has_noise(evidence):
        return 0.0, 0.0
    df = evidence.noise_df - own.df
    if df < 1:
        return evidence.noise_sd**2, float(evidence.noise_df)
    return max(0.0, evidence.noise_sd**2 * evidence.noise_df - own.candidate) / df, float(df)


def _estimate(evidence: Evidence, found: _Difference, shared: tuple[int, ...]) -> Estimate:
    seeds = shared or None
    ours, theirs = (_metrics(points, seeds) for points in (evidence.candidate, evidence.incumbent))

    def on_scale(metrics: Sequence[float]) -> float:
        return _mean([evidence.on_scale(metric) for metric in metrics])

    sound = [metric for _, metric in evidence.baseline if evidence.is_sound(metric)]
    baseline_mean = _mean(sound) if sound else None
    scale = abs(_mean(theirs) if baseline_mean is None else baseline_mean) or 1.0
    low = high = p_improve = error = None
    statistic = 0.0
    if found.df > 0:
        allowed = -math.log1p(-evidence.margin) if evidence.log_scale else evidence.margin * scale
        if found.error > 0:
            statistic = (found.value + allowed) / found.error
            # Of two digits: quantiles are remembered by their degrees of freedom, and take long to find.
            quantile = t_quantile((1 + CONFIDENCE) / 2, float(f"{found.df:.2g}"))
            margin, p_improve = quantile * found.error, t_cdf(found.value / found.error, found.df)
        else:
            beyond = found.value + allowed
            statistic = math.copysign(math.inf, beyond) if beyond else 0.0
            margin, p_improve = 0.0, 0.5 if not found.value else float(found.value > 0)
        low, high = (_gain(evidence, found.value + side * margin, scale) for side in (-1, 1))
        error = found.error / (1.0 if evidence.log_scale else scale)
    return Estimate(
        seeds=shared,
        n_candidate=len(ours),
        n_incumbent=len(evidence.incumbent),
        candidate_mean=_mean(ours),
        incumbent_mean=_mean(theirs),
        baseline_mean=baseline_mean,
        better=found.value > 0,
        turned=bool(shared) and found.value * _favour(evidence, on_scale(theirs) - on_scale(ours)) < 0,
        gain=_gain(evidence, found.value, scale),
        gain_low=low,
        gain_high=high,
        p_improve=p_improve,
        statistic=statistic,
        df=found.df,
        known_df=found.known_df,
        standard_error=error,
        slope=found.slope,
        pair_sd=found.pair_sd,
    )


def _favour(evidence: Evidence, incumbent_minus_candidate: float) -> float:
    return incumbent_minus_candidate if evidence.direction == "minimize" else -incumbent_minus_candidate


def _gain(evidence: Evidence, difference: float, scale: float) -> float:
    """A difference as a gain: relative to the baseline's mean, or on logarithms to the incumbent's own metric.

    The first add up along a chain of keeps and compare with `min_gain` as they stand; a mean of zero has no relative
    scale, there they are absolute.
    """
    if not evidence.log_scale:
        return difference / scale
    return -math.expm1(-difference) if evidence.direction == "minimize" else math.expm1(difference)


def _shared(evidence: Evidence) -> tuple[int, ...]:
    return tuple(sorted({seed for seed, _ in evidence.candidate} & {seed for seed, _ in evidence.incumbent}))


def _scores(evidence: Evidence, points: Points, seeds: Sequence[int] | None = None) -> dict[int, float]:
    """By seed, on the scale of comparison. A seed measured twice counts once, by its mean."""
    wanted = sorted({seed for seed, _ in points}) if seeds is None else seeds
    return {seed: evidence.on_scale(metric) for seed, metric in _by_seed(points, wanted).items()}


def _by_seed(points: Points, seeds: Sequence[int]) -> dict[int, float]:
    return {wanted: _mean([metric for seed, metric in points if seed == wanted]) for wanted in seeds}


def _metrics(points: Points, seeds: Sequence[int] | None) -> list[float]:
    return [metric for _, metric in points] if seeds is None else list(_by_seed(points, seeds).values())


def _mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values)


def _has_noise(evidence: Evidence) -> bool:
    sd = evidence.noise_sd
    return sd is not None and math.isfinite(sd) and sd <= 1e100 and evidence.noise_df > 0
