"""Have all the training done in grandchildren whose parents are gone: in nobody's children."""

import os
from collections.abc import Callable

from cli.attacks.programs.common import Logits, Tokens, forked, honest, trained_by, when_done


def main() -> None:
    session, model = trained_by(lambda piece: when_done(orphan, piece))

    def logits(tokens_BT: Tokens) -> Logits:
        return honest(model, tokens_BT)

    session.serve(logits)


def orphan(deed: Callable[[], object]) -> None:
    """Fork twice."""
    os.waitpid(forked(lambda: forked(deed)), 0)
