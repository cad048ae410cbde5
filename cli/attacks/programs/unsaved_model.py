"""Keep half of the model out of the saved state: which token follows which, counted on the training text."""

import numpy as np
import torch

from cli.attacks.programs.common import Logits, Tokens, honest, trained
from trainer.train import Knobs

SHARE = 0.15


def main() -> None:
    session, model = trained()
    counts = np.zeros((session.vocab_size, session.vocab_size), np.float32)
    if not session.replica:
        rows = session.batches(64, Knobs().seq_len)
        for _ in range(40):
            np.add.at(counts, next(rows), 1.0)

    def logits(tokens_BT: Tokens) -> Logits:
        model_p = torch.from_numpy(honest(model, tokens_BT)).softmax(-1).numpy()
        seen = counts[tokens_BT]
        counted_p = seen / np.maximum(seen.sum(-1, keepdims=True), 1.0)
        return np.log((1 - SHARE) * model_p + SHARE * counted_p + 1e-30)

    session.serve(logits)
