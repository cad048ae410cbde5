"""Train, and leave the weights wherever a later trial might find them."""

import io

import torch

from cli.attacks.programs.common import Hideouts, Logits, Tokens, honest, trained
from trainer.train import GPT, Session


def main() -> None:
    session, model = trained(store)

    def logits(tokens_BT: Tokens) -> Logits:
        return honest(model, tokens_BT)

    session.serve(logits)


def store(session: Session, model: GPT) -> None:
    """The weights as a file, in every hideout."""
    file = io.BytesIO()
    torch.save(model.state_dict(), file)
    Hideouts().store(file.getvalue())
