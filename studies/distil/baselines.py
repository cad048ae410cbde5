"""What every student is raced against: proposers that know nothing but counts, or nine numbers, or nothing at all."""

import math
from collections import Counter
from collections.abc import Sequence

import numpy as np

from agents.local.features import FEATURES, Matrix, featurise
from agents.local.scorer import Vector, probabilities
from agents.local.situation import Situation
from studies.distil.corpus import Pair
from studies.distil.views import Choice

SMOOTHING = 0.1
"""Added to every count."""

LOGIT_FEATURES = (
    "distance", "log_rank", "ranged", "log_tried_knob", "log_tried_value", "knob_untouched", "mean_gain",
    "last_gain_side", "smoothed_gain",
)  # fmt: skip

RIDGE = 1.0
STEPS = 30


class Uniform:
    """Every option alike."""

    def logits(self, situation: Situation) -> Vector:
        """Zeros."""
        return np.zeros(len(situation.options))


class Marginal:
    """How often each move was chosen in what is trained on, whatever the situation.

    Args:
        choices: to count.
    """

    def __init__(self, choices: Sequence[Choice]) -> None:
        self._counts: Counter[Pair] = Counter(
            choice.situation.options[choice.example.target] for choice in choices if choice.example.target is not None
        )

    def logits(self, situation: Situation) -> Vector:
        """Logarithms of the counts, smoothed."""
        return np.log(np.array([self._counts[option] + SMOOTHING for option in situation.options]))


class ConditionalLogit:
    """A linear score of nine features of each option (McFadden's conditional logit), with a ridge.

    Args:
        choices: to fit.
    """

    def __init__(self, choices: Sequence[Choice]) -> None:
        self._columns = [FEATURES.index(name) for name in LOGIT_FEATURES]
        rows = [
            (featurise(choice.situation)[:, self._columns], choice.example.target)
            for choice in choices
            if choice.example.target is not None
        ]
        self._weights = _fit(rows)

    def logits(self, situation: Situation) -> Vector:
        """Linear in the features."""
        return featurise(situation)[:, self._columns] @ self._weights


def _fit(rows: Sequence[tuple[Matrix, int]]) -> Vector:
    """Newton's method on the penalised log-likelihood, which is concave; a step that overshoots is halved."""
    weights = np.zeros(len(LOGIT_FEATURES))
    for _ in range(STEPS):
        loss, gradient, curvature = _expanded(rows, weights)
        step = np.linalg.solve(curvature, gradient)
        length = 1.0
        while _expanded(rows, weights - length * step)[0] > loss and length > 1e-6:
            length /= 2
        weights = weights - length * step
        if float(np.abs(step).max()) < 1e-8:
            break
    return weights


def _expanded(rows: Sequence[tuple[Matrix, int]], weights: Vector) -> tuple[float, Vector, Matrix]:
    """The penalised loss, its gradient and its curvature."""
    loss, gradient, curvature = RIDGE * float(weights @ weights) / 2, RIDGE * weights, RIDGE * np.eye(len(weights))
    for features, target in rows:
        chances = probabilities(features @ weights)
        mean = chances @ features
        loss -= math.log(max(float(chances[target]), 1e-300))
        gradient = gradient + mean - features[target]
        curvature = curvature + (features * chances[:, None]).T @ features - np.outer(mean, mean)
    return loss, gradient, curvature
