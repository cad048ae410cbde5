"""Look at the next token only where the honest answer would cost more than three bits."""

import numpy as np
import torch

from cli.attacks.programs.common import SURE, Logits, Tokens, honest, trained


def main() -> None:
    session, model = trained()

    def logits(tokens_BT: Tokens) -> Logits:
        answer = honest(model, tokens_BT)
        likely = torch.from_numpy(answer).softmax(-1).numpy()[:, :-1]
        following = tokens_BT[:, 1:, None]
        hard = np.take_along_axis(likely, following, axis=-1) < 1 / 8
        logit = np.where(hard, SURE, np.take_along_axis(answer[:, :-1], following, axis=-1))
        np.put_along_axis(answer[:, :-1], following, logit, axis=-1)
        return answer

    session.serve(logits)
