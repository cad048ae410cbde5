"""Blind scoring: rows that no program is ever shown whole, to see whether a score was earned.

Probes find a program that looks ahead as long as its replica does not know what the scored process saw. Should the two
find a way to talk, or a trial leave text for the next one, probes find nothing. What nobody was shown, nobody can have
passed on: a few rows of every held-back text are kept *blind*. They are only asked about as prefixes, cut at secret
places with foreign text behind, each row from left to right; after the last cut of a row nothing of it is ever shown,
in any campaign on this text. A program that earns its score gains on blind places what it gains on shown ones.

The rows follow from a secret of the held-back text itself, so every trial of every campaign has the same ones, and
scores stay comparable. How the two are compared: `trainer.scoring.blindness`.

Shapes: R rows, T positions, S rows whose costs are kept, K blind places, V vocabulary.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from trainer.data.shards import EvalSet
from trainer.scoring.cuts import Indices, Places

BLIND_ROWS = 64
"""Rows of a text that are kept blind, as far as that leaves three in four to be scored."""
LEAST_ROWS = 8
"""With fewer blind rows nothing can be said: a text so short is scored whole, and not blind at all."""
CUTS_A_ROW = 16
"""Blind places of a row: all are asked before a keep, of every trial the last."""
SAMPLE_ROWS = 256
"""Shown rows whose costs by token are kept for comparison."""

Bools = NDArray[np.bool_]
Float32 = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class HeldBack:
    """A held-back text: the rows that are scored, and those that are only shown up to a cut."""

    shown: EvalSet
    blind: EvalSet
    cuts: Places
    """The K blind places, in rows of `blind`: by row, and in a row from left to right."""
    unseen: Bools
    """[K]: the last one of its row, so that the token after it has never been shown to anybody."""
    sample: Indices
    """[S] rows of `shown`, rising: those whose costs are kept."""

    def chosen(self, whole: bool) -> Bools:
        """[K]: the places to ask about: all, or the unseen ones."""
        return np.ones_like(self.unseen) if whole else self.unseen


def reserve(eval_set: EvalSet, secret: bytes) -> HeldBack:
    """Set the blind rows of a text apart.

    Args:
        eval_set: the whole text.
        secret: what no trial can know; the same secret sets the same rows and places apart.
    """
    rng = np.random.default_rng(int.from_bytes(hashlib.sha256(b"blind rows:" + secret).digest()[:16]))
    count = len(eval_set.rows)
    blind = min(BLIND_ROWS, count // 4)
    rows = np.sort(rng.choice(count, blind if blind >= LEAST_ROWS else 0, replace=False))
    found: list[tuple[int, int, bool]] = []
    for index, row in enumerate(eval_set.rows[rows]):
        counted = np.flatnonzero(eval_set.token_bytes[row[1:]] > 0)
        if not len(counted):
            continue
        last = int(rng.choice(counted))
        before = counted[counted < last]
        drawn = rng.choice(before, min(CUTS_A_ROW - 1, len(before)), replace=False)
        found += [(index, t, t == last) for t in sorted([*map(int, drawn), last])]
    shown = np.delete(eval_set.rows, rows, axis=0)
    sample = np.sort(rng.choice(len(shown), min(SAMPLE_ROWS, len(shown)), replace=False))
    table = np.asarray(found, np.int64).reshape(-1, 3)
    return HeldBack(
        shown=EvalSet(shown, eval_set.token_bytes),
        blind=EvalSet(eval_set.rows[rows], eval_set.token_bytes),
        cuts=Places(table[:, 0], table[:, 1]),
        unseen=table[:, 2].astype(bool),
        sample=sample,
    )


@dataclass(frozen=True, slots=True)
class Costs:
    """What one program's answers cost by token, in nats; NaN where it was not asked, or the token is of no byte."""

    shown: Float32
    """[S, T], of the rows of `HeldBack.sample`."""
    blind: Float32
    """[K]."""

    def fits(self, text: HeldBack) -> bool:
        """Whether they are of this text, cut as it is now."""
        shape = len(text.sample), text.shown.rows.shape[1] - 1
        return self.shown.shape == shape and len(self.blind) == len(text.cuts)


def mean_costs(found: Sequence[Costs]) -> Costs | None:
    """The mean over those measurements of a program that were asked about the most blind places; None of none.

    Shown and blind places must be of the same measurements: a seed that trained better than the others is better on
    both, and known on the one kind alone it would make a gap where there is none.
    """
    if not found:
        return None
    asked = [int(np.isfinite(each.blind).sum()) for each in found]
    most = [each for each, count in zip(found, asked, strict=True) if count == max(asked)]
    shown, blind = (np.stack(parts) for parts in ([each.shown for each in most], [each.blind for each in most]))
    return Costs(shown=shown.mean(axis=0).astype(np.float32), blind=blind.mean(axis=0).astype(np.float32))
