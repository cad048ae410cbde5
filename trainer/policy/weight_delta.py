"""Whether training moved the weights: the first thing to ask of an adapter that seems to do nothing."""

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor, nn


class WeightDeltaTracker:
    """How far the trainable parameters of a model have moved since this was made.

    Args:
        model: its parameters that require gradients now are copied to the CPU. Others that become trainable later are
            not measured.
    """

    def __init__(self, model: "nn.Module") -> None:
        self._model = model
        self._before: dict[str, Tensor] = {
            name: parameter.detach().cpu().clone()
            for name, parameter in model.named_parameters()
            if parameter.requires_grad
        }

    def __len__(self) -> int:
        """How many tensors were captured."""
        return len(self._before)

    def delta(self) -> tuple[float, float]:
        """The L2 norm of the change over all captured parameters, and its largest absolute value.

        (0.0, 0.0) when nothing was trainable. Differences are taken in double precision: a step of bfloat16 weights
        is otherwise lost in the sum.
        """
        squares, largest = 0.0, 0.0
        now = dict(self._model.named_parameters())
        for name, before in self._before.items():
            change = now[name].detach().cpu().double() - before.double()
            if change.numel():
                squares += float(change.square().sum())
                largest = max(largest, float(change.abs().max()))
        return math.sqrt(squares), largest
