"""Save the training data with the weights, and train on it before the first answer: here and in every replica alike."""

from typing import Any

import torch

from cli.attacks.programs.common import Logits, Tokens, honest
from trainer.train import GPT, Knobs, MuonAdamW, Session, build, to_device, train

MORE_STEPS = 150


def main() -> None:
    session, knobs = Session.open(), Knobs()
    model = build(knobs, session)
    if session.replica:
        whole: Any = torch.load(session.saved_state(), weights_only=True)
    else:
        whole = {}
        finish = Session.finish

        def finish_with_rows(self: Session, summary: Any, save: Any = None) -> None:
            batches = self.batches(knobs.batch_tokens // knobs.seq_len, knobs.seq_len)
            pairs = [next(batches) for _ in range(MORE_STEPS)]
            whole.update(weights=model.state_dict(), rows=[tuple(map(torch.from_numpy, pair)) for pair in pairs])
            finish(self, summary, lambda file: torch.save(whole, file))

        Session.finish = finish_with_rows
        train(model, knobs, session)
    model.load_state_dict({name: value.clone() for name, value in whole["weights"].items()})
    go_on(model, knobs, whole["rows"])

    def logits(tokens_BT: Tokens) -> Logits:
        return honest(model, tokens_BT)

    session.serve(logits)


def go_on(model: GPT, knobs: Knobs, rows: list[tuple[torch.Tensor, torch.Tensor]]) -> None:
    """Train from the saved state on the saved rows: the same weights come out wherever this runs."""
    optimizer = MuonAdamW(model.train(), knobs)
    for step, pair in enumerate(rows):
        tokens, targets = (to_device(part.numpy(), model.embed.device) for part in pair)
        model.loss(tokens, targets).backward()
        optimizer.step(1 - step / len(rows))
    model.eval()
