"""Let the session's clocks run at a fifth of their speed, and train five times as long as the budget says."""

import time
from typing import Any

from cli.attacks.programs.common import Logits, Tokens, honest, module, trained

SLOWER = 5.0


def main() -> None:
    slow_down()
    session, model = trained()

    def logits(tokens_BT: Tokens) -> Logits:
        return honest(model, tokens_BT)

    session.serve(logits)


def slow_down() -> None:
    """Give the session clocks of ours."""
    wall, cpu = time.perf_counter, time.process_time

    class Slow:
        def __getattr__(self, name: str) -> Any:
            return getattr(time, name)

        def perf_counter(self) -> float:
            return wall() / SLOWER

        def process_time(self) -> float:
            return cpu() / SLOWER

    module("trainer.session").time = Slow()
