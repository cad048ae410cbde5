"""How far two answers about the same place lie apart, and how much of that leans to the real next token.

Shapes: K places, V vocabulary.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_PIECE_BYTES = 16 * 2**20

Logits = NDArray[np.float32]
Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Effects:
    """What changed at each of K places: the divergence, and how much cheaper the real next token was when scored."""

    nats: Floats
    lean_nats: Floats

    @property
    def largest_nats(self) -> float:
        """The largest divergence; 0 without places."""
        return float(self.nats.max(initial=0.0))

    def over(self, tolerance_nats: float) -> int:
        """At how many places the divergence is above the tolerance."""
        return int((self.nats > tolerance_nats).sum())

    def mean_lean(self) -> tuple[float, float]:
        """The mean lean and its standard error; both 0 without places, infinite where a token became impossible."""
        if len(self.lean_nats) < 2:
            return 0.0, math.inf
        if not np.isfinite(self.lean_nats).all():
            return math.inf, math.inf
        return float(self.lean_nats.mean()), float(self.lean_nats.std(ddof=1) / math.sqrt(len(self.lean_nats)))


def log_softmax(logits: NDArray[np.floating]) -> Floats:
    """Of the last axis, in float64."""
    x = logits.astype(np.float64)
    with np.errstate(invalid="ignore"):
        x -= x.max(axis=-1, keepdims=True)
        return x - np.log(np.exp(x).sum(axis=-1, keepdims=True))


def compare(
    scored: Logits, again: Logits, targets: NDArray[np.integer], foreign: NDArray[np.integer] | None = None
) -> Effects:
    """How far two answers lie apart at each place.

    Args:
        scored: float32 [K, V], from the process that was scored.
        again: float32 [K, V].
        targets: [K], the real next token.
        foreign: [K], the token that was put in its place; left out of both answers before the lean is taken, so that
            having believed in it does not count.

    Returns:
        Effects; infinite where an answer is no distribution, or rules out what the other thinks possible.
    """
    nats, lean = np.zeros(len(scored)), np.zeros(len(scored))
    size = max(1, _PIECE_BYTES // (8 * scored.shape[-1]))
    for start in range(0, len(scored), size):
        part = slice(start, start + size)
        p, q = log_softmax(scored[part]), log_softmax(again[part])
        weight, k = np.exp(p), np.arange(len(p))
        with np.errstate(invalid="ignore"):
            terms = np.where(weight > 0, weight * (p - q), 0.0)  # a token held impossible weighs nothing
            terms[np.isnan(weight)] = np.inf
            nats[part] = np.maximum(np.nan_to_num(terms.sum(axis=-1), nan=np.inf, posinf=np.inf), 0.0)
            if foreign is not None:
                p[k, foreign[part]] = q[k, foreign[part]] = -np.inf
                p, q = log_softmax(p), log_softmax(q)
            lean[part] = (p - q)[k, targets[part]]
    return Effects(nats, lean)


def joined(parts: Sequence[Effects]) -> Effects:
    """All of them as one."""
    empty = np.zeros(0)
    return Effects(
        np.concatenate([empty, *(part.nats for part in parts)]),
        np.concatenate([empty, *(part.lean_nats for part in parts)]),
    )
