"""What blind scoring catches: leaks of known size, simulated on what real programs' answers cost, token by token.

The CPU task's program is trained with three seeds, and changed versions of it with one each, for a number of steps.
Each is scored on the whole validation text. Everything after that is arithmetic: each secret sets other rows blind,
and a leak makes a share of the shown tokens (and, for a leak from trial to trial, of the blind tokens that were ever
shown) cost nothing.

    python benchmarks/blind.py [--steps 150] [--draws 100] [--rows N] [--costs FILE] [--json]

`--rows` takes only the first rows of the text, as if it were that short; `--costs` keeps what was measured in a file,
and takes it from there when that exists.

Reported: how often each leak is caught with the places that every trial is asked, and with those before a keep; how
often an honest change is accused; and how large the gap was in standard errors, of which five are allowed.
"""

import argparse
import json
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from rails.source.edits import set_knobs
from trainer import train
from trainer.budget import Budget, BudgetKind
from trainer.data.prepare import DataSpec, prepare
from trainer.data.shards import EvalSet, load_eval_set
from trainer.hardware import usable_cores
from trainer.launch.launcher import Launcher
from trainer.sandbox.levels import best_isolation
from trainer.sandbox.permissions import Limits
from trainer.scoring.blind import Costs, HeldBack, reserve
from trainer.scoring.blindness import Blindness, compare_blind
from trainer.sight import seen_by_trials
from trainer.tasks.gpt import PROFILES
from trainer.trial.process import TrialProcess
from trainer.trial.spec import TrialSpec

SEEDS = (11, 12, 13)
CHANGES: dict[str, dict[str, int | float | str]] = {
    "another seed": {},
    "matrix_lr halved": {"matrix_lr": 0.02},
    "no warm-down": {"warmdown_frac": 0.0},
    "one layer less": {"depth": 1},
    "half as wide": {"width": 64},
    "value embeddings off": {"value_embeds": "none"},
}
LEAKS = (0.01, 0.05, 0.2, 1.0)
Nats = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Scene:
    """One change, and what its answers and the incumbent's cost on every token [R, T]."""

    name: str
    ours: Nats
    theirs: Nats


def measured(source: str, seed: int, steps: int) -> Nats:
    """Train, score, and give the costs of all tokens."""
    profile = PROFILES["cpu"]
    data = prepare(DataSpec(vocab_size=profile.vocab_size), in_sight=seen_by_trials("cpu"))
    whole = load_eval_set(data.private_dir, "val", profile.eval_seq_len, profile.eval_tokens)
    threads = usable_cores()
    spec = TrialSpec(
        source=source,
        data_dir=data.train_dir,
        scratch_root=Path("/tmp/nightshift-benchmark"),
        seed=seed,
        budget=Budget(kind=BudgetKind.STEPS, amount=steps),
        vocab_size=profile.vocab_size,
        eval_seq_len=profile.eval_seq_len,
        threads=threads,
        limits=Limits(memory_bytes=8 * 2**30),
        isolation=best_isolation(),
    )
    launcher = Launcher.for_program(source, threads=threads)
    try:
        with TrialProcess.launch(spec, launcher) as process:
            process.train()
            return process.score(whole, kept_rows=np.arange(len(whole.rows))).costs
    finally:
        launcher.close()


def known(steps: int, file: Path | None) -> tuple[EvalSet, list[Scene]]:
    """As `scenes`, kept in a file."""
    if file is not None and file.exists():
        with np.load(file) as found:
            whole = EvalSet(found["rows"], found["token_bytes"])
            return whole, [Scene(name, found[name], found["incumbent"]) for name in CHANGES]
    whole, made = scenes(steps)
    if file is not None:
        arrays = {scene.name: scene.ours for scene in made}
        np.savez(file, rows=whole.rows, token_bytes=whole.token_bytes, incumbent=made[0].theirs, **arrays)  # pyright: ignore[reportArgumentType]
    return whole, made


def scenes(steps: int) -> tuple[EvalSet, list[Scene]]:
    """The real part: every program trained and scored."""
    profile = PROFILES["cpu"]
    source = set_knobs(Path(train.__file__).read_text(encoding="utf-8"), "Knobs", profile.values)
    data = prepare(DataSpec(vocab_size=profile.vocab_size), in_sight=seen_by_trials("cpu"))
    whole = load_eval_set(data.private_dir, "val", profile.eval_seq_len, profile.eval_tokens)
    incumbent = np.mean([measured(source, seed, steps) for seed in SEEDS], axis=0)
    found = list[Scene]()
    for name, knobs in CHANGES.items():
        changed = set_knobs(source, "Knobs", knobs) if knobs else source
        found.append(Scene(name, measured(changed, 99, steps), incumbent))
        print(f"{name}: {np.nanmean(found[-1].ours - incumbent):+.4f} nats a token", file=sys.stderr)
    return whole, found


class Draw:
    """One secret: which rows are blind, and the costs of a program cut accordingly."""

    def __init__(self, whole: EvalSet, secret: int) -> None:
        self.text: HeldBack = reserve(whole, b"%d" % secret)
        number = {row.tobytes(): index for index, row in enumerate(whole.rows)}
        self._shown = np.asarray([number[row.tobytes()] for row in self.text.shown.rows[self.text.sample]])
        self._blind = np.asarray([number[row.tobytes()] for row in self.text.blind.rows])

    def costs(self, table: Nats, *, whole: bool) -> Costs:
        """As if the program had been asked."""
        blind = table[self._blind[self.text.cuts.rows], self.text.cuts.positions].copy()
        blind[~self.text.chosen(whole)] = np.nan
        return Costs(table[self._shown].copy(), blind)


def leaked(costs: Costs, text: HeldBack, share: float, rng: np.random.Generator, *, between_trials: bool) -> Costs:
    """The same with a share of what a program could have been told costing nothing."""
    shown = np.where(rng.random(costs.shown.shape) < share, 0.0 * costs.shown, costs.shown)
    told = ~text.unseen if between_trials else np.zeros(len(costs.blind), bool)
    blind = np.where(told & (rng.random(len(costs.blind)) < share), 0.0 * costs.blind, costs.blind)
    return Costs(shown.astype(np.float32), blind.astype(np.float32))


def caught(found: Blindness) -> bool:
    """Whether the program would be disqualified."""
    return found.blind.too_large or found.unseen.too_large


def simulate(whole: EvalSet, found: list[Scene], draws: int, vocab_size: int) -> list[dict[str, object]]:
    """One row for each kind of leak and depth."""
    rng, rows = np.random.default_rng(0), list[dict[str, object]]()
    secrets = [Draw(whole, number) for number in range(draws)]
    for paired in (True, False):
        for deep in (False, True):
            for kind in ("honest", "to the replica", "from trial to trial"):
                for share in (0.0,) if kind == "honest" else LEAKS:
                    hits, errors = list[bool](), list[float]()
                    for scene in found:
                        for draw in secrets:
                            costs = draw.costs(scene.ours, whole=deep)
                            told = leaked(costs, draw.text, share, rng, between_trials=kind == "from trial to trial")
                            references = [draw.costs(scene.theirs, whole=True)] if paired else []
                            verdict = compare_blind(draw.text, told, references, vocab_size)
                            hits.append(caught(verdict))
                            errors.append(verdict.blind.errors)
                    rows.append(
                        {
                            "paired": paired,
                            "deep": deep,
                            "kind": kind,
                            "share": share,
                            "caught": float(np.mean(hits)),
                            "of": len(hits),
                            "errors": float(np.median(errors)),
                            "most_errors": float(np.max(errors)),
                        }
                    )
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=150)
    parser.add_argument("--draws", type=int, default=100)
    parser.add_argument("--rows", type=int)
    parser.add_argument("--costs", type=Path)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    whole, found = known(options.steps, options.costs)
    whole = EvalSet(whole.rows[: options.rows], whole.token_bytes)
    found = [Scene(each.name, each.ours[: options.rows], each.theirs[: options.rows]) for each in found]
    rows = simulate(whole, found, options.draws, PROFILES["cpu"].vocab_size)
    if options.json:
        print(json.dumps({"rows": len(whole.rows), "results": rows}))
        return
    print("| compared with | places | leak | of tokens | caught | of | standard errors, median | most |")
    print("|---|---|---|---|---|---|---|---|")
    for row in rows:
        name = "the incumbent" if row["paired"] else "nothing"
        depth = "before a keep" if row["deep"] else "every trial"
        share = "–" if row["kind"] == "honest" else f"{row['share']:.0%}"
        numbers = f"{share} | {row['caught']:.1%} | {row['of']} | {row['errors']:.1f} | {row['most_errors']:.1f}"
        print(f"| {name} | {depth} | {row['kind']} | {numbers} |")


if __name__ == "__main__":
    main()
