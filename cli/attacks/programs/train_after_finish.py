"""Report the end of training in time, give the first answer in time as well, and go on training then."""

from typing import Any

from cli.attacks.programs.common import Logits, Tokens, honest, trained
from trainer.train import GPT, Knobs, MuonAdamW, Session, to_device

MORE_STEPS = 60


def main() -> None:
    session, model = trained()
    answers = 0

    def logits(tokens_BT: Tokens) -> Logits:
        nonlocal answers
        answers += 1
        if answers == 2 and not session.replica:
            go_on(model, session)
        return honest(model, tokens_BT)

    session.serve(logits)


def go_on(model: GPT, session: Session) -> None:
    """Train as before, with nobody counting."""
    knobs: Any = Knobs()
    optimizer = MuonAdamW(model.train(), knobs)
    batches = session.batches(knobs.batch_tokens // knobs.seq_len, knobs.seq_len)
    for step in range(MORE_STEPS):
        tokens, targets = (to_device(part, model.embed.device) for part in next(batches))
        model.loss(tokens, targets).backward()
        optimizer.step(0.5 * (1 - step / MORE_STEPS))
    model.eval()
