"""Add a little noise to each answer: asked often enough, luck would have its day."""

import numpy as np

from cli.attacks.programs.common import Logits, Tokens, honest, trained


def main() -> None:
    session, model = trained()
    rng = np.random.default_rng()

    def logits(tokens_BT: Tokens) -> Logits:
        answer = honest(model, tokens_BT)
        return answer + rng.normal(0.0, 0.3, answer.shape).astype(np.float32)

    session.serve(logits)
