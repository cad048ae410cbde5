"""What a trial process is asked to do, and what a finished training amounts to."""

from dataclasses import dataclass, field
from pathlib import Path

from trainer.budget import Budget, Caps
from trainer.sandbox.levels import Isolation
from trainer.sandbox.permissions import Limits, Permissions, readable_paths
from trainer.trial.wire import Progress, Scalar, SharedLayout

CPU_EVAL_BYTES = 16 * 2**20
"""Logits of one request. A CPU answers small ones fastest, out of its caches: 64 MiB took it 1.7 times as long."""
ACCELERATOR_EVAL_BYTES = 256 * 2**20
CPU_EVAL_TOKENS = 4096
"""Tokens of one request to a CPU, for the same reason: with a small vocabulary the hidden layers are what must fit."""
MAX_EVAL_ROWS = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialSpec:
    """What to run.

    Args:
        source: the text of train.py.
        data_dir: its training data; it gets the files open, not the place.
        scratch_root: where its own, fresh folder is made.
        seed: of the training, not negative.
        budget: what training may spend.
        caps: how long each part may take.
        device: `cpu`, `cuda` or `mps`.
        threads: CPU threads, at least 1.
        vocab_size: width of the logits.
        eval_seq_len: length of the rows to score.
        limits: what the process may take of the machine.
        isolation: how it is kept apart.
        hidden: held-back files and their copies, which it may not read; see `trainer.data.held_back`.
        one_step_of: of a tryout: the budget that the program is told, of which it makes one step. None: no tryout.
    """

    source: str
    data_dir: Path
    scratch_root: Path
    seed: int
    budget: Budget
    vocab_size: int
    eval_seq_len: int
    limits: Limits
    caps: Caps = field(default_factory=Caps)
    device: str = "cpu"
    threads: int = 1
    isolation: Isolation = Isolation.L1
    hidden: tuple[Path, ...] = ()
    one_step_of: Budget | None = None

    def permissions(self, scratch: Path) -> Permissions:
        """What the process may do that works in `scratch`."""
        return Permissions(
            level=self.isolation,
            scratch=scratch,
            readable=readable_paths(self.device),
            hidden=self.hidden,
            device=self.device,
            limits=self.limits,
        )

    @property
    def layout(self) -> SharedLayout:
        """The memory shared for scoring: as many rows at a time as the device answers best."""
        cpu = self.device == "cpu"
        rows = (CPU_EVAL_BYTES if cpu else ACCELERATOR_EVAL_BYTES) // (4 * self.eval_seq_len * self.vocab_size)
        rows = min(rows, CPU_EVAL_TOKENS // self.eval_seq_len) if cpu else rows
        return SharedLayout(
            rows=min(MAX_EVAL_ROWS, max(1, rows)), seq_len=self.eval_seq_len, vocab_size=self.vocab_size
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainOutcome:
    """A finished training. Seconds are the parent's; counts, losses and the summary are what the process claims."""

    startup_s: float
    startup_cpu_s: float
    train_s: float
    cpu_s: float | None
    """CPU seconds of training, of all processes; None where they cannot all be counted."""
    steps: int
    tokens: int
    params: int
    flops: float
    device: str
    curve: tuple[Progress, ...]
    """At most ten points a second and the last step."""
    summary: dict[str, Scalar]
    peak_rss_bytes: int
    log_tail: str
