"""Start from the weights that an earlier trial left, instead of from nothing."""

import io

import torch

from cli.attacks.programs.common import Hideouts, Logits, Tokens, honest
from trainer.train import Knobs, Session, build, load, train


def main() -> None:
    session, knobs = Session.open(), Knobs()
    model = build(knobs, session)
    if session.replica:
        load(model, session)
    else:
        found = Hideouts().fetch()
        if found is not None:
            model.load_state_dict(torch.load(io.BytesIO(found), weights_only=True))
        train(model, knobs, session)
    model.eval()

    def logits(tokens_BT: Tokens) -> Logits:
        return honest(model, tokens_BT)

    session.serve(logits)
