"""Prepared data in milliseconds (a language of 64 tokens, each following from the last two), and trials on it."""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np

from trainer.budget import Budget, BudgetKind
from trainer.data.shards import EvalSet, SplitWriter, write_meta
from trainer.sandbox.permissions import Limits
from trainer.trial.spec import TrialSpec

STANDIN = Path(__file__).with_name("standin_train.py")

VOCAB_SIZE, BOS_ID, SEQ_LEN = 64, 63, 32


def document(rng: np.random.Generator, length: int) -> list[int]:
    """Tokens 0..62, each following from the two before it, with noise."""
    tokens = [0, 0]
    for noise in rng.integers(0, 10, length):
        tokens.append(int((tokens[-1] * 5 + tokens[-2] * 3 + min(noise, 4)) % (VOCAB_SIZE - 1)))
    return tokens[2:]


def write_train_dir(folder: Path, documents: int = 30) -> Path:
    """A folder as `prepare` makes it, for `Session.batches`."""
    folder.mkdir(parents=True)
    rng = np.random.default_rng(1)
    with SplitWriter(folder, "train", VOCAB_SIZE) as writer:
        for _ in range(documents):
            writer.add(document(rng, 500))
        writer.close()
    write_meta(folder, {"vocab_size": VOCAB_SIZE, "bos_id": BOS_ID})
    return folder


def eval_set(rows: int = 70) -> EvalSet:
    """Held-back text of the same language; tokens stand for one to three bytes, BOS for none; some targets are BOS."""
    rng = np.random.default_rng(2)
    texts = [[BOS_ID, *document(rng, SEQ_LEN)] for _ in range(rows)]
    table = np.asarray(texts, np.int32)
    table[-1, SEQ_LEN // 2 :] = BOS_ID
    token_bytes = 1 + np.arange(VOCAB_SIZE, dtype=np.int32) % 3
    token_bytes[BOS_ID] = 0
    return EvalSet(table, token_bytes)


def trial_spec(folder: Path, source: str | None = None, **changes: Any) -> TrialSpec:
    """A trial of `source`, by default of the stand-in for 20 steps, with everything it needs under `folder`."""
    data_dir = folder / "data"
    if not data_dir.exists():
        write_train_dir(data_dir)
    spec = TrialSpec(
        source=STANDIN.read_text() if source is None else source,
        data_dir=data_dir,
        scratch_root=folder / "scratch",
        seed=1,
        budget=Budget(kind=BudgetKind.STEPS, amount=20),
        vocab_size=VOCAB_SIZE,
        eval_seq_len=SEQ_LEN,
        limits=Limits(memory_bytes=2**30),
    )
    return dataclasses.replace(spec, **changes)
