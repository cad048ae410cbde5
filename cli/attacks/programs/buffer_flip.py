"""Know nothing, and change the shared answer while it is being counted: low for the sum, high for the token."""

import mmap
import threading
from typing import Any

import numpy as np
import torch

from cli.attacks.programs.common import Logits, Tokens
from trainer.train import Knobs, Session, build, load


def main() -> None:
    session, knobs = Session.open(), Knobs()
    model = build(knobs, session)
    if session.replica:
        load(model, session)
    else:
        session.start(params=1, flops_per_token=1.0)
        while not session.done:
            session.step(5.0, knobs.batch_tokens)
        session.finish({}, lambda file: torch.save(model.state_dict(), file))
    threading.Thread(target=flip, args=(session,), daemon=True).start()

    def logits(tokens_BT: Tokens) -> Logits:
        return np.zeros((*tokens_BT.shape, session.vocab_size), np.float32)

    session.serve(logits)


def flip(session: Any) -> None:
    """Write to the memory that the loop reads, for ever."""
    spec = session._spec
    layout = spec.layout
    memory = mmap.mmap(spec.shm_fd, layout.total_bytes)
    shared = np.frombuffer(memory, np.float32, (layout.total_bytes - layout.logits_offset) // 4, layout.logits_offset)
    while True:
        shared[:] = -SWING
        shared[:] = SWING


SWING = 20.0
