"""Bits per byte, counted by the side that is trusted.

The model only ever answers logits. Here they are normalised, so no model can claim more than a whole probability, and
every token must cost a finite, non-negative number of nats. Copy the logits out of shared memory before they come here:
whoever normalises a buffer that its owner can still write has measured nothing.
"""

import math
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn.functional import cross_entropy

from rails.errors import TrialError
from rails.status import Status

TOLERANCE_NATS = 1e-6
"""A certain token may cost this much less than nothing, by rounding; it counts as 0."""

Logits = NDArray[np.float32]


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """How well a model predicts a text. Lower `val_bpb` is better.

    `val_bpb` = `total_nats` / (ln 2 · `total_bytes`), over targets that stand for at least one byte. `score_s` is how
    long the whole scoring took, `answer_s` the first answer.
    """

    val_bpb: float
    total_nats: float
    total_bytes: int
    scored_tokens: int
    score_s: float
    answer_s: float
    costs: NDArray[np.float32]
    """[S, T] nats of the tokens in the rows that the tally was to keep; NaN for those of no byte."""


def token_costs(logits: Logits, targets: NDArray[np.int32]) -> NDArray[np.float64]:
    """The cost of each target in nats, −log softmax(logits)[target], in float32.

    The kernel takes the largest logit off before it adds anything up. `logsumexp(x) − x[target]` would not do: it loses
    every digit, and costs nothing, for a model that adds a thousand million to all its logits.

    Args:
        logits: float32 [T, V].
        targets: int [T], each in 0..V−1.

    Returns:
        [T]; not finite where the logits make no distribution.
    """
    target_T = torch.from_numpy(targets.astype(np.int64))
    return cross_entropy(torch.from_numpy(logits), target_T, reduction="none").double().numpy()


@contextmanager
def counting_threads(count: int) -> Generator[None]:
    """Let torch use `count` threads inside the block, for the whole process."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


class Tally:
    """Adds up the cost of a text, batch by batch.

    Args:
        token_bytes: int32 [V], how many bytes each token stands for. Targets of 0 bytes are not counted.
        kept_rows: numbers of the rows whose costs by token are part of the score.
    """

    def __init__(self, token_bytes: NDArray[np.int32], kept_rows: NDArray[np.int64] | None = None) -> None:
        self._token_bytes = token_bytes
        self._kept_rows = set[int]() if kept_rows is None else set[int](kept_rows.tolist())
        self._costs = list[NDArray[np.float32]]()
        self._nats, self._bytes, self._tokens, self._rows = 0.0, 0, 0, 0

    def add(self, logits: Logits, targets: NDArray[np.int32]) -> None:
        """Count rows.

        Args:
            logits: float32 [r, T, V], private to the caller.
            targets: int32 [r, T].

        Raises:
            TrialError: a token's cost is not finite, or is negative (status `disqualified`).
        """
        for row_TV, target_T in zip(logits, targets, strict=True):
            sizes = self._token_bytes[target_T]
            counted = sizes > 0
            costs = token_costs(row_TV, target_T)[counted]
            self._judge(costs, np.flatnonzero(counted))
            if self._rows in self._kept_rows:
                self._costs.append(np.full(len(target_T), np.nan, np.float32))
                self._costs[-1][counted] = np.maximum(costs, 0.0)
            self._nats += float(np.maximum(costs, 0.0).sum())
            self._bytes += int(sizes.sum())
            self._tokens += int(counted.sum())
            self._rows += 1

    def score(self, score_s: float, answer_s: float) -> Score:
        """The result so far; see `Score` for the seconds.

        Raises:
            ValueError: nothing that stands for a byte was counted.
        """
        if self._bytes == 0:
            raise ValueError("nothing to score: no target stands for a byte")
        return Score(
            val_bpb=self._nats / (math.log(2) * self._bytes),
            total_nats=self._nats,
            total_bytes=self._bytes,
            scored_tokens=self._tokens,
            score_s=score_s,
            answer_s=answer_s,
            costs=np.stack(self._costs) if self._costs else np.empty((0, 0), np.float32),
        )

    def _judge(self, costs: NDArray[np.float64], positions: NDArray[np.intp]) -> None:
        wrong = np.flatnonzero(~(np.isfinite(costs) & (costs >= -TOLERANCE_NATS)))
        if wrong.size:
            place = f"token {positions[wrong[0]]} of row {self._rows}"
            what = f"the model's logits are not a distribution: {place} would cost {costs[wrong[0]]:.4g} nats"
            raise TrialError(Status.DISQUALIFIED, what)
