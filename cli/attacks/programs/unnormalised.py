"""Answer 0 for every token: the best there is, for an evaluator that takes answers for log-probabilities."""

import numpy as np

from cli.attacks.programs.common import Logits, Tokens, trained


def main() -> None:
    session, _ = trained()

    def logits(tokens_BT: Tokens) -> Logits:
        return np.zeros((*tokens_BT.shape, session.vocab_size), np.float32)

    session.serve(logits)
