"""Loss curves and scores of many configurations on shared seeds: what `early_stop.py` replays.

A recording has a starting point, late bloomers by name (wide and deep models, long warm-ups, small batches, low rates)
and random single-knob edits from the menu of the CPU task. All are trained without early stopping, each on every seed,
and scored by the trainer's own evaluator. On budgets that count no time a recording repeats to the last digit.

    python benchmarks/recordings/record.py NAME… [--folder benchmarks/recordings]

Names are those of `NIGHTS`. Each takes between three and ten minutes on one core.
"""

import argparse
import contextlib
import gzip
import json
import os
import random
import sys
import time
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

os.environ.setdefault("GOMP_SPINCOUNT", "1000")  # read when torch is loaded; trial processes have it as well
ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

import rails.bootstrap  # noqa: E402, F401  # isort: skip  # pyright: ignore[reportUnusedImport]
from agents.statistical.moves import MoveSpace  # noqa: E402
from benchmarks.pairs import program_at, scored  # noqa: E402
from benchmarks.shared.alone import spec_alone, train_alone  # noqa: E402
from rails.task import GptTask  # noqa: E402
from trainer.budget import Budget, BudgetKind  # noqa: E402
from trainer.data.prepare import DataSpec, prepare  # noqa: E402
from trainer.data.shards import load_eval_set  # noqa: E402
from trainer.session import REPORT_MARKS, Session  # noqa: E402
from trainer.sight import seen_by_trials  # noqa: E402
from trainer.tasks.gpt import PROFILES, render_task_toml  # noqa: E402
from trainer.trial.wire import ChildSpec  # noqa: E402

Edit = dict[str, Any]
EVAL_TOKENS = 16_384
"""Less than a real trial is scored on: half of the time would go there."""

LATE_BLOOMERS: tuple[Edit, ...] = (
    {"width": 192},
    {"width": 256},
    {"depth": 4},
    {"depth": 5},
    {"warmup_frac": 0.3},
    {"warmup_frac": 0.45},
    {"warmdown_frac": 0.9},
    {"batch_tokens": 512},
    {"matrix_lr": 0.015},
    {"embedding_lr": 0.2},
    {"adam_beta1": 0.95},
    {"mlp_ratio": 8},
)

DEAR: Mapping[BudgetKind, Mapping[str, int]] = {
    BudgetKind.STEPS: {"width": 128, "depth": 5, "batch_tokens": 2048},
    BudgetKind.TOKENS: {"width": 128, "depth": 5},
}
"""Larger values take several times as long as the rest, on budgets that do not stop them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Night:
    """What is recorded: the starting point beside the task's own, the budget, the seeds, how many random edits."""

    budget: Budget
    seeds: tuple[int, ...]
    start: Edit = field(default_factory=Edit)
    edits: int = 28


NIGHTS: Mapping[str, Night] = {
    "steps": Night(budget=Budget(kind=BudgetKind.STEPS, amount=60), seeds=(11, 12)),
    "slow": Night(
        budget=Budget(kind=BudgetKind.STEPS, amount=60),
        seeds=(21, 22),
        start={"matrix_lr": 0.02, "embedding_lr": 0.3, "unembedding_lr": 0.008, "warmdown_frac": 0.7},
        edits=24,
    ),
    "tokens": Night(
        budget=Budget(kind=BudgetKind.TOKENS, amount=61_440),
        seeds=(31, 32),
        start={"depth": 1, "seq_len": 64, "embed_std": 0.5},
        edits=24,
    ),
    "clock": Night(budget=Budget(kind=BudgetKind.CPU_SECONDS, amount=2.0), seeds=(41, 42)),
}


class Recorder(Session):
    """A stand-alone session that keeps its curve as the parent of a trial would be told it, at every mark."""

    def __init__(self, spec: ChildSpec, data_dir: Path) -> None:
        super().__init__(spec, standalone=True, data_dir=data_dir)
        self.shares: list[float] = []
        self.losses: list[float] = []
        self._since: list[float] = []

    def step(self, loss: float, tokens: int) -> None:
        """See `Session`."""
        super().step(loss, tokens)
        self._since.append(loss)
        passed = int(REPORT_MARKS * self.shares[-1] + 1e-9) if self.shares else 0
        if int(REPORT_MARKS * self.progress + 1e-9) > passed:
            self.shares.append(round(self.progress, 4))
            self.losses.append(round(sum(self._since) / len(self._since), 5))
            self._since.clear()


class Bench:
    """Trains and scores edits of the CPU task under one budget."""

    def __init__(self, budget: Budget) -> None:
        profile = PROFILES["cpu"]
        self._budget, self._profile = budget, profile
        corpus = DataSpec(corpus=profile.corpus, vocab_size=profile.vocab_size)
        self._data = prepare(corpus, in_sight=seen_by_trials(profile.device))
        self._text = load_eval_set(self._data.private_dir, "val", profile.eval_seq_len, EVAL_TOKENS)
        self._program = program_at(ROOT / "trainer" / "train.py")

    def trained(self, edit: Edit, seed: int) -> dict[str, Any]:
        """One training: its curve, its score and its seconds.

        Raises:
            SystemExit: it diverged.
        """
        knobs = self._program.Knobs(**{**self._profile.values, **edit})
        spec = spec_alone(self._profile, seed, self._budget, threads=1)
        session, started = Recorder(spec, self._data.train_dir), time.process_time()
        model = train_alone(self._program, knobs, session)
        seconds = time.process_time() - started
        score = round(scored(model.eval(), self._text), 5)
        return {"score": score, "train_s": round(seconds, 2), "share": session.shares, "loss": session.losses}


def edits_of(night: Night) -> list[Edit]:
    """The starting point, late bloomers and random edits, each once, those in an order of the night's own."""
    rng = random.Random(night.seeds[0])
    task = GptTask.model_validate(tomllib.loads(render_task_toml(PROFILES["cpu"])))
    space = MoveSpace(task.menu, {**task.menu.defaults(), **night.start})
    dear = DEAR.get(night.budget.kind, {})
    random_edits: list[Edit] = []
    while len(random_edits) < night.edits:
        name = rng.choice(space.names)
        value = space.draw(name, rng)
        within = name not in dear or (isinstance(value, int) and value <= dear[name])
        edit = {name: value}
        if name != "device_batch_tokens" and within and space.legal(name, value) and edit not in random_edits:
            random_edits.append(edit)
    late = [edit for edit in LATE_BLOOMERS if all(space.legal(*item) for item in edit.items())]
    rest = [*late, *(edit for edit in random_edits if edit not in late)]
    rng.shuffle(rest)
    return [{}, *rest]


def record(night: Night) -> dict[str, Any]:
    """Train everything of a night, in this process."""
    bench = Bench(night.budget)
    rows: list[dict[str, Any]] = []
    for edit in edits_of(night):
        runs: list[dict[str, Any]] = []
        with contextlib.suppress(SystemExit):  # diverged: such a trial is a failure, and is not replayed
            for seed in night.seeds:
                runs.append(bench.trained({**night.start, **edit}, seed))
        print(edit, [(run["score"], run["train_s"]) for run in runs], file=sys.stderr, flush=True)
        if len(runs) == len(night.seeds):
            rows.append({"edit": edit, "runs": runs})
    budget = {"kind": night.budget.kind.value, "amount": night.budget.amount}
    return {"budget": budget, "start": night.start, "seeds": list(night.seeds), "rows": rows}


def main() -> None:
    """Record the nights that are named."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", nargs="+", choices=list(NIGHTS))
    parser.add_argument("--folder", type=Path, default=Path(__file__).parent / "recordings")
    options = parser.parse_args()
    for name in options.name:
        text = json.dumps(record(NIGHTS[name]), separators=(",", ":"))
        path: Path = options.folder / f"{name}.json.gz"
        path.write_bytes(gzip.compress(text.encode(), mtime=0))
        print(f"{path}: {path.stat().st_size} bytes")


if __name__ == "__main__":
    main()
