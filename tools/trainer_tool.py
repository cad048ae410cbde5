"""The trainer tool: program text and a seed in, a trained model behind a process boundary out, then its score."""

import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

from rails.errors import TrialError
from rails.status import Status
from rails.task import Task
from trainer.budget import Budget, BudgetKind, Caps, Usage
from trainer.hardware import Hardware, peak_flops
from trainer.prepare import PreparedData
from trainer.sandbox import Limits
from trainer.shards import EvalSet, load_eval_set
from trainer.trial_process import TrialProcess
from trainer.trial_spec import TrainOutcome, TrialSpec
from trainer.wire import Progress

if TYPE_CHECKING:
    from trainer.evaluate import Score  # loads torch, which nothing needs before the first score

__all__ = ["Progress", "TrainOutcome", "TrainedModel", "TrainerTool"]

_MEMORY_SHARE = 0.8
"""What a trial may take of the machine unless the task says otherwise."""


class TrainedModel:
    """A trained model in its own process, waiting to be scored. Closing it kills the process."""

    def __init__(self, process: TrialProcess, outcome: TrainOutcome) -> None:
        self.process = process
        self.outcome = outcome

    def close(self) -> None:
        """Kill the process and remove its scratch folder."""
        self.process.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class TrainerTool:
    """Trains and scores programs under one task on this machine.

    Args:
        task: budget, device and evaluation window.
        data: the prepared corpus; trial processes see its training part only.
        hardware: this machine.
        scratch: where trial processes get their folders.
    """

    isolation = "L1"

    def __init__(self, task: Task, data: PreparedData, hardware: Hardware, scratch: Path) -> None:
        self._task, self._data, self._hardware, self._scratch = task, data, hardware, scratch
        self._eval_set: EvalSet | None = None
        self._process: TrialProcess | None = None
        self._stopping = False
        self.last_seconds = 0.0
        """Seconds of the last process: of training when that ended well, else from its launch."""

    @property
    def memory_limit_bytes(self) -> int:
        """What one trial may use, host memory on a CPU and device memory on a GPU."""
        whole = self._hardware.device_memory_bytes or self._hardware.memory_bytes
        return self._task.trial.memory_bytes or int(_MEMORY_SHARE * whole)

    @property
    def budget(self) -> Budget:
        """The budget of one training."""
        return Budget(kind=BudgetKind(self._task.budget.kind), amount=self._task.budget.amount)

    def fraction(self, progress: Progress) -> float:
        """The share of the budget that a training has used, 0 to 1; a FLOP budget is not visible from its steps."""
        return self.budget.progress(
            Usage(seconds=progress.elapsed_s, steps=progress.step, tokens=progress.tokens, flops=0.0)
        )

    def train(self, program: str, seed: int, on_progress: Callable[[Progress], None]) -> TrainedModel:
        """Train `program` in a fresh process and leave it waiting to be scored.

        Raises:
            TrialError: it crashed, diverged, overran its budget or was interrupted.
        """
        self.last_seconds = 0.0
        if self._stopping:
            raise TrialError(Status.INTERRUPTED, "interrupted before training started")
        started = time.monotonic()
        process = TrialProcess.launch(self._spec(program, seed), on_progress)
        self._process = process
        try:
            outcome = process.train()
        except BaseException:
            self.last_seconds = time.monotonic() - started
            process.close()
            raise
        self.last_seconds = outcome.train_s
        return TrainedModel(process, outcome)

    def score(self, model: TrainedModel) -> "Score":
        """Bits per byte of a trained model on the validation split, measured from outside.

        Raises:
            TrialError: it hung, died, or answered with something that is not a distribution.
        """
        if self._eval_set is None:
            data = self._task.data
            self._eval_set = load_eval_set(self._data.private_dir, "val", data.eval_seq_len, data.eval_tokens)
        return model.process.score(self._eval_set)

    def stop(self) -> None:
        """End the running training or scoring soon. Safe to call from a signal handler."""
        self._stopping = True
        if self._process is not None:
            self._process.stop()

    def mfu(self, outcome: TrainOutcome) -> float | None:
        """Model FLOPs utilisation, or None where the device's peak is unknown."""
        peak = peak_flops(self._hardware.device_name)
        if peak is None or not outcome.flops or outcome.train_s <= 0:
            return None
        return outcome.flops / outcome.train_s / peak

    def peak_device_bytes(self, outcome: TrainOutcome) -> int | None:
        """Peak device memory as the trial process reported it, or None on a CPU."""
        value = outcome.summary.get("peak_vram_mb")
        return int(value * 2**20) if isinstance(value, float) and value > 0 else None

    def _spec(self, program: str, seed: int) -> TrialSpec:
        data, trial, budget = self._task.data, self._task.trial, self._task.budget
        return TrialSpec(
            source=program,
            data_dir=self._data.train_dir,
            scratch_root=self._scratch,
            seed=seed,
            budget=self.budget,
            caps=Caps(startup_s=budget.startup_s, overrun=budget.overrun, score_s=budget.score_s),
            device=self._hardware.device,
            threads=trial.threads or self._hardware.cores,
            vocab_size=self._data.vocab_size,
            eval_seq_len=data.eval_seq_len,
            limits=Limits(memory_bytes=trial.memory_bytes or int(_MEMORY_SHARE * self._hardware.memory_bytes)),
        )
