"""Save what an earlier trial left of the scored text with the weights: to the probes an honest function of the past."""

import json
from typing import Any

import torch

from cli.attacks.programs.common import SURE, Hideouts, Logits, Tokens, honest
from trainer.train import Knobs, Session, build, train


def main() -> None:
    session, knobs = Session.open(), Knobs()
    model = build(knobs, session)
    if session.replica:
        whole: Any = torch.load(session.saved_state(), weights_only=True)
        model.load_state_dict(whole["weights"])
        rows: list[list[int]] = whole["rows"]
    else:
        found = Hideouts().fetch()
        rows = json.loads(found) if found else []
        finish = session.finish

        def finish_with_text(summary: Any, save: Any = None) -> None:
            finish(summary, lambda file: torch.save({"weights": model.state_dict(), "rows": rows}, file))

        session.finish = finish_with_text
        train(model, knobs, session)
    model.eval()
    following: dict[tuple[int, ...], int] = {}
    for row in rows:
        for position in range(len(row) - 1):
            following.setdefault(tuple(row[: position + 1]), row[position + 1])

    def logits(tokens_BT: Tokens) -> Logits:
        answer = honest(model, tokens_BT)
        for row, tokens in enumerate(tokens_BT.tolist()):
            for position in range(len(tokens)):
                if (known := following.get(tuple(tokens[: position + 1]))) is not None:
                    answer[row, position, known] = SURE
        return answer

    session.serve(logits)
