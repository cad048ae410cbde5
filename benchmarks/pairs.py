"""What pairing is worth: programs that differ by one edit, trained with the same seeds.

Two programs that draw the same random numbers see the same luck, so their difference is less noisy than either. How
much less depends on the edit, and on how a program spends its random numbers. Each edit is trained beside the unedited
program on the same seeds, and the difference compared by seed.

    python benchmarks/pairs.py [--seeds 8] [--steps 50] [--program FILE]... [--edits NAME=VALUE]... [--json] [--write]

With several programs (two versions of train.py, say) they are trained in turn, so that each can be compared with the
one before. Trainings run in this process with the knobs of the CPU profile, on a budget of steps, and are scored by the
trainer's own evaluator.
"""

import argparse
import hashlib
import importlib.util
import json
import os
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

os.environ.setdefault("GOMP_SPINCOUNT", "1000")  # read when torch is loaded; trial processes have it as well

import numpy as np
import torch

# Run as a script, this file's own folder comes first on the path, and it has a `trainer` too.
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.shared.alone import spec_alone, train_alone
from trainer.budget import Budget, BudgetKind
from trainer.data.prepare import DataSpec, PreparedData, prepare
from trainer.data.shards import EvalSet, load_eval_set
from trainer.scoring.evaluate import Tally
from trainer.session import Session
from trainer.sight import seen_by_trials
from trainer.tasks.gpt import PROFILES, Profile, Value

ROOT = Path(__file__).resolve().parent.parent
SCORED_ROWS = 16
EDITS = (
    "depth=1",
    "width=64",
    "head_dim=32",
    "value_embeds=none",
    "matrix_lr=0.02",
    "embedding_lr=0.3",
    "warmdown_frac=0.7",
    "batch_tokens=1024",
    "seq_len=128",
    "softcap=30.0",
    "shift_init=0.2",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Pairs:
    """How one edit compares with the unedited program, over seeds.

    Attributes:
        gain: of the mean score, relative; better is positive.
        sd: of the edited program's score over seeds, relative.
        sd_difference: of the paired difference, relative.
        correlation: of the two scores over seeds.
        saved: how many times fewer measurements the paired difference needs than the unpaired one.
    """

    edit: str
    gain: float
    sd: float
    sd_difference: float
    correlation: float
    saved: float


def program_at(path: Path) -> ModuleType:
    """A version of train.py as a module of its own."""
    name = f"program_{hashlib.sha256(str(path.resolve()).encode()).hexdigest()[:8]}"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None and spec.loader is not None, f"{path} is no Python file"
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


class Bench:
    """Trains and scores versions of train.py under one profile.

    Args:
        profile: data, text to score and knob values.
        steps: of a training.
        threads: of a training.
    """

    def __init__(self, profile: Profile, steps: int, threads: int) -> None:
        self._profile, self._steps, self._threads = profile, steps, threads
        corpus = DataSpec(corpus=profile.corpus, vocab_size=profile.vocab_size)
        self._data: PreparedData = prepare(corpus, in_sight=seen_by_trials(profile.device))
        self._text = load_eval_set(self._data.private_dir, "val", profile.eval_seq_len, profile.eval_tokens)

    def bits_per_byte(self, program: ModuleType, edit: dict[str, Value], seed: int) -> float:
        """Train the program with an edit and score it."""
        knobs = program.Knobs(**{**self._profile.values, **edit})
        budget = Budget(kind=BudgetKind.STEPS, amount=self._steps)
        spec = spec_alone(self._profile, seed, budget, self._threads)
        session = Session(spec, standalone=True, data_dir=self._data.train_dir)
        return scored(train_alone(program, knobs, session).eval(), self._text)


def scored(model: Any, text: EvalSet) -> float:
    """Bits per byte, by the evaluator of real trials."""
    tally = Tally(text.token_bytes)
    for start in range(0, len(text.rows), SCORED_ROWS):
        rows = text.rows[start : start + SCORED_ROWS]
        tally.add(model.logits(torch.from_numpy(rows[:, :-1].astype(np.int64))).numpy(), rows[:, 1:])
    return tally.score(0.0, 0.0).val_bpb


def parsed(edit: str, program: ModuleType) -> dict[str, Value]:
    """`name=value` as the knob's own type."""
    name, _, value = edit.partition("=")
    return {name: type(getattr(program.Knobs(), name))(value)}


def compare(bench: Bench, programs: list[ModuleType], edits: list[str], seeds: int) -> list[list[Pairs]]:
    """For each program one row an edit. All are trained seed by seed, in turn."""
    scores = np.empty((len(programs), 1 + len(edits), seeds))
    for seed in range(seeds):
        for number, edit in enumerate(["", *edits]):
            for place, program in enumerate(programs):
                change = parsed(edit, program) if edit else {}
                scores[place, number, seed] = bench.bits_per_byte(program, change, seed)
            print(f"seed {seed} {edit or 'unedited'}: {scores[:, number, seed].round(4)}", file=sys.stderr, flush=True)
    return [
        [pairs(edit, of_program[0], of_edit) for edit, of_edit in zip(["", *edits], of_program, strict=True)]
        for of_program in scores
    ]


def pairs(edit: str, before: np.ndarray[Any, Any], after: np.ndarray[Any, Any]) -> Pairs:
    """The statistics of one edit from the scores by seed."""
    level = float(before.mean())
    difference = float((after - before).std(ddof=1)) / level
    unpaired = float(before.var(ddof=1) + after.var(ddof=1)) / level**2
    return Pairs(
        edit=edit or "unedited",
        gain=float(1 - after.mean() / level),
        sd=float(after.std(ddof=1)) / level,
        sd_difference=difference,
        correlation=float(np.corrcoef(before, after)[0, 1]),
        saved=unpaired / difference**2 if difference else float("inf"),
    )


def report(found: dict[str, list[Pairs]], options: argparse.Namespace) -> str:
    """The comparison as Markdown, the programs beside each other."""
    names = list(found)
    head = "".join(f" {name}: sd | sd of pairs | r | saved |" for name in names)
    lines = [f"| edit | gain |{head}", "|---|---|" + "---|---|---|---|" * len(names)]
    for rows in zip(*found.values(), strict=True):
        cells = "".join(
            f" {row.sd:.2%} | – | – | – |"
            if row.edit == "unedited"
            else f" {row.sd:.2%} | {row.sd_difference:.2%} | {row.correlation:+.2f} | {row.saved:.1f}x |"
            for row in rows
        )
        lines.append(f"| {rows[-1].edit} | {rows[-1].gain:+.2%} |{cells}")
    threads = f"{options.threads} thread{'s' if options.threads > 1 else ''}"
    return "\n".join(
        [
            f"# What pairing is worth: {options.steps} steps, {options.seeds} seeds, {threads}",
            "",
            f"`python benchmarks/pairs.py`, torch {torch.__version__}. Gain, sd and sd of pairs (of the difference on "
            "one seed) relative to the unedited program's mean; r: correlation over seeds; saved: how many times fewer "
            "measurements the paired difference needs. The gain is that of the last program.",
            "",
            *lines,
            "",
        ]
    )


def main() -> None:
    """Parse, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--program", type=Path, action="append", help="a version of train.py; default: this one")
    parser.add_argument("--edits", nargs="*", default=list(EDITS), metavar="NAME=VALUE")
    parser.add_argument("--seeds", type=int, default=8)
    parser.add_argument("--steps", type=int, default=50)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--write", action="store_true", help="also write benchmarks/results/pairs.md")
    options = parser.parse_args()
    paths: list[Path] = options.program or [ROOT / "trainer" / "train.py"]
    bench = Bench(PROFILES["cpu"], options.steps, options.threads)
    rows = compare(bench, [program_at(path) for path in paths], options.edits, options.seeds)
    found = {path.stem: of_program for path, of_program in zip(paths, rows, strict=True)}
    text = report(found, options)
    print(json.dumps({name: [asdict(row) for row in rows] for name, rows in found.items()}) if options.json else text)
    if options.write:
        (Path(__file__).parent / "results" / "pairs.md").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
