"""BOS-aligned best-fit packing: documents into rows of equal length, no padding, every token a target once an epoch.

After nanochat's data loader (https://github.com/karpathy/nanochat), with one change: nothing is cropped away. A piece
that does not fit is split, and its rest goes back and begins again with BOS.

Documents are drawn in a random order, `WINDOW` at a time. Within a window a document longer than a row is cut at a
random phase into pieces that fill a row each, and the shorter pieces are packed by best fit. The finished rows are
shuffled, so that one batch is not one file. The row left unfinished is finished first in the next window, so an epoch's
tokens all come before those of the next epoch. Numpy only: the trial process imports this module.

What is drawn belongs to a place in the text and not to a row's number: the phase to the document, the turn to the token
that a row begins with. So programs with one seed see nearly the same text at the same time even where their rows differ
in length: of two lengths that are powers of two, the longer rows begin where some of the shorter do, and come then.

Shapes: T sequence length; a row has T + 1 slots, inputs are the first T and targets the last T.
"""

from collections.abc import Iterator
from itertools import count

import numpy as np
from numpy.typing import NDArray

from trainer.data.shards import Documents, Fragment, write_row

WINDOW = 4096
"""Documents packed and shuffled together: the whole of a small corpus, milliseconds of work for a large one."""

PHASES = 2**32
"""So many that each is as good as equally likely to leave any remainder, and a multiple of every power of two."""

Batch = tuple[NDArray[np.int64], NDArray[np.int64]]


class _BestFit:
    """Pieces by length, and the row being filled.

    A bit mask of the lengths at hand makes "the longest piece that fits" one operation on an integer.
    """

    def __init__(self, seq_len: int) -> None:
        self._slots = seq_len + 1
        self._starts: list[list[int]] = [[] for _ in range(self._slots)]
        self._lengths = 0
        self._row: list[Fragment] = []
        self._room = self._slots

    @property
    def unfinished(self) -> bool:
        """Whether a row has been begun."""
        return bool(self._row)

    def put(self, start: int, length: int) -> None:
        """Offer the piece `tokens[start:start + length]`, 1 ≤ length ≤ T."""
        self._starts[length].append(start)
        self._lengths |= 1 << length

    def _take(self, length: int) -> int:
        starts = self._starts[length]
        start = starts.pop()
        if not starts:
            self._lengths ^= 1 << length
        return start

    def fill(self) -> list[Fragment] | None:
        """The next full row, or None when the pieces ran out; the row begun is kept for later.

        A single slot left over stays empty and becomes a BOS, which is what follows the end of a document. When no
        piece fits, the longest is split: that leaves the fewest tiny fragments.
        """
        while self._room > 1:
            most = self._room - 1
            fitting = self._lengths & ((2 << most) - 1)
            length = (fitting or self._lengths).bit_length() - 1
            if length < 0:
                return None
            start = self._take(length)
            if length > most:
                self.put(start + most, length - most)
                length = most
            self._row.append((start, length))
            self._room -= length + 1
        row, self._row, self._room = self._row, [], self._slots
        return row


def _cut(
    starts: NDArray[np.int64], lengths: NDArray[np.int64], seq_len: int, rng: np.random.Generator
) -> tuple[NDArray[np.int64], list[Fragment]]:
    """Cut documents into (starts of pieces of exactly T tokens, pieces of at most T tokens).

    A document longer than T has to be split somewhere: the first cut is random, so every epoch sees other contexts.
    """
    phases = rng.integers(0, PHASES, size=len(lengths))
    heads = np.where(lengths > seq_len, 1 + phases % seq_len, lengths)
    whole = (lengths - heads) // seq_len
    tails = lengths - heads - whole * seq_len
    nth = np.arange(whole.sum()) - np.repeat(np.cumsum(whole) - whole, whole)
    full = np.repeat(starts + heads, whole) + nth * seq_len
    piece_starts = np.concatenate([starts, starts + lengths - tails])
    piece_lengths = np.concatenate([heads, tails])
    pieces = zip(piece_starts.tolist(), piece_lengths.tolist(), strict=True)
    return full, [(start, length) for start, length in pieces if length > 0]


def _window_rows(
    packer: _BestFit, full: NDArray[np.int64], pieces: list[Fragment], seq_len: int, rng: np.random.Generator
) -> Iterator[list[Fragment]]:
    for start, length in pieces:
        packer.put(start, length)
    if packer.unfinished:
        row = packer.fill()
        if row is None and len(full):
            packer.put(int(full[-1]), seq_len)
            full, row = full[:-1], packer.fill()
        if row is None:
            return
        yield row
    packed: list[list[Fragment]] = []
    while (row := packer.fill()) is not None:
        packed.append(row)
    beginnings = np.concatenate([full, np.asarray([row[0][0] for row in packed], np.int64)])
    for index in np.argsort(_turns(beginnings, rng)).tolist():
        yield [(int(full[index]), seq_len)] if index < len(full) else packed[index - len(full)]


def _turns(starts: NDArray[np.int64], rng: np.random.Generator) -> NDArray[np.uint64]:
    """A random number for each token of the text, whichever others are asked about: SplitMix64 of its place."""
    x = starts.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15) + rng.integers(0, 2**64, dtype=np.uint64)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


def _rows(documents: Documents, seq_len: int, seed: int) -> Iterator[list[Fragment]]:
    packer = _BestFit(seq_len)
    lengths = np.diff(documents.offsets)
    for epoch in count():
        rng = np.random.default_rng((seed, epoch))
        order = rng.permutation(len(documents))
        for first in range(0, len(order), WINDOW):
            window = order[first : first + WINDOW]
            full, pieces = _cut(documents.offsets[window], lengths[window], seq_len, rng)
            yield from _window_rows(packer, full, pieces, seq_len, rng)


def _batches(documents: Documents, rows: int, seq_len: int, seed: int) -> Iterator[Batch]:
    stream = _rows(documents, seq_len, seed)
    while True:
        batch = np.empty((rows, seq_len + 1), dtype=np.int64)
        for row in batch:
            write_row(row, documents.tokens, next(stream), documents.bos_id)
        yield np.ascontiguousarray(batch[:, :-1]), np.ascontiguousarray(batch[:, 1:])


def pack(documents: Documents, rows: int, seq_len: int, seed: int) -> Iterator[Batch]:
    """Pack documents into batches for ever; one pass over the documents is an epoch, and every epoch is shuffled anew.

    Args:
        documents: the training split.
        rows: rows in a batch.
        seq_len: T.
        seed: same seed, same batches; not negative.

    Returns:
        An endless iterator of (inputs, targets), each a fresh int64 `[rows, T]`. Every row begins with BOS, and every
        token of every document is a target exactly once an epoch.

    Raises:
        ValueError: a number is out of range, or the documents hold no token.
    """
    if rows < 1 or seq_len < 1 or seed < 0:
        raise ValueError(f"rows and seq_len must be at least 1 and seed at least 0, not {rows}, {seq_len}, {seed}")
    if not len(documents.tokens):
        raise ValueError("there is nothing to pack: the documents hold no token")
    return _batches(documents, rows, seq_len, seed)
