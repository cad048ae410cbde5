"""The backend of GPT tasks: a program and a seed in, a trained model behind a process boundary out, then its score."""

import hashlib
import math
import time
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Literal, Self

from rails.clocks import counts_time
from rails.errors import TrialError
from rails.status import Status
from rails.task import GptTask
from tools.backend import Score
from tools.beside import TrainingsBeside, room_beside
from trainer.budget import Budget, BudgetKind, Caps, Pace, Usage, caps_for, wall_cap_s
from trainer.data.prepare import PreparedData
from trainer.data.shards import load_eval_set, read_meta
from trainer.hardware import Hardware, peak_flops
from trainer.launch.launcher import Launcher
from trainer.sandbox.levels import Isolation, best_isolation
from trainer.sandbox.permissions import Limits
from trainer.scoring.blind import HeldBack, reserve
from trainer.scoring.probes import Depth, Probing, Sitting
from trainer.scoring.report import ProbeReport
from trainer.scoring.witness import Witness
from trainer.trial.process import TrialProcess
from trainer.trial.spec import TrainOutcome, TrialSpec
from trainer.trial.tryout import try_out, tryout_spec
from trainer.trial.wire import Progress

if TYPE_CHECKING:
    from trainer.scoring import evaluate  # loads torch, which nothing needs before the first score

__all__ = ["GptBackend", "Progress", "TrainOutcome", "TrainedModel"]

_MEMORY_SHARE = 0.8
"""What the trials that run at once may take of the machine unless the task says otherwise."""


class TrainedModel:
    """A trained model in its own process, waiting to be scored. Closing it kills the process."""

    def __init__(self, process: TrialProcess, outcome: TrainOutcome, closed: Callable[[TrialProcess], None]) -> None:
        self.process, self._closed = process, closed
        self.outcome = outcome
        self.witnesses = dict[str, Witness]()
        """What it answered about each text, `val` and `test`, that it was scored on."""

    @property
    def startup_s(self) -> float:
        """Process start, imports, building the model."""
        return self.outcome.startup_s

    @property
    def train_s(self) -> float:
        """By the parent's monotonic clock."""
        return self.outcome.train_s

    @property
    def curve(self) -> tuple[Progress, ...]:
        """As the process reported it."""
        return self.outcome.curve

    def close(self) -> None:
        """Kill the process and remove its scratch folder."""
        self.process.close()
        self._closed(self.process)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class GptBackend:
    """Trains and scores programs under one task on this machine; see `tools.backend.Backend`.

    Args:
        task: budget, device and evaluation window.
        data: the prepared corpus; trial processes see its training part only.
        hardware: this machine.
        scratch: where trial processes get their folders.
        isolation: how they are kept apart; the best that this machine can do unless said otherwise.
        pace: says how fast the baseline started and answered, once that is known: what limits all others.
    """

    deterministic = False
    reports_progress = True
    probes = True
    outside = None

    def __init__(
        self,
        task: GptTask,
        data: PreparedData,
        hardware: Hardware,
        scratch: Path,
        isolation: Isolation | None = None,
        pace: Callable[[], Pace | None] = lambda: None,
    ) -> None:
        self._task, self._data, self._hardware, self._scratch = task, data, hardware, scratch
        self.isolation = isolation or best_isolation()
        self._pace = pace
        self.tries_out = True
        """Whether `try_out` does anything: whoever shows how far cheats get wants their trainings, not first steps."""
        self._launcher: Launcher | None = None
        self._texts = dict[str, HeldBack]()
        self._processes = dict[TrialProcess, bool]()
        """Those that train, are scored or wait for it; and whether they train."""
        room = room_beside(task, hardware)
        self.beside = TrainingsBeside(room, lambda *of: self._launch(self._spec(*of)), self._note_end) if room else None
        """Trainings that are begun before they are asked for; None where there is one at a time."""
        self._stop_at = math.inf
        """When everything is over, by the monotonic clock; before it only what was trained may still be scored."""

    @property
    def wall_clock(self) -> bool:
        """Whether the budget counts seconds."""
        return counts_time(self._task.budget.kind)

    def clock_s(self) -> float:
        """The monotonic clock's."""
        return time.monotonic()

    def seeds(self, program: str) -> None:
        """As many as anybody wants."""

    def true_score(self, program: str) -> None:
        """Nobody knows."""

    @property
    def memory_limit_bytes(self) -> int:
        """What one trial may use, host memory on a CPU and device memory on a GPU."""
        whole = self._hardware.device_memory_bytes or self._hardware.memory_bytes
        return self._task.trial.memory_bytes or self._share_of(whole)

    def _share_of(self, memory_bytes: int) -> int:
        """One trial's, of what all that run at once may take."""
        return int(_MEMORY_SHARE * memory_bytes) // (1 + (self.beside.room if self.beside else 0))

    @property
    def _threads(self) -> int:
        return self._task.trial.threads or self._hardware.cores

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
        process = self._launch(self._spec(program, seed), on_progress)
        try:
            outcome = process.train()
            self._note_end(process, trained=True)
            if self.beside is not None:
                self.beside.wait(process)
        except BaseException:
            process.close()
            self._forget(process)
            raise
        return TrainedModel(process, outcome, self._forget)

    def take_trained(self, program: str, seed: int) -> TrainedModel | None:
        """The model of a training that was begun beside another; None: there is none of this program and seed.

        Raises:
            TrialError: as for `train`.
        """
        taken = None if self.beside is None else self.beside.take(program, seed)
        return None if taken is None else TrainedModel(*taken, self._forget)

    def _note_end(self, process: TrialProcess, trained: bool) -> None:
        """Of a training: its process waits now to be scored, or is gone."""
        self._processes[process] = False
        if not trained:
            self._forget(process)

    def try_out(self, program: str, seed: int) -> None:
        """Have `program` make one step and answer once, in a fresh process like that of a training: seconds.

        Raises:
            TrialError: it did not come so far (`preflight_crash`), or was interrupted.
        """
        if not self.tries_out:
            return
        spec = tryout_spec(self._spec(program, seed))
        process = self._launch(spec)
        try:
            try_out(process, spec)
        finally:
            process.close()
            self._forget(process)

    def _launch(self, spec: TrialSpec, on_progress: Callable[[Progress], None] | None = None) -> TrialProcess:
        """Start a process that trains; whoever asked for it closes it and forgets it."""
        if self._stop_at < math.inf:
            raise TrialError(Status.INTERRUPTED, "interrupted before training started")
        process = TrialProcess.launch(spec, self.warm_up(spec.source), on_progress)
        self._processes[process] = True
        if self._stop_at < math.inf:  # a signal came while it was started
            process.stop()
        return process

    def warm_up(self, program: str) -> Launcher:
        """Have the process that trials are started from; the first time it loads what `program` imports.

        Programs of one campaign differ little: what this one imports is what the others do.
        """
        if self._launcher is None:
            self._launcher = Launcher.for_program(program, threads=self._threads, hidden=self._data.hidden)
        return self._launcher

    def _forget(self, process: TrialProcess) -> None:
        self._processes.pop(process, None)

    def score(self, model: TrainedModel) -> Score:
        """Bits per byte of a trained model on the validation split, measured from outside, blind rows left out.

        Raises:
            TrialError: it hung, died, or answered with something that is not a distribution.
        """
        score, outcome = self._score_on(model, "val"), model.outcome
        return Score(
            value=score.val_bpb,
            parts={
                "total_nats": score.total_nats,
                "total_bytes": score.total_bytes,
                "scored_tokens": score.scored_tokens,
                "startup_s": outcome.startup_s,
                "startup_cpu_s": outcome.startup_cpu_s,
                "cpu_s": outcome.cpu_s,
                "score_s": score.score_s,
                "answer_s": score.answer_s,
                "answer_cpu_s": model.process.answer_cpu_s,
                "steps": outcome.steps,
                "tokens": outcome.tokens,
                "params": outcome.params,
                "flops": outcome.flops,
                "mfu": self._mfu(outcome),
                "peak_rss_bytes": outcome.peak_rss_bytes,
                "peak_device_bytes": _peak_device_bytes(outcome),
                "summary": dict(outcome.summary),
                "log_tail": outcome.log_tail,
            },
        )

    def score_test(self, model: TrainedModel) -> float:
        """Bits per byte on the held-back test split: for the end of a campaign. Before `probe`, which ends the process.

        Raises:
            TrialError: as for `score`.
        """
        return self._score_on(model, "test").val_bpb

    def _score_on(self, model: TrainedModel, name: Literal["val", "test"]) -> "evaluate.Score":
        text = self._text(name)
        witness = Witness(text, model.process.layout.rows, self._data.vocab_size)
        score = model.process.score(text.shown, witness.keep, text.sample)
        witness.costs = replace(witness.costs, shown=score.costs)
        model.witnesses[name] = witness
        return score

    def training_seed(self, campaign_seed: int, seed_index: int) -> int:
        """The seed of a training, 31 bits that tell a program neither which campaign nor which measurement it is in.

        The same for the same corpus, campaign seed and index, so that runs repeat; without the held-back text nobody
        can work it out. Two of one campaign are the same once in a thousand million pairs.
        """
        told = b"seed:%d:%d:" % (campaign_seed, seed_index)
        return int.from_bytes(hashlib.sha256(told + self._secret).digest()[:4]) >> 1

    def probe(self, model: TrainedModel, depths: Mapping[str, Depth], tolerance_nats: float) -> list[ProbeReport]:
        """See whether the scores just given were honest. The process that was scored is gone afterwards.

        Args:
            model: scored, and not probed yet.
            depths: how closely to look, for each text that it was scored on; see `trainer.scoring.probes`.
            tolerance_nats: the effect that the device's rounding may have.

        Returns:
            One report a text; the costs of its blind places are in the model's witness then.

        Raises:
            ProbeError: it was not (status `disqualified`), with the report.
            TrialError: a process crashed, hung or was interrupted.
            ValueError: it was not scored before.
        """
        if not model.witnesses:
            raise ValueError("only a model that was scored can be probed")
        sittings = [Sitting(name, witness, depths[name]) for name, witness in model.witnesses.items()]
        share = sum(sitting.questions / len(sitting.witness.eval_set.rows) for sitting in sittings)
        limit_s = self._task.budget.score_s * max(1.0, share)
        probing = Probing(sittings, tolerance_nats=tolerance_nats, limit_s=limit_s)

        def retire() -> None:
            model.process.retire()
            self._forget(model.process)  # the replica is what a request to stop must reach

        return probing.run(model.process, retire, lambda: self._replica(model))

    @contextmanager
    def _replica(self, model: TrainedModel) -> Generator[TrialProcess]:
        with model.process.replica() as replica:
            self._processes[replica] = False
            if self._stop_at < math.inf:
                replica.stop(self._stop_at - time.monotonic())
            try:
                yield replica
            finally:
                self._forget(replica)

    @cached_property
    def _secret(self) -> bytes:
        """What no trial can know: it follows from the held-back text."""
        return str(read_meta(self._data.private_dir)["seal"]).encode()

    def _text(self, split: Literal["val", "test"]) -> HeldBack:
        if split not in self._texts:
            data = self._task.data
            whole = load_eval_set(self._data.private_dir, split, data.eval_seq_len, data.eval_tokens)
            self._texts[split] = reserve(whole, split.encode() + self._secret)
        return self._texts[split]

    def close(self) -> None:
        """End the process that trials are started from. Models that wait to be scored are closed by their holders."""
        if self.beside is not None:
            self.beside.drop()
        if self._launcher is not None:
            self._launcher.close()

    def stop(self, scoring_grace_s: float = 0.0) -> None:
        """End a running training at once, and a running scoring or probing too unless it may take a little longer.

        No training starts afterwards. Safe from a signal handler and from another thread. Once more without a grace
        ends everything at once.

        Args:
            scoring_grace_s: how long a model that is trained already may be scored and probed from now on.
        """
        self._stop_at = min(self._stop_at, time.monotonic() + scoring_grace_s)
        for process, training in tuple(self._processes.items()):
            process.stop(0.0 if training else scoring_grace_s)

    def _mfu(self, outcome: TrainOutcome) -> float | None:
        """Model FLOPs utilisation, or None where the device's peak is unknown."""
        peak = peak_flops(self._hardware.device_name)
        if peak is None or not outcome.flops or outcome.train_s <= 0:
            return None
        return outcome.flops / outcome.train_s / peak

    def _spec(self, program: str, seed: int) -> TrialSpec:
        data, trial, budget = self._task.data, self._task.trial, self._task.budget
        train_s = wall_cap_s(self.budget, budget.wall_s)
        most = Caps(startup_s=budget.startup_s, score_s=budget.score_s, train_s=train_s)
        return TrialSpec(
            source=program,
            data_dir=self._data.train_dir,
            scratch_root=self._scratch,
            seed=seed,
            budget=self.budget,
            caps=caps_for(self.budget, most, self._pace()),
            device=self._hardware.device,
            threads=self._threads,
            isolation=self.isolation,
            hidden=self._data.hidden,
            vocab_size=self._data.vocab_size,
            eval_seq_len=data.eval_seq_len,
            limits=Limits(memory_bytes=trial.memory_bytes or self._share_of(self._hardware.memory_bytes)),
        )


def _peak_device_bytes(outcome: TrainOutcome) -> int | None:
    """Peak device memory as the trial process reported it, or None on a CPU."""
    value = outcome.summary.get("peak_vram_mb")
    return int(value * 2**20) if isinstance(value, float) and value > 0 else None
