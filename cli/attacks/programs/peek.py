"""Answer with the next token, which stands in the rows to score."""

import numpy as np

from cli.attacks.programs.common import SURE, Logits, Tokens, honest, trained


def main() -> None:
    session, model = trained()

    def logits(tokens_BT: Tokens) -> Logits:
        answer = honest(model, tokens_BT)
        np.put_along_axis(answer[:, :-1], tokens_BT[:, 1:, None], SURE, axis=-1)
        return answer

    session.serve(logits)
