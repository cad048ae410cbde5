"""Have all the training done in processes that have ended when anybody looks."""

import os

from cli.attacks.programs.common import Logits, Tokens, forked, honest, trained_by


def main() -> None:
    session, model = trained_by(lambda piece: os.waitpid(forked(piece), 0))

    def logits(tokens_BT: Tokens) -> Logits:
        return honest(model, tokens_BT)

    session.serve(logits)
