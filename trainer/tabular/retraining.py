"""Trains and scores one cell of a table as it was recorded: from its configuration and seed alone, to the last digit.

Trainings run in this process, one after the other: importing torch for each would take longer than the training. What
a cell comes to does not depend on what was trained before it.
"""

import contextlib
import importlib.util
import math
import os
import platform
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch

from rails.errors import TrialError, UserError
from rails.menu import KnobValue
from rails.status import Status
from trainer.budget import Budget, BudgetKind
from trainer.data.cache import default_cache
from trainer.data.prepare import DataSpec, PreparedData, prepare
from trainer.data.progress import ProgressCallback
from trainer.data.shards import EvalSet, load_eval_set
from trainer.hardware import describe
from trainer.scoring.evaluate import Tally
from trainer.session import REPORT_MARKS, Session
from trainer.tabular.recipe import Machine, Recipe
from trainer.tabular.recorded import Cell, CurvePoint
from trainer.trial.wire import ChildSpec

THREADS = 1
"""Of every training: sums over several threads need not come out the same."""
SCORED_ROWS = 32
"""Rows that a model is asked about at once."""


class CurveSession(Session):
    """A stand-alone session that keeps the curve: a point at each mark of the budget, in CPU seconds from the start."""

    def __init__(self, spec: ChildSpec, data_dir: Path) -> None:
        super().__init__(spec, standalone=True, data_dir=data_dir)
        self.points = list[CurvePoint]()
        self._since_mark = list[float]()
        self._marks_passed, self._began_cpu_s = 0, 0.0

    def start(self, *, params: int, flops_per_token: float) -> None:
        """As the session's."""
        super().start(params=params, flops_per_token=flops_per_token)
        self._began_cpu_s = time.process_time()

    def step(self, loss: float, tokens: int) -> None:
        """As the session's, kept."""
        super().step(loss, tokens)
        self._since_mark.append(float(loss))
        mark = int(REPORT_MARKS * self.progress + 1e-9)
        if mark > self._marks_passed:
            self._marks_passed = mark
            mean = math.fsum(self._since_mark) / len(self._since_mark)
            self.points.append(CurvePoint(self._steps, mean, time.process_time() - self._began_cpu_s))
            self._since_mark.clear()


class Retrainer:
    """Trains cells of one recipe.

    Args:
        recipe: of the table.
        data: the prepared text.
    """

    def __init__(self, recipe: Recipe, data: PreparedData) -> None:
        self._recipe, self._data = recipe, data
        self._program: Any = program_module(recipe.program)
        precision = torch.bfloat16 if recipe.machine.precision == "bfloat16" else torch.float32
        self._program.fast_dtype = lambda device: precision  # that of the recording, whatever this machine would take
        self._text = load_eval_set(data.private_dir, "val", recipe.eval_seq_len, recipe.eval_tokens)

    def cell(self, configuration: Mapping[str, KnobValue | bool], seed: int) -> Cell:
        """Train a configuration and score it; what goes wrong with the training is recorded, not raised."""
        knobs = self._program.Knobs(**{**self._recipe.knobs, **configuration})
        session = CurveSession(self._spec(seed), self._data.train_dir)
        began_cpu_s = time.process_time()
        score, status, reason = None, None, None
        try:
            score = scored(_trained(self._program, knobs, session), self._text)
        except SystemExit as end:  # how a session ends a training that diverges
            status, reason = Status.CRASH, str(end).removeprefix("failed: ")
        except TrialError as error:
            status, reason = error.status, str(error)
        seconds = time.process_time() - began_cpu_s
        return Cell(score=score, seconds=seconds, status=status, reason=reason, curve=tuple(session.points))

    def _spec(self, seed: int) -> ChildSpec:
        return ChildSpec(
            seed=seed,
            budget=Budget(kind=BudgetKind.STEPS, amount=self._recipe.steps),
            device="cpu",
            threads=THREADS,
            eval_rows=1,
            eval_seq_len=self._recipe.eval_seq_len,
            vocab_size=self._recipe.vocab_size,
            control_fd=-1,
            shm_fd=-1,
            state_fd=-1,
        )


def _trained(program: ModuleType, knobs: Any, session: Session) -> Any:
    """The trained model; what the program prints is thrown away."""
    with open(os.devnull, "w", encoding="utf-8") as nowhere, contextlib.redirect_stdout(nowhere):
        model = program.build(knobs, session)
        program.train(model, knobs, session)
    return model.eval()


def scored(model: Any, text: EvalSet) -> float:
    """Bits per byte, by the evaluator of real trials.

    Raises:
        TrialError: what the model answers is no distribution.
    """
    tally = Tally(text.token_bytes)
    for start in range(0, len(text.rows), SCORED_ROWS):
        rows = text.rows[start : start + SCORED_ROWS]
        tally.add(model.logits(torch.from_numpy(rows[:, :-1].astype(np.int64))).numpy(), rows[:, 1:])
    return tally.score(0.0, 0.0).val_bpb


def program_module(source: str) -> ModuleType:
    """The text of a program as a module of its own."""
    name = "recorded_program"
    module = ModuleType(name)
    sys.modules[name] = module  # dataclasses look their module up
    exec(compile(source, f"<{name}>", "exec"), module.__dict__)
    return module


def prepare_text(package: str, vocab_size: int, progress: ProgressCallback | None = None) -> PreparedData:
    """The prepared text of an installed package.

    Its splits follow from the text alone, not from what else stands on the machine: nobody cheats in a recording. So
    it has a cache of its own.

    Raises:
        UserError: the package is not installed, or its text cannot be prepared.
    """
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise UserError(f"there is no installed package {package}", where="recipe", fix=f"pip install {package}")
    folder = next(iter(spec.submodule_search_locations))
    data = DataSpec(corpus=folder, vocab_size=vocab_size)
    return prepare(data, default_cache() / "tables", progress)


def this_machine() -> Machine:
    """The machine that runs this, as far as scores depend on it."""
    from trainer.train import fast_dtype

    hardware = describe("cpu")
    return Machine(
        cpu_model=hardware.cpu_model,
        architecture=platform.machine(),
        instructions=torch.backends.cpu.get_cpu_capability(),
        torch_version=torch.__version__,
        precision="bfloat16" if fast_dtype(torch.device("cpu")) == torch.bfloat16 else "float32",
    )
