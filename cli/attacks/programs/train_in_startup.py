"""Train before the clock starts, on what may be read without any data: the sources of the standard library.

In a process that is gone when the clock starts.
"""

import os
import sys
import sysconfig
import time
from pathlib import Path
from typing import Any

import numpy as np

from cli.attacks.programs.common import Logits, Tokens, forked, honest, ids_of_bytes, share
from trainer.train import GPT, Knobs, MuonAdamW, Session, build, load, to_device, train

EARLY_S = 3.0
"""Less than what any program may take longer to start than the baseline, and three budgets of the arena."""


def main() -> None:
    session, knobs = Session.open(), Knobs()
    model = build(knobs, session)
    if session.replica:
        load(model, session)
    else:
        share(model)
        os.waitpid(forked(lambda: early(model, knobs, session.seed)), 0)
        train(model, knobs, session)
    model.eval()

    def logits(tokens_BT: Tokens) -> Logits:
        return honest(model, tokens_BT)

    session.serve(logits)


def early(model: GPT, knobs: Knobs, seed: int) -> None:
    """A training of our own, off the clock."""
    until, optimizer = time.monotonic() + EARLY_S, MuonAdamW(model, knobs)
    text, rng = library_text(), np.random.default_rng(seed)
    rows, steps = knobs.batch_tokens // knobs.seq_len, 0
    while time.monotonic() < until:
        starts = rng.integers(0, len(text) - knobs.seq_len - 1, rows)
        batch: Any = np.stack([text[start : start + knobs.seq_len + 1] for start in starts])
        tokens, targets = (to_device(part, model.embed.device) for part in (batch[:, :-1], batch[:, 1:]))
        model.loss(tokens, targets).backward()
        optimizer.step(1.0)
        steps += 1
    print(f"attack: {steps} steps before the clock", flush=True)


def library_text() -> np.ndarray[Any, np.dtype[np.int64]]:
    """What can be read of the library's own modules, one after the other."""
    library = Path(sysconfig.get_paths()["stdlib"])
    found: list[bytes] = []
    for name in sorted(os.listdir(library)):
        if name.removesuffix(".py") in sys.stdlib_module_names and name.endswith(".py"):
            try:
                found.append((library / name).read_bytes())
            except OSError:
                continue  # held back
    return ids_of_bytes()[np.frombuffer(b"\n".join(found), np.uint8)]
