"""Secret places in the text that is scored, and the made-up rows that show whether a model looks past them.

A cut at position t of a row keeps its tokens 0..t and replaces what follows. What a causal model answers at t cannot
change by that.

Who answers may remember every row it is shown, so no row may give away what follows at a cut that is asked later: the
replacement is drawn token by token from the whole text, because a piece of real text would, and the cuts of one row
are asked from left to right, never two at a time.

Shapes: R rows, T positions, K places, V vocabulary.
"""

import os
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from trainer.data.shards import EvalSet

Indices = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Places:
    """K places: position `positions[k]` of row `rows[k]`."""

    rows: Indices
    positions: Indices

    def __len__(self) -> int:
        return len(self.rows)

    def take(self, chosen: Indices | NDArray[np.bool_] | slice) -> "Places":
        """Some of them, in the order given."""
        return Places(self.rows[chosen], self.positions[chosen])


def secret_rng() -> np.random.Generator:
    """Random numbers that nobody can repeat, seeded by the operating system."""
    return np.random.default_rng(int.from_bytes(os.urandom(16)))


def draw_cuts(eval_set: EvalSet, count: int, rng: np.random.Generator) -> Places:
    """Up to `count` different places to cut at, all equally likely, in random order.

    A place is one if the token after it is part of the row that the model sees, and counts: it stands for a byte.
    """
    length = eval_set.rows.shape[1] - 1
    following = eval_set.rows[:, 1:length]
    eligible = np.flatnonzero(eval_set.token_bytes[following] > 0)
    drawn = rng.choice(eligible, min(count, len(eligible)), replace=False)
    return Places(*np.divmod(drawn, length - 1))


def draw_places(rows: int, length: int, count: int, rng: np.random.Generator) -> Places:
    """Up to `count` different places among the first `rows` rows of `length` positions."""
    drawn = rng.choice(rows * length, min(count, rows * length), replace=False)
    return Places(*np.divmod(drawn.astype(np.int64), length))


def rounds(cuts: Places, rng: np.random.Generator) -> list[Indices]:
    """Indices of the cuts in rounds: the leftmost cut of every row, then the next of each; a round in random order."""
    order = np.lexsort((cuts.positions, cuts.rows))
    rows = cuts.rows[order]
    rank = np.arange(len(rows)) - np.searchsorted(rows, rows)
    return [rng.permutation(order[rank == n]) for n in range(int(rank.max(initial=-1)) + 1)]


def foreign_suffixes(
    eval_set: EvalSet, cuts: Places, rng: np.random.Generator, source: EvalSet | None = None
) -> NDArray[np.int32]:
    """For each cut its row with other text after the cut: another token than its own next one, then any.

    Args:
        eval_set: whose rows are cut; nothing comes after a cut at the end of a row.
        cuts: where.
        rng: draws what comes after.
        source: the text whose tokens are drawn; the same unless said otherwise.

    Returns:
        int32 [K, T].
    """
    text_RT, drawn_RT = eval_set.rows[:, :-1], (source or eval_set).rows[:, :-1]
    own_KT = text_RT[cuts.rows]
    foreign_KT = drawn_RT.ravel()[rng.integers(0, drawn_RT.size, own_KT.shape)]
    k = np.flatnonzero(cuts.positions + 1 < text_RT.shape[1])
    following = cuts.positions[k] + 1
    foreign_KT[k, following] = _other_tokens(source or eval_set, own_KT[k, following], rng)
    after_KT = np.arange(text_RT.shape[1]) > cuts.positions[:, None]
    return np.where(after_KT, foreign_KT, own_KT)


def _other_tokens(eval_set: EvalSet, tokens: NDArray[np.int32], rng: np.random.Generator) -> NDArray[np.int32]:
    """For each token another one of the text."""
    drawn = tokens.copy()
    text = eval_set.rows[:, 1:-1].ravel()
    if (text == text[0]).all():
        raise ValueError("text of one token cannot be cut: there is no other token to put after a cut")
    while (same := drawn == tokens).any():
        drawn[same] = text[rng.integers(0, text.size, int(same.sum()))]
    return drawn
