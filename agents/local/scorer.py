"""Who gives every option its probability: the protocol, and the embedded student's small network."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from agents.local.features import FEATURES, Matrix, featurise
from agents.local.situation import Situation
from rails.errors import UserError

Vector = NDArray[np.float64]

LAYERS = ("encode", "mix", "join", "score")
"""The network's layers, in order; each is a weight (inputs × outputs) and a bias."""

WEIGHTS = "weights.npz"


class OptionScorer(Protocol):
    """Gives logits over the options of a situation, whatever is behind it: a small network, a language model."""

    def logits(self, situation: Situation) -> Vector:
        """One number for each option, in their order; the probabilities are their softmax."""
        ...


class EmbeddedScorer:
    """The embedded student: each option is encoded, told of the mean over all options, and scored.

    The order of the options does not matter, nor how many there are.

    Args:
        weights: `<layer>.weight` and `<layer>.bias` for each of `LAYERS`.
    """

    def __init__(self, weights: Mapping[str, Matrix]) -> None:
        self._layers = [(weights[f"{name}.weight"], weights[f"{name}.bias"]) for name in LAYERS]

    @property
    def parameters(self) -> int:
        """How many numbers were trained."""
        return sum(weight.size + bias.size for weight, bias in self._layers)

    def logits(self, situation: Situation) -> Vector:
        """See `OptionScorer.logits`."""
        return self.logits_of(featurise(situation))

    def logits_of(self, features: Matrix) -> Vector:
        """The logits of options of which only the features are known."""
        (encode, encode_bias), (mix, mix_bias), (join, join_bias), (score, score_bias) = self._layers
        hidden = np.maximum(features @ encode + encode_bias, 0)
        hidden = np.maximum(hidden @ mix + mix_bias, 0)
        half = hidden.shape[1]
        everybody = hidden.mean(0) @ join[half:]
        joined = np.maximum(hidden @ join[:half] + everybody + join_bias, 0)
        return (joined @ score + score_bias)[:, 0]

    @classmethod
    def load(cls, folder: Path) -> "EmbeddedScorer":
        """The network in a student's folder.

        Raises:
            UserError: the file is missing, damaged, or of other features than these.
        """
        path = folder / WEIGHTS
        fix = "train the student again: `nightshift distill train`"
        try:
            with np.load(path, allow_pickle=False) as file:
                weights = {name: np.asarray(file[name], dtype=np.float64) for name in file.files}
            scorer = cls(weights)
        except (OSError, ValueError, KeyError) as error:
            raise UserError(f"the student's weights cannot be read ({error})", where=str(path), fix=fix) from error
        sizes = [weight.shape for weight, _ in scorer._layers]
        if not _fits(sizes) or not all(np.isfinite(array).all() for array in weights.values()):
            raise UserError("the student's weights do not fit this version", where=str(path), fix=fix)
        return scorer

    def save(self, folder: Path) -> None:
        """Write the network into a student's folder."""
        named = dict(zip(LAYERS, self._layers, strict=True))
        arrays: dict[str, Any] = {f"{name}.weight": weight for name, (weight, _) in named.items()}
        arrays |= {f"{name}.bias": bias for name, (_, bias) in named.items()}
        np.savez(folder / WEIGHTS, **arrays)


def _fits(shapes: list[tuple[int, ...]]) -> bool:
    """Whether the layers lie one on the other and begin with the features."""
    encode, mix, join, score = shapes
    whole = encode[0] == len(FEATURES) and encode[1] == mix[0] and join[0] == 2 * mix[1]
    return whole and join[1] == score[0] and score[1] == 1


def probabilities(logits: Vector, *, temperature: float = 1.0, allowed: NDArray[np.bool_] | None = None) -> Vector:
    """The softmax of logits, over the allowed options alone.

    Args:
        logits: one for each option.
        temperature: below 1 sharper, above 1 flatter.
        allowed: options that are not masked; None: all. At least one.
    """
    scaled = logits / temperature
    if allowed is not None:
        scaled = np.where(allowed, scaled, -np.inf)
    powers = np.exp(scaled - scaled.max())
    return powers / powers.sum()
