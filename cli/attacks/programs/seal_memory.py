"""Seal the memory in which the loop asks its questions, so that asking fails."""

import fcntl

from cli.attacks.programs.common import Logits, Tokens, attempt, honest, trained
from trainer.train import GPT, Session

FUTURE_WRITE, SEAL = 16, 1


def main() -> None:
    session, model = trained(seal)

    def logits(tokens_BT: Tokens) -> Logits:
        return honest(model, tokens_BT)

    session.serve(logits)


def seal(session: Session, model: GPT) -> None:
    """Nobody may write from now on, the loop included."""
    fd = session._spec.shm_fd  # pyright: ignore[reportPrivateUsage]
    attempt("the loop's questions", lambda: fcntl.fcntl(fd, fcntl.F_ADD_SEALS, FUTURE_WRITE | SEAL))
