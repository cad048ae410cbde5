"""What it costs not to trust: scoring across the process boundary against scoring in the trainer's own process.

    python benchmarks/scoring.py [--tokens 131072] [--rounds 5] [--json] [--write]

The same briefly trained GPT (trainer/train.py, its default knobs) is scored twice, in turn: in this process by the loop
one would write (forward pass, cross-entropy), and in a real trial process by `TrialProcess.score`, which copies every
logit and counts by itself. Tokens are random: the cost does not depend on what they say. The plain loop runs with the
batch size of the trial process and with 8 rows, and the faster of the two is the one to compare with. Then the probes
are timed, blind places included: as of every trial, and as before a keep.
"""

import argparse
import contextlib
import json
import math
import os
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

os.environ.setdefault("GOMP_SPINCOUNT", "1000")  # read when torch is loaded; trial processes have it as well

import numpy as np
import torch
import torch.nn.functional as F

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from trainer import train
from trainer.budget import Budget, BudgetKind
from trainer.data.shards import EvalSet, SplitWriter, write_meta
from trainer.hardware import resolve_device, usable_cores
from trainer.launch.launcher import Launcher
from trainer.sandbox.levels import best_isolation
from trainer.sandbox.permissions import Limits
from trainer.scoring.blind import reserve
from trainer.scoring.probes import QUICK_CUTS, Depth, Probing, Sitting
from trainer.scoring.report import CAP_NATS
from trainer.scoring.witness import DEEP_CUTS, Witness
from trainer.session import Session
from trainer.tasks.gpt import PROFILES
from trainer.train import GPT, Knobs
from trainer.trial.process import TrialProcess
from trainer.trial.spec import TrialSpec
from trainer.trial.wire import ChildSpec

SHAPES = ((256, 512), (2048, 512), (8192, 512), (1024, 128))
"""Vocabulary and row length; the last is the CPU profile's."""
PLAIN_ROWS = 8
TRIAL_S = PROFILES["cpu"].budget_s
"""The CPU profile's budget, which the seconds of probing are compared with."""
STEPS = 10
PROGRAM = Path(train.__file__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Plain:
    """One way to score in the trainer's own process."""

    rows: int
    model: GPT

    @torch.inference_mode()
    def score(self, eval_set: EvalSet) -> float:
        """Bits per byte: forward, cross-entropy, sum."""
        nats, device = 0.0, self.model.embed.device
        token_bytes = torch.from_numpy(eval_set.token_bytes).to(device)
        for start in range(0, len(eval_set.rows), self.rows):
            batch = torch.from_numpy(eval_set.rows[start : start + self.rows].astype(np.int64)).to(device)
            logits, targets = self.model.logits(batch[:, :-1]), batch[:, 1:].flatten()
            costs = F.cross_entropy(logits.flatten(0, 1), targets, reduction="none")
            nats += float(costs[token_bytes[targets] > 0].double().sum())
        return nats / (math.log(2) * eval_set.total_bytes)


def made_up(folder: Path, vocab_size: int, seq_len: int, tokens: int) -> tuple[Path, EvalSet]:
    """Training data and rows to score, of random tokens as frequent as words are."""
    rng = np.random.default_rng(0)
    frequency = 1.0 / np.arange(1, vocab_size)
    frequency /= frequency.sum()
    data_dir = folder / f"data-{vocab_size}-{seq_len}"
    data_dir.mkdir()
    with SplitWriter(data_dir, "train", vocab_size) as writer:
        for _ in range(200):
            writer.add(rng.choice(vocab_size - 1, 1000, p=frequency).tolist())
        writer.close()
    write_meta(data_dir, {"vocab_size": vocab_size, "bos_id": vocab_size - 1})
    rows = rng.choice(vocab_size - 1, (max(1, tokens // seq_len), seq_len + 1), p=frequency).astype(np.int32)
    rows[:, 0] = vocab_size - 1
    token_bytes = np.full(vocab_size, 4, np.int32)
    token_bytes[-1] = 0
    return data_dir, EvalSet(rows, token_bytes)


def same_model(spec: TrialSpec) -> GPT:
    """The model of the trial process, trained once more in this one: seed and steps are the same."""
    told = ChildSpec(
        seed=spec.seed,
        budget=spec.budget,
        device=spec.device,
        threads=spec.threads,
        eval_rows=1,
        eval_seq_len=spec.eval_seq_len,
        vocab_size=spec.vocab_size,
        control_fd=-1,
        shm_fd=-1,
        state_fd=-1,
    )
    session = Session(told, standalone=True, data_dir=spec.data_dir)
    model = train.build(Knobs(), session)
    with contextlib.redirect_stdout(sys.stderr):
        train.train(model, Knobs(), session)
    return model.eval()


def seconds(function: Callable[..., object], *arguments: object) -> float:
    """How long one call takes, in seconds of wall time."""
    before = time.perf_counter()
    function(*arguments)
    return time.perf_counter() - before


def measure(folder: Path, launcher: Launcher, shape: tuple[int, int], options: argparse.Namespace) -> dict[str, Any]:
    """Both ways of scoring in turn, then the probes."""
    vocab_size, seq_len = shape
    data_dir, eval_set = made_up(folder, vocab_size, seq_len, options.tokens)
    spec = TrialSpec(
        source=PROGRAM.read_text(encoding="utf-8"),
        data_dir=data_dir,
        scratch_root=folder / "scratch",
        seed=0,
        budget=Budget(kind=BudgetKind.STEPS, amount=STEPS),
        vocab_size=vocab_size,
        eval_seq_len=seq_len,
        device=options.device,
        threads=options.threads,
        limits=Limits(memory_bytes=8 * 2**30),
        isolation=best_isolation(),
    )
    with TrialProcess.launch(spec, launcher) as process:
        process.train()
        model = same_model(spec)
        arms = {rows: Plain(rows=rows, model=model) for rows in dict.fromkeys((spec.layout.rows, PLAIN_ROWS))}
        plain_s: dict[int, list[float]] = {rows: [] for rows in arms}
        trusted_s: list[float] = []
        text = reserve(eval_set, b"benchmark")
        witness = Witness(text, spec.layout.rows, vocab_size)
        score = process.score(eval_set)
        shown = process.score(text.shown, witness.keep, text.sample)
        witness.costs = replace(witness.costs, shown=shown.costs)
        plain_bpb = [arm.score(eval_set) for arm in arms.values()]
        for _ in range(options.rounds):
            for rows, arm in arms.items():
                plain_s[rows].append(seconds(arm.score, eval_set))
            trusted_s.append(seconds(process.score, eval_set, lambda first, logits: None))
        probes = {}
        for cuts in (QUICK_CUTS, DEEP_CUTS):
            sitting = Sitting("val", witness, Depth(cuts=cuts, whole_blind=cuts == DEEP_CUTS))
            probing = Probing([sitting], tolerance_nats=CAP_NATS, limit_s=3600.0)
            (probes[cuts],) = probing.run(process, lambda: None, process.replica)
    plain = {rows: statistics.median(took) for rows, took in plain_s.items()}
    trusted = statistics.median(trusted_s)
    return {
        "vocab_size": vocab_size,
        "seq_len": seq_len,
        "rows": spec.layout.rows,
        "plain_s": plain,
        "trusted_s": trusted,
        "ratio": trusted / min(plain.values()),
        "bpb_difference": score.val_bpb - plain_bpb[0],
        "probe_s": {cuts: report.probe_s for cuts, report in probes.items()},
        "largest_effect_nats": max(
            max(report.suffix_nats, report.order_nats, report.replay_nats) for report in probes.values()
        ),
    }


def report(results: list[dict[str, Any]], options: argparse.Namespace) -> str:
    """The comparison as Markdown."""
    device = torch.cuda.get_device_name() if options.device == "cuda" else f"CPU ({platform.machine()})"
    lines: list[str] = []
    for found in results:
        cells = [
            str(found["vocab_size"]),
            str(found["seq_len"]),
            ", ".join(f"{took:.2f} ({rows} rows)" for rows, took in found["plain_s"].items()),
            f"{found['trusted_s']:.2f} ({found['rows']} rows)",
            f"**{found['ratio']:.2f}x**",
            f"{found['bpb_difference']:+.1e}",
            *(f"{took:.2f} s, {took / TRIAL_S:.0%}" for took in found["probe_s"].values()),
            f"{found['largest_effect_nats']:.1e}",
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(
        [
            f"# Trusted against in-process scoring: {device}, {options.threads} threads, isolation {best_isolation()}",
            "",
            f"`python benchmarks/scoring.py`, torch {torch.__version__}, {options.tokens:,} tokens, medians of "
            f"{options.rounds} runs each, in turn. Shares are of a trial of {TRIAL_S:g} s.",
            "",
            "| V | T | in-process, s | trusted, s | ratio | Δ bpb | "
            f"{QUICK_CUTS} cuts | {DEEP_CUTS:,} cuts | largest effect, nats |",
            "|---|---|---|---|---|---|---|---|---|",
            *lines,
            "",
        ]
    )


def main() -> None:
    """Parse, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="auto", choices=["auto", "cpu", "cuda"])
    parser.add_argument("--tokens", type=int, default=131_072)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=usable_cores())
    parser.add_argument("--shapes", type=int, nargs="*", default=range(len(SHAPES)), help="indices; default: all")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--write", action="store_true", help="also write benchmarks/results/scoring.md")
    options = parser.parse_args()
    options.device = resolve_device(options.device)
    source = PROGRAM.read_text(encoding="utf-8")
    with tempfile.TemporaryDirectory() as folder, Launcher.for_program(source, threads=options.threads) as launcher:
        results = [measure(Path(folder), launcher, SHAPES[index], options) for index in options.shapes]
    print(json.dumps(results) if options.json else report(results, options))
    if options.write:
        path = Path(__file__).parent / "results" / "scoring.md"
        path.write_text(report(results, options), encoding="utf-8")


if __name__ == "__main__":
    main()
