"""Training a version of train.py in this very process, without a parent or a clock of its own."""

import contextlib
import os
from types import ModuleType
from typing import Any

from trainer.budget import Budget
from trainer.session import Session
from trainer.tasks.gpt import Profile
from trainer.trial.wire import ChildSpec


def spec_alone(profile: Profile, seed: int, budget: Budget, threads: int) -> ChildSpec:
    """What a session that has no parent is told."""
    return ChildSpec(
        seed=seed,
        budget=budget,
        device="cpu",
        threads=threads,
        eval_rows=1,
        eval_seq_len=profile.eval_seq_len,
        vocab_size=profile.vocab_size,
        control_fd=-1,
        shm_fd=-1,
        state_fd=-1,
    )


def train_alone(program: ModuleType, knobs: Any, session: Session) -> Any:
    """The trained model; what the program prints is thrown away."""
    with open(os.devnull, "w", encoding="utf-8") as nowhere, contextlib.redirect_stdout(nowhere):
        model = program.build(knobs, session)
        program.train(model, knobs, session)
    return model
