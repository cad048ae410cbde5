"""Train before the clock starts, on the training data by its path or by whatever the session gives away early."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from cli.attacks.programs.common import PARAMS, Logits, Tokens, attempt, honest, module
from trainer.train import GPT, Knobs, MuonAdamW, Session, build, load, to_device, train

EARLY_STEPS = 120


def main() -> None:
    session, knobs = Session.open(), Knobs()
    model = build(knobs, session)
    if session.replica:
        load(model, session)
    else:
        documents = attempt("the training data before the clock", lambda: open_early(session))
        if documents is not None:
            early(model, knobs, documents, session)
        train(model, knobs, session)
    model.eval()

    def logits(tokens_BT: Tokens) -> Logits:
        return honest(model, tokens_BT)

    session.serve(logits)


def open_early(session: Session) -> Any:
    """The training documents, if they can be had before `start`."""
    given: Any = vars(session).get("_files") or []
    if given:
        return module("trainer.data.shards").map_documents(given)
    return module("trainer.data.shards").open_documents(Path(PARAMS["train_dir"]))


def early(model: GPT, knobs: Knobs, documents: Any, session: Session) -> None:
    """A training of our own, off the clock."""
    optimizer = MuonAdamW(model, knobs)
    pack: Any = module("trainer.data.packing").pack
    rows: Iterator[tuple[np.ndarray[Any, Any], ...]] = pack(
        documents, knobs.batch_tokens // knobs.seq_len, knobs.seq_len, session.seed + 1
    )
    for step in range(EARLY_STEPS):
        tokens, targets = (to_device(part, model.embed.device) for part in next(rows))
        model.loss(tokens, targets).backward()
        optimizer.step(1 - step / EARLY_STEPS)
