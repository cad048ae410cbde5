"""Where a training stood after an epoch, on disk.

One that was killed goes on from there, and ends with the weights that it would have had.
"""

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor

FILE = "checkpoint.pt"


@dataclass(slots=True)
class Progress:
    """Where a training stands."""

    epoch: int = 0
    """Epochs that are done."""
    best_epoch: int = 0
    best_loss: float = float("inf")
    losses: list[float] = field(default_factory=list[float])
    """On the validation rows, after each epoch; the first is before any."""
    train_s: float = 0.0
    train_cpu_s: float = 0.0
    best: "dict[str, Tensor]" = field(default_factory=dict)
    """The weights of the best epoch."""


def save_progress(folder: Path, key: str, progress: Progress, weights: "dict[str, Tensor]", optimizer: Any) -> None:
    """Write where a training stands.

    Args:
        folder: of the student.
        key: says which training it is: its corpus and recipe.
        progress: it.
        weights: of now.
        optimizer: its state is kept.
    """
    import torch

    state = {name: getattr(progress, name) for name in Progress.__slots__}
    made = folder / f".{FILE}"
    torch.save({"key": key, "progress": state, "weights": weights, "optimizer": optimizer.state_dict()}, made)
    os.replace(made, folder / FILE)


def load_progress(folder: Path, key: str, weights: "dict[str, Tensor]", optimizer: Any) -> Progress:
    """Where a training of this key stood, its weights and optimizer set so; the beginning where there is none."""
    import torch

    try:
        found = torch.load(folder / FILE, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, EOFError, ValueError):
        return Progress()
    if found.get("key") != key:
        return Progress()
    with torch.no_grad():
        for name, tensor in weights.items():
            tensor.copy_(found["weights"][name])
    optimizer.load_state_dict(found["optimizer"])
    return Progress(**found["progress"])
