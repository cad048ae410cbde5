"""Start, and never finish; every signal that can be ignored is."""

import time

from cli.attacks.programs.common import module
from trainer.train import Session


def main() -> None:
    session = Session.open()
    session.start(params=1, flops_per_token=1.0)
    signal = module("signal")
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    while True:
        time.sleep(1)
    session.serve(lambda tokens_BT: tokens_BT)  # never: the rails want to see it
