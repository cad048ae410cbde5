"""What a model answered while it was scored, kept at secret places to be compared with what is answered later."""

import numpy as np
from numpy.typing import NDArray

from trainer.scoring.blind import Costs, HeldBack
from trainer.scoring.cuts import Places, draw_cuts, draw_places, secret_rng
from trainer.scoring.effects import Logits

DEEP_CUTS = 4000
"""Cuts before a candidate may be kept, as far as the text has so many places."""
REPLAY_PLACES = 256
ORDER_ROWS = 16


class Witness:
    """What the scored process answered at secret places of one text.

    Memory: 4·(K + 272)·V bytes with K ≤ `DEEP_CUTS`: 35 MB at V = 2,048, 139 MB at 8,192, 856 MB at 50,257.

    Args:
        text: the text that will be scored.
        batch_rows: rows of a batch while it is.
        vocab_size: V.

    Attributes:
        costs: what each kept token cost when the text was scored; the blind ones are not known yet.
    """

    def __init__(self, text: HeldBack, batch_rows: int, vocab_size: int) -> None:
        self.text, self.eval_set, self.vocab_size = text, text.shown, vocab_size
        rows, length = len(self.eval_set.rows), self.eval_set.rows.shape[1] - 1
        self.batch_rows, self.rng = min(batch_rows, rows), secret_rng()
        self.cuts = draw_cuts(self.eval_set, DEEP_CUTS, self.rng)
        self.first = draw_places(self.batch_rows, length, REPLAY_PLACES, self.rng)
        # No cut is at the end of a row, for there is no text after it that could be foreign.
        last_rows = self.rng.permutation(rows)[:ORDER_ROWS].astype(np.int64)
        self.ends = Places(last_rows, np.full(len(last_rows), length - 1))
        self.cut_logits, self.first_logits, self.end_logits = (
            np.empty((len(places), vocab_size), np.float32) for places in (self.cuts, self.first, self.ends)
        )
        self.costs = Costs(np.empty((0, length), np.float32), np.full(len(text.cuts), np.nan, np.float32))

    def keep(self, first_row: int, logits: Logits) -> None:
        """Copy what was answered about rows `first_row`… at the secret places; logits are [r, T, V]."""
        self._copy(self.cuts, self.cut_logits, first_row, logits)
        self._copy(self.ends, self.end_logits, first_row, logits)
        if first_row == 0:
            self._copy(self.first, self.first_logits, first_row, logits)

    def targets(self, places: Places) -> NDArray[np.int32]:
        """The real next tokens, [K]."""
        return self.eval_set.rows[places.rows, places.positions + 1]

    @staticmethod
    def _copy(places: Places, into: Logits, first_row: int, logits: Logits) -> None:
        here = (places.rows >= first_row) & (places.rows < first_row + len(logits))
        into[here] = logits[places.rows[here] - first_row, places.positions[here]]
