"""How sure an adapter may be: one temperature, fitted after training on the rows that training was stopped by.

A model that was tuned on few rows is surer than it is right. Dividing its logits by one number mends that and changes
no order (temperature scaling: Guo et al., "On Calibration of Modern Neural Networks", ICML 2017). As the rows are few,
a prior holds the number: loosely where it makes a model less sure, closely where it makes one surer, since a handful of
rows may all be hit by luck.
"""

from collections.abc import Sequence

import numpy as np

from agents.local.scorer import Vector

FLATTER_SD, SHARPER_SD = 2.0, 0.5
"""Of the temperature's logarithm above 0 and below. The first is the widest of four tried on four nights of our own:
each was better on the last trials of every night than the one before (benchmarks/results/distil.md)."""

_GRID = np.exp(np.linspace(np.log(0.25), np.log(4.0), 401))


def fit_temperature(rows: Sequence[tuple[Vector, int]]) -> float:
    """The temperature at which what was chosen is likeliest, given the prior.

    Args:
        rows: logits over a situation's options, and which was chosen. None: 1.
    """
    if not rows:
        return 1.0
    logs = np.log(_GRID)
    losses = (logs / np.where(logs > 0, FLATTER_SD, SHARPER_SD)) ** 2 / 2
    for logits, target in rows:
        scaled = (logits - logits.max())[None] / _GRID[:, None]
        losses = losses + np.log(np.exp(scaled).sum(axis=1)) - scaled[:, target]
    return float(_GRID[losses.argmin()])
