"""Leave folders in folders, so deep that whoever removes them by recursion gives up."""

import os

from cli.attacks.programs.common import Logits, Tokens, honest, trained
from trainer.train import GPT, Session

DEPTH = 3000


def main() -> None:
    session, model = trained(dig)

    def logits(tokens_BT: Tokens) -> Logits:
        return honest(model, tokens_BT)

    session.serve(logits)


def dig(session: Session, model: GPT) -> None:
    """Go down, and come back: the model is still to be saved and scored."""
    here = os.getcwd()
    for _ in range(DEPTH):
        os.mkdir("deeper")
        os.chdir("deeper")
    os.chdir(here)
