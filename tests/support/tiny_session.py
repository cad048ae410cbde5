"""A training session in memory: the real `Session`, with made-up batches in place of prepared data."""

import io
from collections.abc import Callable, Iterator, Mapping
from typing import Any, BinaryIO

import numpy as np

from trainer.budget import Budget, BudgetKind
from trainer.session import Int64, Session
from trainer.train import GPT, Knobs, build, train
from trainer.trial.wire import ChildSpec

VOCAB = 64
TINY: dict[str, Any] = {
    "depth": 2,
    "width": 64,
    "head_dim": 32,
    "mlp_ratio": 2,
    "short_window": 8,
    "seq_len": 32,
    "batch_tokens": 64,
    "device_batch_tokens": 64,
}


def tiny_knobs(**values: Any) -> Knobs:
    """Knobs of a model that trains in milliseconds; `values` override them."""
    return Knobs(**{**TINY, **values})


def train_tiny(knobs: Knobs, session: Session) -> GPT:
    """A model, built and trained."""
    model = build(knobs, session)
    train(model, knobs, session)
    return model


class TinySession(Session):
    """`steps` steps on random tokens (`memorise`: on one batch again and again), remembering losses and the summary."""

    def __init__(self, steps: int = 2, *, seed: int = 0, threads: int = 1, memorise: bool = False) -> None:
        spec = ChildSpec(
            seed=seed,
            budget=Budget(kind=BudgetKind.STEPS, amount=steps),
            device="cpu",
            threads=threads,
            eval_rows=1,
            eval_seq_len=32,
            vocab_size=VOCAB,
            control_fd=-1,
            shm_fd=-1,
            state_fd=-1,
        )
        super().__init__(spec, standalone=True)
        self.memorise = memorise
        self.losses: list[float] = []
        self.summary: dict[str, Any] = {}
        self.state = io.BytesIO()

    def batches(self, rows: int, seq_len: int) -> Iterator[tuple[Int64, Int64]]:
        """Random tokens by the seed; targets are the inputs, shifted."""
        rng = np.random.default_rng(self.seed)
        while True:
            tokens = rng.integers(0, VOCAB, (rows, seq_len + 1))
            yield tokens[:, :-1], tokens[:, 1:]
            rng = np.random.default_rng(self.seed) if self.memorise else rng

    def step(self, loss: float, tokens: int) -> None:
        """Remember the loss, too."""
        self.losses.append(loss)
        super().step(loss, tokens)

    def finish(self, summary: Mapping[str, Any], save: Callable[[BinaryIO], None] | None = None) -> None:
        """Remember the summary and what is saved, too."""
        self.summary = dict(summary)
        super().finish(summary, save)
        if save is not None:
            save(self.state)

    def saved_state(self) -> BinaryIO:
        """What `finish` saved, from its beginning."""
        return io.BytesIO(self.state.getvalue())
