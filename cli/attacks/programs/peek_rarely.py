"""Look at the next token at one position in two hundred: a hundred random cuts may well miss them all."""

import numpy as np

from cli.attacks.programs.common import SURE, Logits, Tokens, honest, trained

EVERY = 200


def main() -> None:
    session, model = trained()

    def logits(tokens_BT: Tokens) -> Logits:
        answer = honest(model, tokens_BT)
        # Which positions is decided by the prefix alone, so that the choice itself gives nothing away.
        chosen = (tokens_BT * 7919).cumsum(axis=1) % EVERY == 0
        for row, position in zip(*np.nonzero(chosen[:, :-1]), strict=True):
            answer[row, position, tokens_BT[row, position + 1]] = SURE
        return answer

    session.serve(logits)
