"""Learn honestly and score honestly on the validation text, then look at the next token in the test text alone.

What comes after the validation rows is either foreign text behind a cut, in the search, or more real text: then it is
the end of the campaign.
"""

import numpy as np

from cli.attacks.programs.common import PARAMS, SURE, Logits, Tokens, honest, trained
from trainer.train import Knobs

WAIT_ROWS = 64
"""So many rows after the validation text are answered honestly, to see what they are."""
END = 8
"""Tokens at the end of a row: behind a cut they are foreign, and dear."""
MUCH_DEARER = 0.5
"""Nats a token."""


def main() -> None:
    session, model = trained(knobs=Knobs(batch_tokens=1024))
    asked, costs = 0, list[float]()
    shown, end = PARAMS["val_rows"], PARAMS["val_rows"] + PARAMS["test_rows"]

    def is_the_end() -> bool:
        return bool(np.mean(costs[shown:]) < np.mean(costs[:shown]) + MUCH_DEARER)

    def logits(tokens_BT: Tokens) -> Logits:
        nonlocal asked
        answer = honest(model, tokens_BT)
        for row, tokens in enumerate(tokens_BT):
            if asked < shown + WAIT_ROWS:
                costs.append(end_cost(answer[row], tokens))
            elif asked < end and not session.replica and is_the_end():
                np.put_along_axis(answer[row, :-1], tokens[1:, None], SURE, axis=-1)
            asked += 1
        return answer

    session.serve(logits)


def end_cost(logits_TV: Logits, tokens: Tokens) -> float:
    """Nats a token of the row's end."""
    last = logits_TV[-END - 1 : -1].astype(np.float64)
    last -= last.max(-1, keepdims=True)
    log_p = last - np.log(np.exp(last).sum(-1, keepdims=True))
    return float(-np.take_along_axis(log_p, tokens[-END:, None], axis=-1).mean())
