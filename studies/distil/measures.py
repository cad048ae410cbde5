"""The figures of a race: pure functions of predictions and of what was chosen, with bootstrap intervals."""

import itertools
import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from studies.distil.corpus import Pair

Vector = NDArray[np.float64]

RESAMPLES = 2_000
LOW, HIGH = 2.5, 97.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Prediction:
    """What a proposer says of one held-out choice."""

    samples: Sequence[Pair | None]
    """Draws; None where there was no reply that could be read."""
    valid: Sequence[bool]
    """Whether each draw could be read and the menu allows it."""
    modal: Pair | None
    """What it holds most likely: of its distribution, else the most common draw."""
    chances: Vector | None = None
    """Its own distribution over the options; None where it shows none."""
    latency_s: float | None = None
    """Of one proposal."""
    joules: float | None = None
    """Of one proposal; None where the machine has no meter, or it is too short to be seen."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Truth:
    """What was chosen, among what, and what the record knows of other choices."""

    choice: Pair | None
    options: Sequence[Pair]
    target: int | None
    gains: dict[Pair, float] = field(default_factory=dict[Pair, float])
    """Mean gain of every move from the same program that is on record."""


def figures_of(predictions: Sequence[Prediction], truths: Sequence[Truth]) -> dict[str, Any]:
    """All figures of one proposer over the held-out choices."""
    rows = list(zip(predictions, truths, strict=True))
    chosen = [(prediction, truth.choice) for prediction, truth in rows if truth.choice is not None]
    draws = [pair for prediction, _ in rows for pair in prediction.samples]
    values = [
        truth.gains[prediction.modal] for prediction, truth in rows if prediction.modal in truth.gains
    ]  # None is no key there
    nll = nll_of(predictions, truths)
    knob = [float(p.modal is not None and p.modal[0] == choice[0]) for p, choice in chosen]
    exact = [float(p.modal == choice) for p, choice in chosen]
    return {
        "rows": len(rows),
        "validity": _mean([float(ok) for prediction, _ in rows for ok in prediction.valid]),
        **_with_interval("nll", nll),
        "nll_rows": len(nll),
        **_with_interval("knob_match", knob),
        **_with_interval("exact_match", exact),
        "knob_match_samples": _mean([_share(p, lambda pair, c=c: pair[0] == c[0]) for p, c in chosen]),
        "exact_match_samples": _mean([_share(p, lambda pair, c=c: pair == c) for p, c in chosen]),
        "self_agreement": _mean([_agreement(prediction.samples) for prediction, _ in rows]),
        "distinct": len({pair for pair in draws if pair is not None}),
        "draws": len(draws),
        **_of_distribution(rows),
        "value_known": len(values) / len(rows) if rows else None,
        "value": _mean(values),
        "latency_s": _median([p.latency_s for p in predictions if p.latency_s is not None]),
        "joules": _mean([p.joules for p in predictions if p.joules is not None]),
    }


def nll_of(predictions: Sequence[Prediction], truths: Sequence[Truth]) -> list[float]:
    """Negative log-likelihood in nats of each held-out choice that is an option, where there is a distribution."""
    return [
        -math.log(max(float(prediction.chances[truth.target]), 1e-12))
        for prediction, truth in zip(predictions, truths, strict=True)
        if prediction.chances is not None and truth.target is not None
    ]


def bootstrap(values: Sequence[float], seed: int = 0) -> tuple[float, float] | None:
    """The 95 % interval of the mean by resampling; None of fewer than two values."""
    if len(values) < 2:
        return None
    rng = np.random.default_rng(seed)
    array = np.asarray(values, dtype=np.float64)
    means = array[rng.integers(0, len(array), size=(RESAMPLES, len(array)))].mean(1)
    low, high = np.percentile(means, [LOW, HIGH])
    return float(low), float(high)


def difference(ours: Sequence[float], theirs: Sequence[float]) -> dict[str, float | None]:
    """The mean of a paired difference with its interval."""
    pairs = [a - b for a, b in zip(ours, theirs, strict=True)]
    low, high = bootstrap(pairs) or (None, None)
    return {"mean": _mean(pairs), "low": low, "high": high}


def _with_interval(name: str, values: Sequence[float]) -> dict[str, float | None]:
    low, high = bootstrap(values) or (None, None)
    return {name: _mean(values), f"{name}_low": low, f"{name}_high": high}


def _of_distribution(rows: Sequence[tuple[Prediction, Truth]]) -> dict[str, float | None]:
    """Entropy, concentration and calibration of the proposer's own distribution; all None where it shows none."""
    shown = [(p.chances, truth) for p, truth in rows if p.chances is not None]
    if not shown:
        names = ("entropy", "max_mean_p", "confidence", "calibration_gap", "brier")
        return dict.fromkeys(names)
    total: dict[Pair, float] = defaultdict(float)
    for chances, truth in shown:
        for option, chance in zip(truth.options, chances, strict=True):
            total[option] += float(chance)
    confidence = [float(chances.max()) for chances, _ in shown]
    judged = [(chances, truth.target) for chances, truth in shown if truth.target is not None]
    right = [float(int(np.argmax(chances)) == target) for chances, target in judged]
    hits = _mean(right)
    return {
        "entropy": _mean([entropy_of(chances) for chances, _ in shown]),
        "max_mean_p": max(total.values()) / len(shown),
        "confidence": _mean(confidence),
        "calibration_gap": None if hits is None else (_mean([float(c.max()) for c, _ in judged]) or 0.0) - hits,
        "brier": _mean([float(np.square(c).sum() - 2 * c[target] + 1) for c, target in judged]),
    }


def entropy_of(chances: Vector) -> float:
    """In nats."""
    positive = chances[chances > 0]
    return float(-(positive * np.log(positive)).sum())


def _share(prediction: Prediction, matches: Any) -> float:
    samples = prediction.samples
    return sum(pair is not None and matches(pair) for pair in samples) / len(samples) if samples else 0.0


def _agreement(samples: Sequence[Pair | None]) -> float:
    """The share of pairs of draws that are equal: 1 for a proposer that always says the same."""
    pairs = list(itertools.combinations(samples, 2))
    return sum(a == b for a, b in pairs) / len(pairs) if pairs else 1.0


def _mean(values: Sequence[float]) -> float | None:
    return math.fsum(values) / len(values) if values else None


def _median(values: Sequence[float]) -> float | None:
    return float(np.median(np.asarray(values))) if values else None
