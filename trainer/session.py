"""What train.py talks to: its data, its budget's clock, and the parent that will score it.

Inside a trial the parent's specification arrives in the environment and everything is reported over a socket; the
training data arrives when the clock starts. A replica is a second process of the same script: it loads what the first
one saved, and answers the same questions. Run by
hand (`python train.py --seconds 20`) the same script trains with the same data and prints its progress instead; it then
has no score, because validation text never enters this process.

    session = Session.open()
    model = …
    if session.replica:
        model.load(session.saved_state())             # an open binary file
    else:
        batches = session.batches(rows, seq_len)      # (inputs, targets), int64 [rows, seq_len]
        session.start(params=…, flops_per_token=…)    # the clock starts, the data is there
        while not session.done:
            …                                         # one optimiser step, planned by session.progress
            session.step(loss, tokens)
        session.finish({"depth": …}, save=model.save) # writes all that was learned into an open binary file
    session.serve(logits_of)                          # int64 [r, T] → float32 [r, T, vocab_size]
"""

import argparse
import math
import mmap
import os
import resource
import socket
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any, BinaryIO, NoReturn, Self

import numpy as np
from numpy.typing import NDArray

from trainer.budget import Budget, BudgetKind, Usage
from trainer.data.shards import Documents, map_documents, open_documents
from trainer.trial.wire import (
    MAX_FILES,
    MAX_LINE_BYTES,
    SPEC_VARIABLE,
    ChildSpec,
    Event,
    Failed,
    Progress,
    Scalar,
    Scored,
    Start,
    Trained,
    WireError,
    encode_event,
    parse_data,
    parse_score_request,
)

REPORT_EVERY_S = 0.1
REPORT_MARKS = 40
"""A report is also due at each fortieth of the budget: at these points curves can be compared, and on a budget that
repeats exactly the reports there repeat too, however fast the steps are."""
PRINT_EVERY_S = 1.0
DIVERGED_FACTOR = 4.0
"""A loss of more than this many times that of a uniform guess, ln(vocab_size), is hopeless."""
STANDALONE_SEQ_LEN = 256

Int64 = NDArray[np.int64]
Float32 = NDArray[np.float32]


class Session:
    """One training, seen from train.py.

    Attributes:
        seed: for every random number of the training; the order of the data follows it too.
        device: `cpu`, `cuda` or `mps`.
        threads: how many CPU threads to use.
        vocab_size: the model's logits must have exactly this width.
        eval_seq_len: the length of the rows that `serve` will be asked about.
        budget: what the training may spend.
        replica: whether this process must load `saved_state` and answer, instead of training.
    """

    def __init__(self, spec: ChildSpec, *, standalone: bool = False, data_dir: Path | None = None) -> None:
        self.seed, self.device, self.threads = spec.seed, spec.device, spec.threads
        self.vocab_size, self.eval_seq_len, self.budget = spec.vocab_size, spec.eval_seq_len, spec.budget
        self.replica = spec.replica
        self._spec, self._opened = spec, time.perf_counter()
        self._control = None if standalone else socket.socket(fileno=spec.control_fd)
        self._data_dir = data_dir
        self._documents: Documents | None = None
        self._started: float | None = None
        self._charged_s = 0.0
        self._params, self._flops_per_token = 0, 0.0
        self._steps, self._tokens = 0, 0
        self._unsent: Progress | None = None
        self._unsent_losses: list[float] = []
        self._mark = 0
        self._reported = self._printed = -math.inf
        """When, by the wall clock."""

    @classmethod
    def open(cls) -> Self:
        """The session of this process: the parent's when there is one, else one made from the arguments."""
        given = os.environ.pop(SPEC_VARIABLE, None)
        if given is None:
            spec, data_dir = _standalone_spec(sys.argv[1:])
            return cls(spec, standalone=True, data_dir=data_dir)
        spec = ChildSpec.from_json(given)
        # Programs that train.py may start must not hold our ends open, or the parent never sees us leave.
        for fd in (spec.control_fd, spec.shm_fd, spec.state_fd):
            os.set_inheritable(fd, False)
        return cls(spec)

    def batches(self, rows: int, seq_len: int) -> Iterator[tuple[Int64, Int64]]:
        """Endless training batches `(inputs, targets)`, each int64 [rows, seq_len], in an order set by the seed.

        Take the first one after `start`: that is when the data comes.
        """
        from trainer.data.packing import pack  # a script that brings its own data does not need it

        if self._documents is None:
            kind = "replica" if self.replica else "error"
            self._fail(kind, "there is no training data before session.start(), and none in a replica")
        yield from pack(self._documents, rows, seq_len, self.seed)

    def start(self, *, params: int, flops_per_token: float) -> None:
        """The model is built: start the clock and receive the data. Call it once, right before the first step.

        On a budget of time a start-up that took longer than the baseline's has spent some of it already.

        Args:
            params: the number of the model's parameters.
            flops_per_token: forward and backward, for one trained token.
        """
        self._params, self._flops_per_token = int(params), float(flops_per_token)
        if self.replica:
            self._fail("replica", "a replica must not train: it loads session.saved_state() and answers")
        self._send(Start(params=self._params, flops_per_token=self._flops_per_token, device=self.device))
        self._started = self._clock()
        if self._control is not None:
            self._documents, self._charged_s = _receive_data(self._control)
        elif self._data_dir is not None:
            self._documents = open_documents(self._data_dir)

    @property
    def elapsed_s(self) -> float:
        """Seconds of the budget's clock: since `start`, and what start-up took longer than it may; 0 before it."""
        return 0.0 if self._started is None else self._clock() - self._started + self._charged_s

    def _clock(self) -> float:
        """The budget's: the wall's, or CPU time of this process and of its children that have ended."""
        if not self.budget.on_cpu_clock:
            return time.perf_counter()
        ended = resource.getrusage(resource.RUSAGE_CHILDREN)
        return time.process_time() + ended.ru_utime + ended.ru_stime

    @property
    def progress(self) -> float:
        """The share of the budget that is spent, from 0 to 1: what a schedule should follow.

        A program that is tried out is done after one step, whatever its budget.
        """
        if self._spec.one_step and self._steps:
            return 1.0
        return self.budget.progress(
            Usage(
                seconds=self.elapsed_s,
                steps=self._steps,
                tokens=self._tokens,
                flops=self._tokens * self._flops_per_token,
            )
        )

    @property
    def done(self) -> bool:
        """Whether the budget is spent."""
        return self.progress >= 1.0

    def step(self, loss: float, tokens: int) -> None:
        """Count one optimiser step over `tokens` tokens; ten times a second, report where training is.

        A report's loss is the mean over the steps since the report before.

        Raises:
            SystemExit: the loss is not a number, or so large that going on is a waste. The parent has been told.
        """
        self._steps += 1
        self._tokens += int(tokens)
        loss = float(loss)
        if math.isnan(loss):
            self._fail("nan", f"loss became NaN at step {self._steps}")
        limit = DIVERGED_FACTOR * math.log(self.vocab_size)
        if loss > limit:
            self._fail("diverged", f"loss diverged to {loss:.4g} at step {self._steps} (limit {limit:.4g})")
        now = time.perf_counter()
        self._unsent_losses.append(loss)
        mean = math.fsum(self._unsent_losses) / len(self._unsent_losses)
        self._unsent = latest = Progress(step=self._steps, tokens=self._tokens, elapsed_s=self.elapsed_s, loss=mean)
        mark = int(REPORT_MARKS * self.progress + 1e-9)
        if now - self._reported >= REPORT_EVERY_S or mark > self._mark:
            self._mark = mark
            self._report()
        if self._control is None and now - self._printed >= PRINT_EVERY_S:
            self._print(latest)

    def finish(self, summary: Mapping[str, Any], save: Callable[[BinaryIO], None] | None = None) -> None:
        """Training is over: save its state, report it and print the summary block. Saving is part of the budget.

        Args:
            summary: anything a person may want to read: text and finite numbers. It is shown, never decided on.
            save: writes into an open binary file all that a fresh process needs to give the same answers: the model is
                only what a replica can load from there.

        Raises:
            SystemExit: there is no `save`. The parent has been told.
        """
        elapsed = self.elapsed_s
        self._report()
        if save is None:
            self._fail("error", "session.finish needs save=…: a function that writes the model's state into a file")
        if self._control is not None:
            with os.fdopen(os.dup(self._spec.state_fd), "wb") as file:
                save(file)
        full: dict[str, Scalar] = {
            f"training_{'cpu_' if self.budget.on_cpu_clock else ''}seconds": round(elapsed, 3),
            "total_seconds": round(time.perf_counter() - self._opened, 3),
            "total_tokens_M": self._tokens / 1e6,
            "num_steps": self._steps,
            "num_params_M": self._params / 1e6,
        }
        full.update({str(key): _scalar(value) for key, value in summary.items()})
        print("---", *(f"{key}: {_shown(value)}" for key, value in full.items()), sep="\n", flush=True)
        self._send(Trained(summary=full))

    def saved_state(self) -> BinaryIO:
        """In a replica: what `finish` saved, from its beginning. Nobody can change it any more.

        Raises:
            SystemExit: this is no replica. The parent has been told.
        """
        if not self.replica:
            self._fail("error", "there is no saved state outside a replica")
        file = os.fdopen(os.dup(self._spec.state_fd), "rb")
        file.seek(0)
        return file

    def serve(self, logits_of: Callable[[Int64], Float32]) -> None:
        """Answer score requests until the parent hangs up; return at once when stand-alone.

        Args:
            logits_of: int64 tokens [r, T] → float32 logits [r, T, vocab_size]; position t may see tokens 0..t only.
        """
        if self._control is None:
            return
        layout, spec = self._spec.layout, self._spec
        with mmap.mmap(spec.shm_fd, layout.total_bytes) as memory, self._control.makefile("rb") as requests:
            for line in requests:
                self._answer(memory, parse_score_request(line, limit=spec.eval_rows), logits_of)
        self.close()

    def close(self) -> None:
        """Hang up. `serve` does it at its end."""
        if self._control is not None:
            self._control.close()

    def _answer(self, memory: mmap.mmap, rows: int, logits_of: Callable[[Int64], Float32]) -> None:
        layout, (length, width) = self._spec.layout, (self.eval_seq_len, self.vocab_size)
        tokens = np.frombuffer(memory, np.int32, rows * length).reshape(rows, length).astype(np.int64)
        logits = np.asarray(logits_of(tokens))
        if logits.shape != (rows, length, width):
            self._fail("shape", f"the model answered logits of shape {logits.shape}, not {(rows, length, width)}")
        place = np.frombuffer(memory, np.float32, logits.size, layout.logits_offset).reshape(logits.shape)
        _copy(place, logits)
        del place  # the map cannot be closed while an array points into it
        self._send(Scored())

    def _report(self) -> None:
        if self._unsent is not None:
            self._reported = time.perf_counter()
            self._send(self._unsent)
            self._unsent = None
            self._unsent_losses.clear()

    def _print(self, latest: Progress) -> None:
        self._printed = time.perf_counter()
        share, where = 100 * self.progress, f"step {latest.step:6d}  {latest.tokens:12,d} tokens"
        print(f"{where}  {latest.elapsed_s:8.1f} s  {share:5.1f} %  loss {latest.loss:.4f}", flush=True)

    def _fail(self, kind: str, reason: str) -> NoReturn:
        self._send(Failed(kind=kind, reason=reason))
        raise SystemExit(f"failed: {reason}")

    def _send(self, event: Event) -> None:
        if self._control is not None:
            self._control.sendall(encode_event(event))


def _copy(place: Float32, logits: NDArray[Any]) -> None:
    """Copy with all threads where torch has some: for a large vocabulary this is a good part of an answer."""
    torch: Any = sys.modules.get("torch")
    if torch is None or logits.dtype != place.dtype:
        np.copyto(place, logits, casting="same_kind")
    else:
        torch.from_numpy(place).copy_(torch.from_numpy(logits))


def _scalar(value: Any) -> Scalar:
    """Numbers of numpy and torch become Python's; a number that is not finite becomes text."""
    value = value.item() if hasattr(value, "item") else value
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value if isinstance(value, bool | int | float | str) or value is None else str(value)


def _shown(value: Scalar) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def _receive_data(control: socket.socket) -> tuple[Documents, float]:
    """The training data, in files that the parent opens once it has noted the time, and what start-up is charged."""
    line, fds = b"", list[int]()
    while not line.endswith(b"\n"):
        chunk, received, _, _ = socket.recv_fds(control, MAX_LINE_BYTES, MAX_FILES)
        if not chunk:
            raise SystemExit("the loop hung up before it sent the training data")
        line, fds = line + chunk, fds + received
    names, charged_s = parse_data(line)
    with ExitStack() as stack:
        files = [stack.enter_context(os.fdopen(fd, "rb")) for fd in fds]
        if len(names) != len(files):
            raise WireError(f"{len(files)} files came with a message that names {len(names)}")
        return map_documents(files), charged_s


def _standalone_spec(arguments: list[str]) -> tuple[ChildSpec, Path]:
    parser = argparse.ArgumentParser(description="Train once, by hand. Without a budget: 20 seconds.")
    budget = parser.add_mutually_exclusive_group()
    for kind in (BudgetKind.SECONDS, BudgetKind.CPU_SECONDS, BudgetKind.STEPS, BudgetKind.TOKENS):
        budget.add_argument(f"--{kind}", type=float, metavar="N", help=f"train for N {kind.replace('_', ' ')}")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--data", type=Path, help="folder of training data; default: the standard library's text")
    parser.add_argument("--device", default=_best_device(), choices=["cpu", "cuda", "mps"])
    given = parser.parse_args(arguments)
    if given.cpu_seconds is not None and given.device != "cpu":
        parser.error(f"CPU seconds say nothing of what is done on {given.device}: use --seconds")
    data_dir, vocab_size = _standalone_data(given.data, given.device)
    amounts = {kind: getattr(given, kind, None) for kind in BudgetKind}
    chosen = [Budget(kind=kind, amount=amount) for kind, amount in amounts.items() if amount is not None]
    spec = ChildSpec(
        seed=given.seed,
        budget=chosen[0] if chosen else Budget(kind=BudgetKind.SECONDS, amount=20.0),
        device=given.device,
        threads=os.cpu_count() or 1,
        eval_rows=1,
        eval_seq_len=STANDALONE_SEQ_LEN,
        vocab_size=vocab_size,
        control_fd=-1,
        shm_fd=-1,
        state_fd=-1,
    )
    return spec, data_dir


def _best_device() -> str:
    # torch is asked only when the script has loaded it: a model of another kind should not pay two seconds for it.
    torch: Any = sys.modules.get("torch")
    if torch is None:
        return "cpu"
    return "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"


def _standalone_data(folder: Path | None, device: str) -> tuple[Path, int]:
    from rails.errors import UserError
    from trainer.data.prepare import (  # inside a trial there is nothing to prepare, and no time to import it
        DataSpec,
        prepare,
    )
    from trainer.data.shards import meta_int, read_meta
    from trainer.sight import seen_by_trials

    try:
        folder = prepare(DataSpec(), in_sight=seen_by_trials(device)).train_dir if folder is None else folder
        return folder, meta_int(read_meta(folder), "vocab_size")
    except UserError as error:
        raise SystemExit(str(error)) from error
