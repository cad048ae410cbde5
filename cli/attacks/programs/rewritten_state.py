"""Keep the saved state mapped, to change it after it was handed over."""

import mmap
from typing import Any, BinaryIO

from cli.attacks.programs.common import Logits, Tokens, attempt, honest, trained
from trainer.train import Session

KEPT: list[Any] = []


def main() -> None:
    finish = Session.finish

    def keep_a_hand_in(self: Session, summary: Any, save: Any = None) -> None:
        def save_and_map(file: BinaryIO) -> None:
            save(file)
            file.flush()
            KEPT.append(mmap.mmap(file.fileno(), 0))

        finish(self, summary, save_and_map)

    Session.finish = keep_a_hand_in
    session, model = trained()

    def logits(tokens_BT: Tokens) -> Logits:
        if KEPT:
            attempt("the saved state", lambda: KEPT[0].write(b"another state"))
        return honest(model, tokens_BT)

    session.serve(logits)
