"""Training of the embedded student: listwise over legal options, each choice weighted by what it brought.

Advantage-weighted regression: Peng et al. 2019 (arXiv:1910.00177), with gains in units of the campaign's own spread.
"""

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from agents.local.features import FEATURES, Matrix, featurise, gain_scale, scaled_gain
from agents.local.scorer import LAYERS
from rails.errors import UserError
from studies.distil.views import Choice

if TYPE_CHECKING:
    from torch import Tensor

Objective = Literal["advantage", "clone"]
WIDTHS = (40, 40, 28)
"""Of the layers `encode`, `mix` and `join`: 4,897 parameters with 23 features."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """How an embedded student is trained."""

    objective: Objective = "advantage"
    """`clone` imitates every choice alike; `advantage` those more that brought something."""
    seed: int = 0
    epochs: int = 200
    batch: int = 64
    learning_rate: float = 3e-3
    weight_decay: float = 1e-2
    smoothing: float = 0.1
    """Of the target, over all options: what keeps a student of few rows from collapsing."""
    advantage_scale: float = 0.3
    """The gain, in spreads of the campaign, that makes a choice count e times as much."""
    patience: int = 25
    """Epochs without a better loss on the validation rows before training ends."""
    validation_share: float = 0.15
    """Of the training rows of each campaign, its last ones: what early stopping looks at."""


@dataclass(frozen=True, slots=True)
class Trained:
    """Weights and what training showed."""

    weights: dict[str, Matrix]
    metrics: dict[str, Any]


@dataclass(slots=True)
class _Rows:
    features: "Tensor"
    present: "Tensor"
    target: "Tensor"
    weight: "Tensor"

    def __len__(self) -> int:
        return len(self.target)

    def take(self, index: "Tensor") -> "_Rows":
        """Some of the rows."""
        return _Rows(self.features[index], self.present[index], self.target[index], self.weight[index])


def train_embedded(choices: Sequence[Choice], recipe: Recipe, start: dict[str, Matrix] | None = None) -> Trained:
    """Train an embedded student.

    Args:
        choices: to train on; nothing that is held out.
        recipe: how.
        start: weights to go on from; None: fresh ones of the recipe's seed.

    Raises:
        UserError: no choice is a legal move.
    """
    import torch

    began = time.monotonic()
    usable = [choice for choice in choices if choice.example.target is not None]
    if not usable:
        raise UserError("there is nothing to train on: no choice is a legal move", fix="give another corpus")
    fit_on, check_on = parted(usable, recipe.validation_share)
    train, check = _rows(fit_on, recipe), _rows(check_on, recipe)
    generator = torch.Generator().manual_seed(recipe.seed)
    parameters = (
        _fresh(generator) if start is None else {n: torch.tensor(a, dtype=torch.float32) for n, a in start.items()}
    )
    for tensor in parameters.values():
        tensor.requires_grad_(True)
    optimizer = torch.optim.AdamW(parameters.values(), lr=recipe.learning_rate, weight_decay=recipe.weight_decay)
    before = {name: tensor.detach().clone() for name, tensor in parameters.items()}
    best, best_loss, best_epoch, epoch = before, math.inf, 0, 0
    for epoch in range(1, recipe.epochs + 1):
        order = torch.randperm(len(train), generator=generator)
        for index in order.split(recipe.batch):
            optimizer.zero_grad()
            _loss(parameters, train.take(index), recipe.smoothing).backward()
            optimizer.step()
        with torch.no_grad():
            loss = float(_loss(parameters, check if len(check) else train, recipe.smoothing))
        if loss < best_loss - 1e-4:
            best, best_loss, best_epoch = {n: t.detach().clone() for n, t in parameters.items()}, loss, epoch
        elif epoch - best_epoch >= recipe.patience:
            break
    moved = math.sqrt(sum(float((best[name] - before[name]).square().sum()) for name in best))
    metrics = {
        "rows": len(train),
        "validation_rows": len(check),
        "epochs": epoch,
        "best_epoch": best_epoch,
        "validation_loss": best_loss,
        "weight_l2_moved": moved,
        "parameters": sum(tensor.numel() for tensor in best.values()),
        "train_s": time.monotonic() - began,
    }
    return Trained({name: tensor.numpy().astype(np.float64) for name, tensor in best.items()}, metrics)


def parted(choices: Sequence[Choice], share: float) -> tuple[list[Choice], list[Choice]]:
    """What is fitted, and the last choices of each campaign, on which training is stopped.

    Args:
        choices: all to train on.
        share: of each campaign's, for stopping.
    """
    fit_on: list[Choice] = []
    check_on: list[Choice] = []
    for campaign in sorted({choice.example.campaign for choice in choices}):
        mine = [choice for choice in choices if choice.example.campaign == campaign]
        cut = len(mine) - int(len(mine) * share)
        fit_on += mine[:cut]
        check_on += mine[cut:]
    return fit_on, check_on


def weights_of(choices: Sequence[Choice], recipe: Recipe) -> list[float]:
    """How much each choice counts; the mean is 1."""
    if recipe.objective == "clone":
        return [1.0] * len(choices)
    return advantage_weights(choices, recipe.advantage_scale)


def advantage_weights(choices: Sequence[Choice], advantage_scale: float) -> list[float]:
    """How much each choice counts by what it brought; the mean is 1.

    Args:
        choices: of any number of campaigns.
        advantage_scale: the gain, in spreads of the campaign, that makes a choice count e times as much.
    """
    scales: dict[int, float] = {}
    for campaign in {choice.example.campaign for choice in choices}:
        mine = [choice.example for choice in choices if choice.example.campaign == campaign]
        scales[campaign] = gain_scale([example.outcome for example in mine if example.outcome is not None])
    raw = [
        math.exp(scaled_gain(choice.example.gain, scales[choice.example.campaign]) / advantage_scale)
        for choice in choices
    ]
    mean = sum(raw) / max(len(raw), 1)
    return [weight / mean for weight in raw]


def _rows(choices: Sequence[Choice], recipe: Recipe) -> _Rows:
    import torch

    most = max((len(choice.situation.options) for choice in choices), default=1)
    features = np.zeros((len(choices), most, len(FEATURES)), dtype=np.float32)
    present = np.zeros((len(choices), most), dtype=np.bool_)
    for row, choice in enumerate(choices):
        count = len(choice.situation.options)
        features[row, :count] = featurise(choice.situation)
        present[row, :count] = True
    target = [choice.example.target or 0 for choice in choices]
    return _Rows(
        torch.from_numpy(features),
        torch.from_numpy(present),
        torch.tensor(target, dtype=torch.int64),
        torch.tensor(weights_of(choices, recipe), dtype=torch.float32),
    )


def _fresh(generator: Any) -> "dict[str, Tensor]":
    import torch

    encode, mix, join = WIDTHS
    shapes = dict(zip(LAYERS, ((len(FEATURES), encode), (encode, mix), (2 * mix, join), (join, 1)), strict=True))
    made: dict[str, Tensor] = {}
    for name, (inputs, outputs) in shapes.items():
        made[f"{name}.weight"] = torch.randn(inputs, outputs, generator=generator) * math.sqrt(2 / inputs)
        made[f"{name}.bias"] = torch.zeros(outputs)
    made["score.weight"] *= 0.1  # close to uniform at first
    return made


def _loss(parameters: "dict[str, Tensor]", rows: _Rows, smoothing: float) -> "Tensor":
    import torch

    logits = _logits(parameters, rows).masked_fill(~rows.present, -math.inf)
    logs = torch.log_softmax(logits, dim=1).masked_fill(~rows.present, 0.0)
    chosen = logs.gather(1, rows.target[:, None])[:, 0]
    everywhere = logs.sum(1) / rows.present.sum(1)
    likelihood = (1 - smoothing) * chosen + smoothing * everywhere
    return -(rows.weight * likelihood).sum() / rows.weight.sum()


def _logits(parameters: "dict[str, Tensor]", rows: _Rows) -> "Tensor":
    """The network of `EmbeddedScorer.logits_of`, for many situations at once."""
    import torch

    hidden = torch.relu(rows.features @ parameters["encode.weight"] + parameters["encode.bias"])
    hidden = torch.relu(hidden @ parameters["mix.weight"] + parameters["mix.bias"])
    present = rows.present[:, :, None].to(hidden.dtype)
    mean = (hidden * present).sum(1, keepdim=True) / present.sum(1, keepdim=True)
    both = torch.cat([hidden, mean.expand_as(hidden)], dim=2)
    joined = torch.relu(both @ parameters["join.weight"] + parameters["join.bias"])
    return (joined @ parameters["score.weight"] + parameters["score.bias"])[:, :, 0]
