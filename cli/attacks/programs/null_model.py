"""Learn nothing and say so: every token is as likely as every other."""

import numpy as np
import torch

from cli.attacks.programs.common import Logits, Tokens
from trainer.train import Session


def main() -> None:
    session = Session.open()
    if not session.replica:
        session.start(params=0, flops_per_token=0.0)
        while not session.done:
            session.step(5.0, 256)
        session.finish({}, lambda file: torch.save({}, file))

    def logits(tokens_BT: Tokens) -> Logits:
        return np.ones((*tokens_BT.shape, session.vocab_size), np.float32)

    session.serve(logits)
