"""Leave more empty files than anybody wants to remove."""

import os

from cli.attacks.programs.common import Logits, Tokens, honest, trained
from trainer.train import GPT, Session

COUNT = 300_000


def main() -> None:
    session, model = trained(litter)

    def logits(tokens_BT: Tokens) -> Logits:
        return honest(model, tokens_BT)

    session.serve(logits)


def litter(session: Session, model: GPT) -> None:
    """Empty files cost no space, and still have to be removed one by one."""
    os.mkdir("litter")
    os.chdir("litter")
    for number in range(COUNT):
        os.close(os.open(f"{number:x}", os.O_WRONLY | os.O_CREAT, 0o600))
    os.chdir("..")
