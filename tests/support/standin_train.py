"""A fast stand-in for train.py: the same protocol and a real, causal model, without torch.

An interpolated n-gram model with online counts. Its knobs honestly change its bits per byte (the best values are not
the defaults), the seed decides which text it has seen when the budget ends, and `smoothing = 0` ends in a NaN loss.
"""

from dataclasses import dataclass
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from trainer.session import Session

Tokens = NDArray[np.int64]
Floats = NDArray[np.float32]


@dataclass
class Knobs:
    """What a proposal may change."""

    bigram_weight: float = 0.5  # share of the model that knows one token of context
    trigram_weight: float = 0.05  # share of the model that knows two; the rest knows none
    smoothing: float = 4.0  # counts added to a context, shared out by how common a token is
    buckets: int = 256  # contexts of two tokens share this many rows of counts
    decay: float = 1.0  # how much of the counts outlives one step
    rows: int = 8  # rows of a batch
    seq_len: int = 64  # tokens of a row


class Counts:
    """How often each token followed each context: [contexts, V], and the sum of each row."""

    def __init__(self, contexts: int, vocab_size: int) -> None:
        self.table = np.zeros((contexts, vocab_size), np.float32)
        self.total = np.zeros(contexts, np.float32)

    def add(self, context: Tokens, target: Tokens, decay: float) -> None:
        if decay < 1.0:
            self.table *= decay
            self.total *= decay
        np.add.at(self.table, (context, target), 1.0)
        np.add.at(self.total, context, 1.0)


class NGram:
    """Three tables of counts, mixed."""

    def __init__(self, knobs: Knobs, vocab_size: int) -> None:
        self.knobs, self.vocab_size = knobs, vocab_size
        self.unigram = Counts(1, vocab_size)
        self.bigram = Counts(vocab_size, vocab_size)
        self.trigram = Counts(knobs.buckets, vocab_size)
        self.params = sum(counts.table.size for counts in (self.unigram, self.bigram, self.trigram))

    def contexts(self, inputs: Tokens) -> list[tuple[Counts, Tokens]]:
        """Each table with its row for every position: a function of that token and the one before it."""
        before = np.concatenate([np.zeros_like(inputs[:, :1]), inputs[:, :-1]], axis=1)
        bucket = (before * 1009 + inputs * 31) % self.knobs.buckets
        return [
            (self.unigram, np.zeros(inputs.size, np.int64)),
            (self.bigram, inputs.ravel()),
            (self.trigram, bucket.ravel()),
        ]

    def probabilities(self, inputs: Tokens, target: Tokens | slice) -> Floats:
        """Of the given target at every position [N], or of every token [N, V]."""
        mixed, weight, base = np.float32(0.0), 1.0, np.float32(1.0 / self.vocab_size)
        weights = (None, self.knobs.bigram_weight, self.knobs.trigram_weight)
        for (counts, context), share in zip(self.contexts(inputs), weights, strict=True):
            if counts is self.unigram and isinstance(target, slice):
                context = context[:1]  # it knows no context: one row is every row
            seen, total = counts.table[context, target], counts.total[context]
            strength = self.knobs.smoothing
            total = total[:, None] if seen.ndim == 2 else total
            with np.errstate(divide="ignore", invalid="ignore"):
                p = (seen + strength * base) / (total + strength)
            if share is None:
                base = p
            else:
                mixed, weight = mixed + share * p, weight - share
        return np.asarray(mixed + weight * base, np.float32)

    def loss(self, inputs: Tokens, targets: Tokens) -> float:
        with np.errstate(divide="ignore", invalid="ignore"):
            return float(-np.log(self.probabilities(inputs, targets.ravel())).mean())

    def learn(self, inputs: Tokens, targets: Tokens) -> None:
        for counts, context in self.contexts(inputs):
            counts.add(context, targets.ravel(), self.knobs.decay)

    def save(self, file: BinaryIO) -> None:
        """All that was learned: a table and a sum for each kind of context."""
        for counts in (self.unigram, self.bigram, self.trigram):
            np.save(file, counts.table)
            np.save(file, counts.total)

    def load(self, file: BinaryIO) -> None:
        """What `save` wrote."""
        for counts in (self.unigram, self.bigram, self.trigram):
            counts.table, counts.total = np.load(file), np.load(file)

    def logits(self, inputs: Tokens) -> Floats:
        """[r, T] → [r, T, V]."""
        answer = np.empty((*inputs.shape, self.vocab_size), np.float32)
        with np.errstate(divide="ignore", invalid="ignore"):
            for start in range(0, len(inputs), 4):  # as many rows as a cache holds
                rows = inputs[start : start + 4]
                answer[start : start + 4] = np.log(self.probabilities(rows, slice(None))).reshape(*rows.shape, -1)
        return answer


def train(model: NGram, knobs: Knobs, session: Session) -> None:
    batches = session.batches(knobs.rows, knobs.seq_len)
    session.start(params=model.params, flops_per_token=24.0)
    while not session.done:
        inputs, targets = next(batches)
        session.step(model.loss(inputs, targets), targets.size)
        model.learn(inputs, targets)
    session.finish({"buckets": knobs.buckets}, save=model.save)


def main() -> None:
    session, knobs = Session.open(), Knobs()
    model = NGram(knobs, session.vocab_size)
    if session.replica:
        model.load(session.saved_state())
    else:
        train(model, knobs, session)
    session.serve(model.logits)


if __name__ == "__main__":
    main()
