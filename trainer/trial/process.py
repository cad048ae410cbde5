"""One trial process, from its launch to its end: the parent's side.

    with TrialProcess.launch(spec, launcher, on_progress) as process:
        outcome = process.train()
        score = process.score(eval_set)
        with process.replica() as replica:
            logits = replica.ask(tokens)

The process runs code that nobody has read. It can end, hang, lie, flood and leave daemons behind; whatever it does, the
calls above return or raise `TrialError` within the spec's caps by this process's monotonic clock (and, for a budget of
CPU seconds, by the kernel's account of all its processes), and nothing of it is left after `close`.
"""

import os
import tempfile
import time
from collections.abc import Callable, Generator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Self

import numpy as np
from numpy.typing import NDArray

from rails.errors import HaltError, TrialError
from rails.status import Status
from trainer.budget import LATE_SHARE, Usage
from trainer.data.shards import split_names
from trainer.hardware import usable_cores
from trainer.launch.launcher import Launcher
from trainer.sandbox.removal import remove_tree
from trainer.trial import saved_state
from trainer.trial.conversation import Conversation, Limit, Phase
from trainer.trial.cpu_meter import CpuMeter
from trainer.trial.shared_memory import SharedMemory
from trainer.trial.spec import TrainOutcome, TrialSpec
from trainer.trial.start import PROGRAM, start
from trainer.trial.training_clock import TrainingClock
from trainer.trial.watchdog import Watchdog
from trainer.trial.wire import Progress, Scored, SharedLayout, Start, Trained, encode_data, encode_score_request

if TYPE_CHECKING:
    from trainer.data.shards import EvalSet
    from trainer.scoring.evaluate import Score


class TrialProcess:
    """A running trial process. Make one with `launch`; use it as a context manager."""

    def __init__(
        self,
        spec: TrialSpec,
        launcher: Launcher,
        on_progress: Callable[[Progress], None] | None = None,
        saved: int | None = None,
    ) -> None:
        self._spec, self._launcher, self._on_progress = spec, launcher, on_progress
        self._trained, self._closed, self._replica = False, False, saved is not None
        self._answer_s = 0.0
        self.answer_cpu_s: float | None = None
        """CPU seconds from the end of training to the first answer; None before that."""
        launcher.ready()
        with ExitStack() as undo:
            spec.scratch_root.mkdir(parents=True, exist_ok=True)
            self._scratch = Path(tempfile.mkdtemp(prefix="trial-", dir=spec.scratch_root)).resolve()
            undo.callback(remove_tree, self._scratch)
            (self._scratch / PROGRAM).write_text(spec.source, encoding="utf-8")
            self._memory = SharedMemory(spec.layout)
            undo.callback(self._memory.close)
            self._state = saved_state.create() if saved is None else saved_state.copy_for_replica(saved)
            undo.callback(lambda: os.close(self._state))
            launched = time.monotonic()
            child, self._channel = start(
                spec, launcher, self._scratch, self._memory.fd, self._state, replica=self._replica
            )
            undo.callback(self._channel.close)
            undo.callback(child.end)
            self._clock = TrainingClock(spec.budget, spec.caps, CpuMeter(child), launched)
            self._watchdog = Watchdog(child, self._scratch, spec.limits)
            about = "its replica failed: " if self._replica else ""
            lines = len(spec.source.splitlines())
            self._talk = Conversation(child, self._channel, self._watchdog, spec.limits.memory_bytes, lines, about)
            if self._replica:
                self._talk.hush(from_the_start=True)  # all that it will ever see are questions
            self._undo = undo.pop_all()

    @classmethod
    def launch(cls, spec: TrialSpec, launcher: Launcher, on_progress: Callable[[Progress], None] | None = None) -> Self:
        """Start the process and return when it is confined.

        Args:
            spec: what to run.
            launcher: starts it; also the replicas, so keep it open for as long as those are wanted.
            on_progress: called from `train` with each report; what it raises ends the trial and leaves `train`.

        Raises:
            HaltError: the machine cannot start a process (disk full, no file descriptors), or not confine it.
        """
        return cls._launch(spec, launcher, on_progress, None)

    def replica(self) -> Self:
        """Start a fresh process that loads what this one saved, to be asked the same questions. After `train`.

        It has a copy of the state that was sealed, nothing else of this process, and lives on when this one is closed.

        Raises:
            HaltError: as for `launch`.
            TrialError: the state cannot be copied (`crash`).
            ValueError: there is nothing saved yet.
        """
        if not self._trained:
            raise ValueError("only a trained process has replicas")
        return self._launch(self._spec, self._launcher, None, self._state)

    @classmethod
    def _launch(
        cls,
        spec: TrialSpec,
        launcher: Launcher,
        on_progress: Callable[[Progress], None] | None,
        saved: int | None,
    ) -> Self:
        try:
            return cls(spec, launcher, on_progress, saved)
        except OSError as error:
            what = f"a trial process could not be started: {error}"
            raise HaltError(what, where=str(spec.scratch_root), fix="free disk space or memory, then resume") from error

    @property
    def layout(self) -> SharedLayout:
        """How many rows it is asked about at a time, and how large its answers are."""
        return self._spec.layout

    def train(self) -> TrainOutcome:
        """Wait until the model is built and trained.

        Raises:
            TrialError: `preflight_crash` (it ended, failed or hung before `start`), `crash`, `train_budget_overrun` or
                `interrupted`. The process is gone then.
        """
        with self._talk.ended_on_error():
            start = self._await_start()
            self._hand_over_data()
            curve, trained = self._follow(start)
            self._seal()
            self._clock.stop()
            if self._spec.budget.on_cpu_clock:
                self._hold_to(self._clock.cpu_limit(), self._clock.training())
            self._talk.hush()
            self._watchdog.note_peak()
        last = curve[-1] if curve else None
        return TrainOutcome(
            startup_s=self._clock.startup_s,
            startup_cpu_s=self._clock.startup_cpu_s,
            train_s=self._clock.train_s,
            cpu_s=self._clock.cpu_s,
            steps=last.step if last else 0,
            tokens=last.tokens if last else 0,
            params=start.params,
            flops=start.flops_per_token * (last.tokens if last else 0),
            device=start.device,
            curve=tuple(curve),
            summary=trained.summary,
            peak_rss_bytes=self._watchdog.peak_rss_bytes,
            log_tail=self._channel.output.tail(),
        )

    def score(
        self,
        eval_set: "EvalSet",
        keep: Callable[[int, NDArray[np.float32]], None] | None = None,
        kept_rows: NDArray[np.int64] | None = None,
    ) -> "Score":
        """Ask the trained model about every row of `eval_set` and count what its answers cost.

        Each answer is copied out of the shared memory once, before it is looked at. While it is being counted, a
        process with a GPU already works on the next rows.

        Args:
            eval_set: the rows.
            keep: called with the number of the first row and the logits [r, T, V] that were counted for the rows from
                there on. The array is used again afterwards: copy what is wanted of it.
            kept_rows: numbers of the rows whose costs by token are wanted.

        Raises:
            TrialError: `eval_budget_overrun`, `disqualified` (the answers are no distribution), `crash` or
                `interrupted`. The process is gone then.
            ValueError: the rows are not as long as the spec says.
        """
        from trainer.scoring.evaluate import Tally, counting_threads  # torch takes two seconds to load

        layout, rows = self._spec.layout, eval_set.rows
        if rows.shape[1] != layout.seq_len + 1:
            raise ValueError(f"rows of {rows.shape[1]} tokens cannot be scored with eval_seq_len {layout.seq_len}")
        tally, started = Tally(eval_set.token_bytes, kept_rows), time.monotonic()
        phase = self._asking("scored", self._spec.caps.score_s)
        logits = np.empty((layout.rows, layout.seq_len, layout.vocab_size), np.float32)
        counted = 0

        def count(until: int) -> None:
            nonlocal counted
            tally.add(logits[: until - counted], rows[counted:until, 1:])
            if keep is not None and until > counted:
                keep(counted, logits[: until - counted])
            counted = until

        # A model on a GPU works while we count. One on the CPU needs the cores that counting needs: it waits. More
        # threads than the trial has would be in its way: between two batches they spin on the core that it answers on.
        cores = self._spec.threads if self._spec.device == "cpu" else usable_cores()
        with self._talk.ended_on_error(), counting_threads(cores):
            for first in range(0, len(rows), layout.rows):
                batch = rows[first : first + layout.rows]
                self._request(batch[:, :-1])
                count(first)
                if self._answer_s:
                    self._talk.expect(Scored, phase)
                else:
                    self._expect_first_answer(phase)
                    self._answer_s = time.monotonic() - started
                self._copy_logits(logits[: len(batch)], phase)
                if self._spec.device == "cpu":
                    count(first + len(batch))
            count(len(rows))
        return tally.score(time.monotonic() - started, self._answer_s)

    def ask(self, tokens: NDArray[np.int32]) -> NDArray[np.float32]:
        """A private copy of the model's answer. After `train`, or of a replica.

        Args:
            tokens: int32 [r, T], at most as many rows as `spec.layout` has.

        Returns:
            Logits [r, T, V].

        Raises:
            TrialError: `eval_budget_overrun`, `crash` or `interrupted`. The process is gone then.
            ValueError: more rows than `spec.layout` has, or rows of another length.
        """
        layout = self._spec.layout
        if tokens.ndim != 2 or not 1 <= len(tokens) <= layout.rows or tokens.shape[1] != layout.seq_len:
            raise ValueError(f"tokens of shape {tokens.shape}, not [1..{layout.rows}, {layout.seq_len}]")
        caps = self._spec.caps
        # The first thing that a replica says is its first answer: until then it starts.
        started = time.monotonic()
        phase = self._asking("asked", caps.score_s + (0.0 if self._answer_s else caps.startup_s))
        logits = np.empty((*tokens.shape, layout.vocab_size), np.float32)
        with self._talk.ended_on_error():
            self._request(tokens)
            self._talk.expect(Scored, phase)
            self._copy_logits(logits, phase)
        self._answer_s = self._answer_s or time.monotonic() - started
        return logits

    def hold(self) -> None:
        """After `train`: it stands still, with all that came of it, and hears nothing until `let_go`.

        Raises:
            TrialError: it does not (`crash`). The process is gone then.
        """
        self._talk.hold()

    def let_go(self) -> None:
        """Have it go on, to be asked."""
        self._talk.let_go()

    def stop(self, grace_s: float = 0.0) -> None:
        """End the trial: `train`, `score` or `ask` raises `TrialError` (`interrupted`).

        Safe from a signal handler and from another thread. Of several requests the earliest counts.

        Args:
            grace_s: how long what runs now may go on, by the monotonic clock.
        """
        self._talk.stop_at = min(self._talk.stop_at, time.monotonic() + grace_s)
        if not self._closed:
            self._channel.wake()

    def retire(self) -> None:
        """Kill everything that is left of the process. Replicas of it can be started until `close`. Idempotent."""
        self._talk.end()

    def close(self) -> None:
        """Kill everything that is left of the process and remove its folder. Idempotent."""
        if self._closed:
            return
        self._closed = True
        self._undo.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # Waiting

    def _await_start(self) -> Start:
        start = self._talk.expect(Start, self._clock.starting())
        self._clock.start()
        if self._clock.charged_s >= self._spec.budget.amount:
            what = f"killed: it was to start training with {self._spec.budget.told(self._clock.charged_s)}"
            self._talk.fail(Status.TRAIN_BUDGET_OVERRUN, what)
        return start

    def _hand_over_data(self) -> None:
        """The training data, now that the clock runs: nothing can be learned from it before."""
        names = split_names("train")
        with ExitStack() as stack:
            files = [stack.enter_context((self._spec.data_dir / name).open("rb")) for name in names]
            for file in files:
                os.pread(file.fileno(), 1, 0)  # the first reading of a day is noted: let it not be the trial's
            self._channel.send(encode_data(names, self._clock.charged_s), [file.fileno() for file in files])

    def _follow(self, start: Start) -> tuple[list[Progress], Trained]:
        curve: list[Progress] = []
        step, on_cpu_clock = 0, self._spec.budget.on_cpu_clock
        while isinstance(event := self._talk.next(phase := self._clock.training()), Progress):
            self._check_progress(event, curve[-1] if curve else None, start.flops_per_token)
            spent_s, step = self._clock.note_steps(event.step - step), event.step
            if on_cpu_clock:
                event = replace(event, elapsed_s=spent_s)  # of all its processes, as it could not count them
            curve.append(event)
            if self._on_progress is not None:
                self._on_progress(event)
        return curve, self._talk.checked(Trained, event, phase)

    def _asking(self, done: str, cap_s: float) -> Phase:
        return Phase(
            during=f"while it was {done}",
            deadline=time.monotonic() + cap_s,
            overdue=f"killed: not {done} within {cap_s:g} s",
            overdue_status=Status.EVAL_BUDGET_OVERRUN,
        )

    def _expect_first_answer(self, phase: Phase) -> None:
        """What was trained is saved: a process that needs long before it answers could be training all the same."""
        cap_s = self._spec.caps.answer_s
        if self._spec.budget.on_cpu_clock:
            phase = replace(phase, also=self._clock.answer_limit)
        elif cap_s < self._spec.caps.score_s:
            overdue = f"killed: its first answer took longer than {cap_s:.3g} s"
            phase = replace(self._asking("scored", cap_s), overdue=overdue)
        self._talk.expect(Scored, phase)
        self.answer_cpu_s = self._clock.answer_cpu_s()
        if self._spec.budget.on_cpu_clock:
            self._hold_to(self._clock.answer_limit(), phase)

    def _hold_to(self, limit: Limit, phase: Phase) -> None:
        """What was used is known when it is over, too: whoever looks late must not be fooled."""
        if limit.left_s <= 0:
            self._talk.fail(phase.overdue_status, limit.overdue)

    def _check_progress(self, now: Progress, before: Progress | None, flops_per_token: float) -> None:
        if before is None:
            return
        if now.step <= before.step or now.tokens < before.tokens:
            self._talk.fail(Status.CRASH, f"killed: its report of step {now.step} came after one of step {before.step}")
        # Seconds are the parent's own to count. One step may overshoot the others; going on after that is an overrun.
        budget, claimed = self._spec.budget, before
        usage = Usage(steps=claimed.step, tokens=claimed.tokens, flops=claimed.tokens * flops_per_token)
        if budget.share(usage) > 1.0 + LATE_SHARE:
            what = f"killed: still training at step {now.step}, with a budget of {budget}"
            self._talk.fail(Status.TRAIN_BUDGET_OVERRUN, what)

    def _seal(self) -> None:
        """Make what it saved final, and keep a copy of it where it cannot reach it."""
        try:
            most_bytes = int(saved_state.MEMORY_SHARE * self._spec.limits.memory_bytes)
            sealed = saved_state.seal(self._state, most_bytes, self._talk.hold)
            self._talk.let_go()
        except TrialError as error:
            self._talk.fail(error.status, error.what)
        except OSError as error:
            self._talk.fail(Status.CRASH, f"the state that it saved cannot be copied: {error.strerror}")
        os.close(self._state)
        self._state, self._trained = sealed, True

    # Shared memory

    def _request(self, tokens: NDArray[np.int32]) -> None:
        with self._its_own_fault():
            self._memory.write_tokens(tokens)
        self._channel.send(encode_score_request(len(tokens)))

    def _copy_logits(self, into: NDArray[np.float32], phase: Phase) -> None:
        with self._its_own_fault():
            complete = self._memory.copy_logits(into)
        if not complete:
            self._talk.fail(phase.crash_status, "killed: it truncated the memory that it shares with the loop")

    @contextmanager
    def _its_own_fault(self) -> Generator[None]:
        """What goes wrong with the memory that a process has in its hands ends that process, and nothing else."""
        try:
            yield
        except OSError as error:
            self._talk.fail(Status.CRASH, f"killed: the memory that it is asked in cannot be used: {error.strerror}")
