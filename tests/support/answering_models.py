"""Models in memory that answer like a trial process, honest ones and cheats, and text to score them on."""

from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from trainer.data.shards import EvalSet
from trainer.scoring.blind import Costs, HeldBack, reserve
from trainer.scoring.cuts import Places
from trainer.scoring.effects import Logits
from trainer.scoring.evaluate import Tally
from trainer.scoring.probes import Depth, Probing, Sitting
from trainer.scoring.report import ProbeReport
from trainer.scoring.witness import Witness

VOCAB, LENGTH, BOS = 17, 24, 16
BATCH = 8

Tokens = NDArray[np.int32]


def made_up_text(rows: int = 40, seed: int = 5) -> EvalSet:
    """Rows of random tokens that begin with BOS, which is also found in the middle and stands for no byte."""
    table = np.random.default_rng(seed).integers(0, VOCAB, (rows, LENGTH + 1)).astype(np.int32)
    table[:, 0] = BOS
    token_bytes = 1 + np.arange(VOCAB, dtype=np.int32) % 3
    token_bytes[BOS] = 0
    return EvalSet(table, token_bytes)


@dataclass
class Honest:
    """Logits that follow from a token and the one before it, the same in every process."""

    seed: int = 0
    asked: list[Tokens] = field(default_factory=list[Tokens])

    def __post_init__(self) -> None:
        self.table = np.random.default_rng(self.seed).normal(size=(VOCAB * VOCAB, VOCAB)).astype(np.float32)

    def ask(self, tokens: Tokens) -> Logits:
        self.asked.append(tokens.copy())
        return self.answer(tokens)

    def answer(self, tokens: Tokens) -> Logits:
        before = np.concatenate([np.zeros_like(tokens[:, :1]), tokens[:, :-1]], axis=1)
        return self.table[tokens * VOCAB + before]


class Rounding(Honest):
    """Adds a rounding error that depends on the batch, as a GPU does."""

    def answer(self, tokens: Tokens) -> Logits:
        logits = super().answer(tokens)
        rng = np.random.default_rng(int(tokens.sum()))
        return logits + rng.normal(scale=1e-3, size=logits.shape).astype(np.float32)


@dataclass
class Peeking(Honest):
    """Knows the next token at a share of all places, and leans to it by `lean`."""

    share: float = 1.0
    lean: float = 20.0

    def peeks(self, tokens: Tokens) -> NDArray[np.bool_]:
        """[r, T - 1]: where it looks ahead, which the past alone decides."""
        weights = 100 * np.random.default_rng(9).random(tokens.shape[1])
        return (np.cumsum(tokens * weights, axis=1) % 1.0)[:, :-1] < self.share

    def answer(self, tokens: Tokens) -> Logits:
        logits, chosen = super().answer(tokens), self.peeks(tokens)
        rows, positions = np.nonzero(chosen)
        logits[rows, positions, tokens[:, 1:][chosen]] += self.lean
        return logits


class PeekingAtHardTokens(Honest):
    """Looks ahead only where the next token would cost a lot."""

    def answer(self, tokens: Tokens) -> Logits:
        logits = super().answer(tokens)
        following = tokens[:, 1:]
        hard = np.take_along_axis(logits[:, :-1], following[..., None], axis=2)[..., 0] < np.quantile(logits, 0.1)
        rows, positions = np.nonzero(hard)
        logits[rows, positions, following[hard]] += 20.0
        return logits


class Memorising(Peeking):
    """Looks ahead, and repeats what it once answered after the same tokens."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.memory = dict[bytes, NDArray[np.float32]]()

    def answer(self, tokens: Tokens) -> Logits:
        logits = super().answer(tokens)
        for row, row_TV in zip(tokens, logits, strict=True):
            for t in range(len(row)):
                row_TV[t] = self.memory.setdefault(row[: t + 1].tobytes(), row_TV[t].copy())
        return logits


class Learning(Honest):
    """Counts the text it is asked about."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.counts = np.ones(VOCAB, np.float32)

    def answer(self, tokens: Tokens) -> Logits:
        logits = super().answer(tokens) + np.log(self.counts / self.counts.sum())
        self.counts += np.bincount(tokens.ravel(), minlength=VOCAB).astype(np.float32)
        return logits


class BatchStatistics(Honest):
    """Leans to the tokens that are frequent in the batch."""

    def answer(self, tokens: Tokens) -> Logits:
        counts = np.bincount(tokens.ravel(), minlength=VOCAB) + 1.0
        return super().answer(tokens) + np.log(counts / counts.sum()).astype(np.float32)


class Noisy(Honest):
    """Never answers twice the same."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.rng = np.random.default_rng()

    def answer(self, tokens: Tokens) -> Logits:
        logits = super().answer(tokens)
        return logits + self.rng.normal(scale=0.5, size=logits.shape).astype(np.float32)


def score(model: Honest, eval_set: EvalSet, *, blind: bool = True) -> Witness:
    """Ask for everything once, as scoring does."""
    text = reserve(eval_set, b"secret") if blind else whole(eval_set)
    witness, tally = Witness(text, BATCH, VOCAB), Tally(eval_set.token_bytes, text.sample)
    for first in range(0, len(text.shown.rows), BATCH):
        rows = text.shown.rows[first : first + BATCH]
        logits = model.ask(rows[:, :-1])
        tally.add(logits, rows[:, 1:])
        witness.keep(first, logits)
    witness.costs = replace(witness.costs, shown=tally.score(0.0, 0.0).costs)
    return witness


def whole(eval_set: EvalSet) -> HeldBack:
    """A text of which nothing is blind."""
    none = np.zeros(0, np.int64)
    rows = EvalSet(eval_set.rows[:0], eval_set.token_bytes)
    return HeldBack(eval_set, rows, Places(none, none), np.zeros(0, bool), np.arange(len(eval_set.rows)))


def probe(
    make: Callable[[], Honest],
    *,
    cuts: int = 128,
    tolerance_nats: float = 1e-3,
    eval_set: EvalSet | None = None,
    make_replica: Callable[[], Honest] | None = None,
    whole_blind: bool = False,
    references: tuple[Costs, ...] = (),
) -> ProbeReport:
    """Score one model and probe it with another one as its replica."""
    scored = make()
    witness = score(scored, eval_set or made_up_text())

    @contextmanager
    def replica() -> Generator[Honest]:
        yield (make_replica or make)()

    sitting = Sitting("val", witness, Depth(cuts=cuts, whole_blind=whole_blind, references=references))
    probing = Probing([sitting], tolerance_nats=tolerance_nats, limit_s=60.0)
    return probing.run(scored, lambda: None, replica)[0]
