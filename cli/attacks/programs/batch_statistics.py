"""Mix in which token followed which in the other rows of the same request."""

import numpy as np
import torch

from cli.attacks.programs.common import Logits, Tokens, honest, trained

SHARE = 0.15


def main() -> None:
    session, model = trained()

    def logits(tokens_BT: Tokens) -> Logits:
        model_p = torch.from_numpy(honest(model, tokens_BT)).softmax(-1).numpy()
        counts = np.zeros((session.vocab_size, session.vocab_size), np.float32)
        np.add.at(counts, (tokens_BT[:, :-1], tokens_BT[:, 1:]), 1.0)
        answer = np.empty_like(model_p)
        for row, tokens in enumerate(tokens_BT):
            others = counts.copy()
            np.subtract.at(others, (tokens[:-1], tokens[1:]), 1.0)
            seen = others[tokens]
            total = seen.sum(-1, keepdims=True)
            share = SHARE * total / (total + 1)
            answer[row] = np.log((1 - share) * model_p[row] + share * seen / np.maximum(total, 1) + 1e-30)
        return answer

    session.serve(logits)
