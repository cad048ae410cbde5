"""How sure an adapter may be: one temperature, fitted after training on the rows that training was stopped by.

A model that was tuned on few rows is surer than it is right. Dividing its logits by one number mends that and changes
no order (temperature scaling: Guo et al., "On Calibration of Modern Neural Networks", ICML 2017). As the rows are few,
the number is held near 1 by a normal prior on its logarithm.
"""

from collections.abc import Sequence

import numpy as np

from agents.local.scorer import Vector

PRIOR_SD = 0.5
"""Of the temperature's logarithm, around 0."""

_GRID = np.exp(np.linspace(np.log(0.25), np.log(4.0), 401))


def fit_temperature(rows: Sequence[tuple[Vector, int]]) -> float:
    """The temperature at which what was chosen is likeliest, given the prior.

    Args:
        rows: logits over a situation's options, and which was chosen. None: 1.
    """
    if not rows:
        return 1.0
    losses = np.log(_GRID) ** 2 / (2 * PRIOR_SD**2)
    for logits, target in rows:
        scaled = (logits - logits.max())[None] / _GRID[:, None]
        losses = losses + np.log(np.exp(scaled).sum(axis=1)) - scaled[:, target]
    return float(_GRID[losses.argmin()])
