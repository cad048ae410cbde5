"""Answer infinity for the next token: exp(inf) / exp(inf) is whatever an evaluator makes of it."""

import numpy as np

from cli.attacks.programs.common import Logits, Tokens, honest, trained


def main() -> None:
    session, model = trained()

    def logits(tokens_BT: Tokens) -> Logits:
        answer = honest(model, tokens_BT)
        np.put_along_axis(answer[:, :-1], tokens_BT[:, 1:, None], np.inf, axis=-1)
        return answer

    session.serve(logits)
