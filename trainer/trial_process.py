"""One trial process, from its launch to its end: the parent's side.

    with TrialProcess.launch(spec, on_progress) as process:
        outcome = process.train()
        score = process.score(eval_set)

The process runs code that nobody has read. It can end, hang, lie, flood and leave daemons behind; whatever it does, the
calls above return or raise `TrialError` within the spec's caps by this process's monotonic clock, and nothing of it is
left after `close`.
"""

import os
import signal
import socket
import sys
import tempfile
import time
from collections.abc import Callable, Generator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn, Self, TypeVar

import numpy as np
from numpy.typing import NDArray

from rails.errors import HaltError, TrialError
from rails.status import Status
from trainer import sandbox
from trainer.budget import Usage
from trainer.channel import Channel
from trainer.hardware import usable_cores
from trainer.output import last_error
from trainer.trial_spec import TrainOutcome, TrialSpec
from trainer.watchdog import CHECK_EVERY_S, Watchdog
from trainer.wire import (
    SPEC_VARIABLE,
    ChildSpec,
    Event,
    Failed,
    Progress,
    Scored,
    Start,
    Trained,
    clean_line,
    encode_score_request,
)

if TYPE_CHECKING:
    from trainer.evaluate import Score
    from trainer.shards import EvalSet

PROGRAM = "train.py"

E = TypeVar("E", Start, Trained, Scored)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Phase:
    """What the parent waits for, until when, and what it is called when it does not come."""

    during: str
    deadline: float
    overdue: str
    overdue_status: Status
    crash_status: Status = Status.CRASH


class TrialProcess:
    """A running trial process. Make one with `launch`; use it as a context manager."""

    def __init__(self, spec: TrialSpec, on_progress: Callable[[Progress], None] | None = None) -> None:
        self._spec, self._on_progress = spec, on_progress
        self._stopped = self._closed = False
        self._code: int | None = None
        with ExitStack() as undo:
            spec.scratch_root.mkdir(parents=True, exist_ok=True)
            self._scratch = Path(tempfile.mkdtemp(prefix="trial-", dir=spec.scratch_root)).resolve()
            undo.callback(sandbox.remove_scratch, self._scratch)
            (self._scratch / PROGRAM).write_text(spec.source, encoding="utf-8")
            self._shm = _shared_memory(spec.layout.total_bytes)
            undo.callback(os.close, self._shm)
            self._launched = time.monotonic()
            self._channel = self._start()
            undo.callback(self._channel.close)
            undo.callback(lambda: sandbox.end(self._process, time.time()))
            self._watchdog = Watchdog(self._process.pid, self._scratch, spec.limits)
            undo.pop_all()

    @classmethod
    def launch(cls, spec: TrialSpec, on_progress: Callable[[Progress], None] | None = None) -> Self:
        """Start the process and return at once.

        Args:
            spec: what to run.
            on_progress: called from `train` with each report; what it raises ends the trial and leaves `train`.

        Raises:
            HaltError: the machine cannot start a process (disk full, no file descriptors).
        """
        try:
            return cls(spec, on_progress)
        except OSError as error:
            what = f"a trial process could not be started: {error}"
            raise HaltError(what, where=str(spec.scratch_root), fix="free disk space or memory, then resume") from error

    def train(self) -> TrainOutcome:
        """Wait until the model is built and trained.

        Raises:
            TrialError: `preflight_crash` (it ended, failed or hung before `start`), `crash`, `train_budget_overrun` or
                `interrupted`. The process is gone then.
        """
        with self._ended_on_error():
            start, started = self._await_start()
            curve, trained = self._follow(start, started)
            train_s = time.monotonic() - started
            self._watchdog.note_peak()
        last = curve[-1] if curve else None
        return TrainOutcome(
            startup_s=started - self._launched,
            train_s=train_s,
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

    def score(self, eval_set: "EvalSet") -> "Score":
        """Ask the trained model about every row of `eval_set` and count what its answers cost.

        Each answer is copied out of the shared memory once, before it is looked at. While it is being counted, the
        process already works on the next rows.

        Raises:
            TrialError: `eval_budget_overrun`, `disqualified` (the answers are no distribution), `crash` or
                `interrupted`. The process is gone then.
            ValueError: the rows are not as long as the spec says.
        """
        from trainer.evaluate import Tally, counting_threads  # torch takes two seconds to load

        layout, rows = self._spec.layout, eval_set.rows
        if rows.shape[1] != layout.seq_len + 1:
            raise ValueError(f"rows of {rows.shape[1]} tokens cannot be scored with eval_seq_len {layout.seq_len}")
        tally, started = Tally(eval_set.token_bytes), time.monotonic()
        cap = self._spec.caps.score_s
        phase = _Phase(
            during="while it was scored",
            deadline=started + cap,
            overdue=f"killed: not scored within {cap:g} s",
            overdue_status=Status.EVAL_BUDGET_OVERRUN,
        )
        logits = np.empty((layout.rows, layout.seq_len, layout.vocab_size), np.float32)
        counted = 0
        # A model on the CPU needs its cores while we count: more threads than cores wait for each other, for ages.
        threads = 1 if self._spec.device == "cpu" else usable_cores()
        with self._ended_on_error(), counting_threads(threads):
            for first in range(0, len(rows), layout.rows):
                batch = rows[first : first + layout.rows]
                self._write_tokens(batch[:, :-1])
                self._channel.send(encode_score_request(len(batch)))
                tally.add(logits[: first - counted], rows[counted:first, 1:])
                counted = first
                self._expect(Scored, phase)
                self._copy_logits(logits[: len(batch)], phase)
            tally.add(logits[: len(rows) - counted], rows[counted:, 1:])
        return tally.score(time.monotonic() - started)

    def stop(self) -> None:
        """End the trial soon: `train` or `score` raises `TrialError` (`interrupted`).

        Safe from a signal handler and from another thread.
        """
        self._stopped = True
        if not self._closed:
            self._channel.wake()

    def close(self) -> None:
        """Kill everything that is left of the process and remove its folder. Idempotent."""
        if self._closed:
            return
        self._closed = True
        self._end()
        self._channel.close()
        os.close(self._shm)
        sandbox.remove_scratch(self._scratch)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # Launching

    def _start(self) -> Channel:
        spec, layout = self._spec, self._spec.layout
        with ExitStack() as ours, ExitStack() as theirs:
            control, their_control = socket.socketpair()
            ours.callback(control.close)
            theirs.callback(their_control.close)
            output, their_output = os.pipe()
            ours.callback(os.close, output)
            theirs.callback(os.close, their_output)
            told = ChildSpec(
                data_dir=str(spec.data_dir),
                seed=spec.seed,
                budget=spec.budget,
                device=spec.device,
                threads=spec.threads,
                eval_rows=layout.rows,
                eval_seq_len=spec.eval_seq_len,
                vocab_size=spec.vocab_size,
                control_fd=their_control.fileno(),
                shm_fd=self._shm,
            )
            self._process = sandbox.launch(
                [sys.executable, PROGRAM],
                scratch=self._scratch,
                environment=sandbox.scrubbed_environment(self._scratch, spec.threads, {SPEC_VARIABLE: told.to_json()}),
                output=their_output,
                pass_fds=(their_control.fileno(), self._shm),
                limits=spec.limits,
            )
            ours.pop_all()
            return Channel(control, output, self._process)

    # Waiting

    def _await_start(self) -> tuple[Start, float]:
        cap = self._spec.caps.startup_s
        phase = _Phase(
            during="before training started",
            deadline=self._launched + cap,
            overdue=f"killed: training had not started within {cap:g} s",
            overdue_status=Status.PREFLIGHT_CRASH,
            crash_status=Status.PREFLIGHT_CRASH,
        )
        return self._expect(Start, phase), time.monotonic()

    def _follow(self, start: Start, started: float) -> tuple[list[Progress], Trained]:
        budget, caps = self._spec.budget, self._spec.caps
        limit = caps.train_limit_s(budget)
        phase = _Phase(
            during="during training",
            deadline=started + limit,
            overdue=f"killed: still training {limit:.4g} s after its start, with a budget of {budget}",
            overdue_status=Status.TRAIN_BUDGET_OVERRUN,
        )
        curve: list[Progress] = []
        while isinstance(event := self._next(phase), Progress):
            self._check_progress(event, curve[-1] if curve else None, start.flops_per_token)
            curve.append(event)
            if self._on_progress is not None:
                self._on_progress(event)
        return curve, self._checked(Trained, event, phase)

    def _check_progress(self, now: Progress, before: Progress | None, flops_per_token: float) -> None:
        if before is None:
            return
        if now.step <= before.step or now.tokens < before.tokens:
            self._fail(Status.CRASH, f"killed: its report of step {now.step} came after one of step {before.step}")
        # Seconds are the parent's own to count. One step may overshoot the others; going on after that is an overrun.
        budget, claimed = self._spec.budget, before
        usage = Usage(steps=claimed.step, tokens=claimed.tokens, flops=claimed.tokens * flops_per_token)
        if budget.share(usage) > 1.0 + self._spec.caps.overrun:
            what = f"killed: still training at step {now.step}, with a budget of {budget}"
            self._fail(Status.TRAIN_BUDGET_OVERRUN, what)

    def _expect(self, kind: type[E], phase: _Phase) -> E:
        return self._checked(kind, self._next(phase), phase)

    def _checked(self, kind: type[E], event: Event, phase: _Phase) -> E:
        if isinstance(event, Failed):
            self._fail(phase.crash_status, event.reason)
        if not isinstance(event, kind):
            name, expected = type(event).__name__.lower(), kind.__name__.lower()
            self._fail(phase.crash_status, f"killed: it reported {name!r} {phase.during}, where {expected!r} was due")
        return event

    def _next(self, phase: _Phase) -> Event:
        """The next message, or the end of the trial."""
        channel = self._channel
        while True:
            left = phase.deadline - time.monotonic()
            if self._stopped:
                self._fail(Status.INTERRUPTED, f"stopped on request {phase.during}")
            if left <= 0:
                self._fail(phase.overdue_status, phase.overdue)
            if channel.events:
                return channel.events.popleft()
            if (reason := self._watchdog.check()) is not None:
                self._fail(phase.crash_status, f"killed {phase.during}: {reason}")
            if channel.broken:
                self._fail(phase.crash_status, f"killed {phase.during}: it sent {channel.broken}")
            if channel.exited:
                self._died(phase)
            channel.wait(min(left, CHECK_EVERY_S))
            if channel.exited:
                channel.drain()

    # Ending

    def _died(self, phase: _Phase) -> NoReturn:
        code = self._end()
        how = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"exited with code {code}"
        error = last_error(self._channel.output.text()) if code else None
        why = f": {error}" if error else "" if code else ", without a result"
        self._fail(phase.crash_status, f"{how} {phase.during}{why}")

    def _fail(self, status: Status, what: str) -> NoReturn:
        self._end()
        self._channel.drain()
        raise TrialError(status, clean_line(what), detail=self._channel.output.tail())

    def _end(self) -> int:
        if self._code is None:
            self._code = sandbox.end(self._process, self._watchdog.started)
        return self._code

    @contextmanager
    def _ended_on_error(self) -> Generator[None]:
        try:
            yield
        except BaseException:  # KeyboardInterrupt and what the callback raises must not leave a process running
            self._end()
            raise

    # Shared memory

    def _write_tokens(self, tokens: NDArray[np.int32]) -> None:
        os.pwrite(self._shm, np.ascontiguousarray(tokens, np.int32).tobytes(), 0)

    def _copy_logits(self, into: NDArray[np.float32], phase: _Phase) -> None:
        """Read, not map: a process that truncates the memory behind a map would kill us with a bus error."""
        view, offset = into.data.cast("B"), self._spec.layout.logits_offset
        done = 0
        while done < len(view):
            count = os.preadv(self._shm, [view[done:]], offset + done)
            if count == 0:
                self._fail(phase.crash_status, "killed: it truncated the memory that it shares with the loop")
            done += count


def _shared_memory(size: int) -> int:
    """A file descriptor of `size` zero bytes in memory, without a name."""
    if hasattr(os, "memfd_create"):
        fd = os.memfd_create("nightshift")
    else:
        with tempfile.TemporaryFile() as file:
            fd = os.dup(file.fileno())
    os.ftruncate(fd, size)
    return fd
