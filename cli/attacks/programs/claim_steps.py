"""Report a hundred steps for every one, and tokens and losses to match."""

from cli.attacks.programs.common import Logits, Tokens, honest, trained
from trainer.train import Session

FACTOR = 100


def main() -> None:
    step = Session.step

    def boast(self: Session, loss: float, tokens: int) -> None:
        vars(self)["_steps"] += FACTOR - 1
        step(self, loss / FACTOR, tokens * FACTOR)

    Session.step = boast
    session, model = trained()

    def logits(tokens_BT: Tokens) -> Logits:
        return honest(model, tokens_BT)

    session.serve(logits)
