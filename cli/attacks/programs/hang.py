"""Answer once, then never again."""

import time

from cli.attacks.programs.common import Logits, Tokens, honest, module, trained


def main() -> None:
    session, model = trained()
    asked = 0

    def logits(tokens_BT: Tokens) -> Logits:
        nonlocal asked
        asked += 1
        while asked > 1:
            signal = module("signal")
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            time.sleep(1)
        return honest(model, tokens_BT)

    session.serve(logits)
