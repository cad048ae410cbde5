"""The training loop of an adapter: seeded, stopped by a part of the training rows, resumed after each epoch."""

import math
import resource
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agents.local.language_scorer import option_logs
from rails.errors import UserError
from studies.distil.language.adapter import first_adapted
from studies.distil.language.calibration import fit_temperature
from studies.distil.language.check import check_tree, tolerance_of
from studies.distil.language.checkpoint import load_progress, save_progress
from studies.distil.language.recipe import LanguageRecipe
from studies.distil.language.rows import Row, loss_of, supervised
from studies.distil.language.upper import UpperModel
from trainer.policy import WeightDeltaTracker

if TYPE_CHECKING:
    from torch import Tensor

Report = Callable[[int, int], None]
"""Told how many epochs of how many are done."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Training:
    """What is trained, on what, and where its state is kept."""

    model: Any
    """A causal language model with a trainable adapter in it."""
    train: Sequence[Row]
    validation: Sequence[Row]
    recipe: LanguageRecipe
    folder: Path
    key: str
    """Says which training it is."""


def train_adapter(training: Training, report: Report = lambda done, total: None) -> dict[str, Any]:
    """Train the adapter that is in a model; leaves the weights of the best epoch in it. Returns the metrics.

    Args:
        training: see there. With a checkpoint of the same key in the folder it goes on from that.
        report: told after each epoch.

    Raises:
        UserError: options cannot be scored as a tree by this model, or training moved nothing.
    """
    import torch

    recipe, model = training.recipe, training.model
    weights = {name: tensor for name, tensor in model.named_parameters() if tensor.requires_grad}
    moved = WeightDeltaTracker(model)
    optimizer = torch.optim.AdamW(weights.values(), lr=recipe.learning_rate, weight_decay=recipe.weight_decay)
    progress = load_progress(training.folder, training.key, weights, optimizer)
    runner = _runner(training)
    judged = training.validation or training.train
    while progress.epoch < recipe.epochs and progress.epoch - progress.best_epoch < recipe.patience:
        began, cpu_began = time.monotonic(), time.process_time()
        if not progress.losses:
            progress.losses.append(_mean_loss(runner, judged, recipe))
        _epoch(runner, training, optimizer, progress.epoch)
        loss = _mean_loss(runner, judged, recipe)
        progress.losses.append(loss)
        progress.epoch += 1
        if loss < progress.best_loss - 1e-4:
            progress.best_loss, progress.best_epoch = loss, progress.epoch
            progress.best = _copied(weights)
        progress.train_s += time.monotonic() - began
        progress.train_cpu_s += time.process_time() - cpu_began
        save_progress(training.folder, training.key, progress, _copied(weights), optimizer)
        report(progress.epoch, recipe.epochs)
    with torch.no_grad():
        for name, tensor in weights.items():
            tensor.copy_(progress.best.get(name, tensor))
    l2, largest = moved.delta()
    if not l2 or not math.isfinite(l2):
        raise UserError("training moved no weights, or lost them", fix="train on more rows, or another model")
    return {
        "rows": len(training.train),
        "validation_rows": len(training.validation),
        "supervised_tokens": sum(supervised(row, recipe) for row in training.train),
        "epochs": progress.epoch,
        "best_epoch": progress.best_epoch,
        "validation_loss": progress.best_loss,
        "validation_losses": progress.losses,
        "weight_l2_moved": l2,
        "weight_largest_moved": largest,
        "temperature": _temperature(runner, training),
        "parameters": sum(tensor.numel() for tensor in weights.values()),
        "train_s": progress.train_s,
        "train_cpu_s": progress.train_cpu_s,
        "peak_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
    }


def _epoch(runner: Any, training: Training, optimizer: Any, number: int) -> None:
    """Each row once, in an order that follows from the seed and the epoch's number."""
    import torch

    recipe, rows = training.recipe, training.train
    generator = torch.Generator().manual_seed(1_000_003 * recipe.seed + number)
    order = torch.randperm(len(rows), generator=generator).tolist()
    trained = [tensor for group in optimizer.param_groups for tensor in group["params"]]
    starts = range(0, len(order), recipe.batch)
    for step, start in enumerate(starts):
        for group in optimizer.param_groups:
            group["lr"] = recipe.learning_rate * (1 - (number + step / len(starts)) / recipe.epochs)
        taken = [rows[place] for place in order[start : start + recipe.batch]]
        optimizer.zero_grad()
        for row in taken:
            (loss_of(runner, row, recipe) / len(taken)).backward()
        torch.nn.utils.clip_grad_norm_(trained, recipe.clip)
        optimizer.step()


def _mean_loss(runner: Any, rows: Sequence[Row], recipe: LanguageRecipe) -> float:
    import torch

    with torch.no_grad():
        return sum(float(loss_of(runner, row, recipe)) for row in rows) / sum(row.weight for row in rows)


def _temperature(runner: Any, training: Training) -> float:
    """At which the best epoch's weights are to be asked; 1 where a model was not trained on its legal options."""
    import torch

    if training.recipe.objective == "tokens":
        return 1.0
    with torch.no_grad():
        logs = [option_logs(runner, row.question).double().cpu().numpy() for row in training.validation]
    return fit_temperature([(of_row, row.target) for of_row, row in zip(logs, training.validation, strict=True)])


def _copied(weights: "dict[str, Tensor]") -> "dict[str, Tensor]":
    return {name: tensor.detach().cpu().clone() for name, tensor in weights.items()}


def _runner(training: Training) -> Any:
    """The upper layers where they do as the whole model does, else the whole model.

    Raises:
        UserError: the chances of options as a tree are not those of the options one by one.
    """
    import torch

    model, row = training.model, training.train[0]
    check_tree(model, row.question, row.target)
    upper = UpperModel(model, first_adapted(model, training.recipe))
    try:
        with torch.no_grad():
            apart = (option_logs(upper, row.question) - option_logs(model, row.question)).abs().max()
    except (RuntimeError, TypeError, ValueError, IndexError, AttributeError):
        return model  # one of another build
    return upper if float(apart) <= tolerance_of(model) else model
