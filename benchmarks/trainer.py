"""The trainer against the loop one would write first: same shape, data, threads and seconds, one after the other.

    python benchmarks/trainer.py [--seconds 20] [--rounds 2] [--json] [--write]

The plain loop is a GPT of the same depth, width, heads, vocabulary and batch with LayerNorm, GELU, learned positions
and AdamW, eager, in float32. The two take turns, so that whatever else the machine does hits both. Both are scored by
the trainer's own evaluator on the same validation rows.
"""

import argparse
import contextlib
import json
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

# Waiting threads spin shortly, then sleep: beside another busy process long spinning costs either loop a factor of 30.
# Read when torch is loaded.
os.environ.setdefault("GOMP_SPINCOUNT", "1000")

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

# Run as a script, this file's own folder comes first on the path, and this file is called `trainer` too.
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from trainer import train
from trainer.budget import Budget, BudgetKind
from trainer.data.prepare import DataSpec, PreparedData, prepare
from trainer.data.shards import EvalSet, load_eval_set
from trainer.hardware import peak_flops, resolve_device, usable_cores
from trainer.scoring.evaluate import Tally
from trainer.session import Int64, Session
from trainer.sight import seen_by_trials
from trainer.tasks.gpt import PROFILES, Profile
from trainer.train import Knobs
from trainer.trial.wire import ChildSpec

SCORED_ROWS = 32
PLAIN_LR = 1e-3
"""The best of 3e-4, 6e-4, 1e-3, 2e-3, 4e-3 and 8e-3 for the plain loop after 150 steps on the CPU."""


class PlainBlock(nn.Module):
    """Pre-norm block as in GPT-2."""

    def __init__(self, knobs: Knobs) -> None:
        super().__init__()
        D, self.heads = knobs.width, knobs.width // knobs.head_dim
        self.norm_1, self.norm_2 = nn.LayerNorm(D), nn.LayerNorm(D)
        self.qkv, self.out = nn.Linear(D, 3 * D), nn.Linear(D, D)
        self.mlp = nn.Sequential(nn.Linear(D, knobs.mlp_ratio * D), nn.GELU(), nn.Linear(knobs.mlp_ratio * D, D))

    def forward(self, x_BTD: Tensor) -> Tensor:
        """[B, T, D] to [B, T, D]."""
        B, T, D = x_BTD.shape
        q, k, v = (
            part.view(B, T, self.heads, D // self.heads).transpose(1, 2)
            for part in self.qkv(self.norm_1(x_BTD)).chunk(3, dim=-1)
        )
        mixed = F.scaled_dot_product_attention(q, k, v, is_causal=True).transpose(1, 2).reshape(B, T, D)
        x_BTD = x_BTD + self.out(mixed)
        return x_BTD + self.mlp(self.norm_2(x_BTD))


class PlainGPT(nn.Module):
    """GPT-2 in miniature."""

    def __init__(self, knobs: Knobs, vocab_size: int, positions: int) -> None:
        super().__init__()
        self.token, self.position = nn.Embedding(vocab_size, knobs.width), nn.Embedding(positions, knobs.width)
        self.blocks = nn.Sequential(*(PlainBlock(knobs) for _ in range(knobs.depth)))
        self.norm = nn.LayerNorm(knobs.width)
        self.head = nn.Linear(knobs.width, vocab_size, bias=False)
        for param in self.parameters():
            if param.ndim == 2:
                nn.init.normal_(param, std=0.02)

    def forward(self, tokens_BT: Tensor) -> Tensor:
        """Logits [B, T, V]."""
        x_BTD = self.token(tokens_BT) + self.position.weight[: tokens_BT.size(1)]
        return self.head(self.norm(self.blocks(x_BTD)))


def train_plain(knobs: Knobs, session: Session) -> nn.Module:
    """The loop one would write first."""
    torch.manual_seed(session.seed)
    torch.set_num_threads(session.threads)
    torch.set_float32_matmul_precision("highest")
    model = PlainGPT(knobs, session.vocab_size, max(knobs.seq_len, session.eval_seq_len)).to(session.device)
    optimizer = torch.optim.AdamW(model.parameters(), lr=PLAIN_LR, betas=(0.9, 0.95), weight_decay=0.1)
    rows = min(knobs.batch_tokens, knobs.device_batch_tokens) // knobs.seq_len
    session.start(params=sum(param.numel() for param in model.parameters()), flops_per_token=1.0)
    for inputs, targets in session.batches(rows, knobs.seq_len):
        logits = model(torch.from_numpy(inputs).to(session.device))
        loss = F.cross_entropy(logits.flatten(0, 1), torch.from_numpy(targets).to(session.device).flatten())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        session.step(loss.item(), inputs.size)
        if session.done:
            return model
    raise AssertionError("batches never end")


def train_ours(knobs: Knobs, session: Session) -> nn.Module:
    """The trainer's own."""
    model = train.build(knobs, session)
    train.train(model, knobs, session)
    return model


class TimedSession(Session):
    """A stand-alone session that also knows how long its batches took."""

    def __init__(self, spec: ChildSpec, data_dir: Path) -> None:
        super().__init__(spec, standalone=True, data_dir=data_dir)
        self.batch_s, self.trained_s, self.steps, self.tokens = 0.0, 0.0, 0, 0

    def batches(self, rows: int, seq_len: int) -> Iterator[tuple[Int64, Int64]]:
        """As the session's, timed."""
        batches = super().batches(rows, seq_len)
        while True:
            before = time.perf_counter()
            batch = next(batches)
            if self.steps:  # the first batch packs the first window: once a training, not once a step
                self.batch_s += time.perf_counter() - before
            yield batch

    def step(self, loss: float, tokens: int) -> None:
        """As the session's, counted."""
        self.steps, self.tokens, self.trained_s = self.steps + 1, self.tokens + tokens, self.elapsed_s
        super().step(loss, tokens)


@dataclass(frozen=True, slots=True, kw_only=True)
class Arm:
    """What one training came to. `mfu` and `peak_bytes` are of a CUDA device, None elsewhere."""

    tokens_per_s: float
    ms_per_step: float
    steps: int
    val_bpb: float
    data_share: float
    mfu: float | None
    peak_bytes: int | None


def run_arm(
    train_one: Callable[[Knobs, Session], nn.Module], knobs: Knobs, session: TimedSession, eval_set: EvalSet
) -> Arm:
    """Train once and score."""
    cuda = session.device == "cuda"
    if cuda:
        torch.cuda.reset_peak_memory_stats()
    model = train_one(knobs, session).eval()
    tokens_per_s = session.tokens / session.trained_s
    peak = peak_flops(torch.cuda.get_device_name()) if cuda else None
    return Arm(
        tokens_per_s=tokens_per_s,
        ms_per_step=1e3 * session.trained_s / session.steps,
        steps=session.steps,
        val_bpb=score(model, eval_set, session.device),
        data_share=session.batch_s / session.trained_s,
        mfu=tokens_per_s * train.flops_per_token(knobs, session.vocab_size) / peak if peak else None,
        peak_bytes=torch.cuda.max_memory_allocated() if cuda else None,
    )


@torch.inference_mode()
def score(model: nn.Module, eval_set: EvalSet, device: str) -> float:
    """Bits per byte, by the evaluator of real trials."""
    tally = Tally(eval_set.token_bytes)
    for start in range(0, len(eval_set.rows), SCORED_ROWS):
        rows = eval_set.rows[start : start + SCORED_ROWS]
        tokens = torch.from_numpy(rows[:, :-1].astype(np.int64)).to(device)
        logits = model.logits(tokens) if isinstance(model, train.GPT) else model(tokens).float()
        tally.add(logits.cpu().numpy(), rows[:, 1:])
    return tally.score(0.0, 0.0).val_bpb


def compare(profile: Profile, data: PreparedData, options: argparse.Namespace) -> dict[str, Any]:
    """Both arms, `rounds` times in turn; medians, and every run."""
    eval_set = load_eval_set(data.private_dir, "val", profile.eval_seq_len, profile.eval_tokens)
    knobs = Knobs(**profile.values)  # pyright: ignore[reportArgumentType]  # the profile's tests hold the types together
    arms: dict[str, list[Arm]] = {"ours": [], "plain": []}
    for seed in range(options.rounds):
        spec = ChildSpec(
            seed=seed,
            budget=Budget(kind=BudgetKind.SECONDS, amount=options.seconds or profile.budget_s),
            device=profile.device,
            threads=options.threads or usable_cores(),
            eval_rows=1,
            eval_seq_len=profile.eval_seq_len,
            vocab_size=profile.vocab_size,
            control_fd=-1,
            shm_fd=-1,
            state_fd=-1,
        )
        for name, train_one in (("ours", train_ours), ("plain", train_plain)):
            with contextlib.redirect_stdout(sys.stderr):
                print(f"--- {name}, seed {seed}")
                arms[name].append(run_arm(train_one, knobs, TimedSession(spec, data.train_dir), eval_set))
    fields = ("tokens_per_s", "ms_per_step", "val_bpb", "data_share", "mfu", "peak_bytes")
    medians = {
        name: {field: _median([getattr(arm, field) for arm in runs]) for field in fields} for name, runs in arms.items()
    }
    return {
        "device": torch.cuda.get_device_name() if profile.device == "cuda" else f"CPU ({platform.machine()})",
        "threads": options.threads or usable_cores(),
        "seconds": options.seconds or profile.budget_s,
        "torch": torch.__version__,
        "medians": medians,
        "tokens_per_s_ratio": medians["ours"]["tokens_per_s"] / medians["plain"]["tokens_per_s"],
        "val_bpb_difference": medians["ours"]["val_bpb"] - medians["plain"]["val_bpb"],
        "runs": {name: [asdict(arm) for arm in runs] for name, runs in arms.items()},
    }


def _median(values: list[Any]) -> Any:
    return None if None in values else statistics.median(values)


def report(result: dict[str, Any]) -> str:
    """The comparison as Markdown."""
    head = (
        f"# Trainer against a plain loop: {result['device']}, {result['threads']} threads, {result['seconds']:g} s each"
    )
    rounds = len(result["runs"]["ours"])
    rows = [
        f"| {name} | {m['tokens_per_s']:,.0f} | {m['ms_per_step']:.1f} | {m['val_bpb']:.4f} | {m['data_share']:.2%} | "
        f"{'–' if m['mfu'] is None else format(m['mfu'], '.1%')} | "
        f"{'–' if m['peak_bytes'] is None else format(m['peak_bytes'] / 1e9, '.2f') + ' GB'} |"
        for name, m in result["medians"].items()
    ]
    return "\n".join(
        [
            head,
            "",
            f"`python benchmarks/trainer.py`, torch {result['torch']}, medians of {rounds} runs each, in turn.",
            "",
            "| | tokens/s | ms a step | val bpb | data path | MFU | peak memory |",
            "|---|---|---|---|---|---|---|",
            *rows,
            "",
            f"**{result['tokens_per_s_ratio']:.2f}x tokens/s, {result['val_bpb_difference']:+.4f} bpb.**",
            "",
        ]
    )


def main() -> None:
    """Parse, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="auto", choices=["auto", "cpu", "cuda"])
    parser.add_argument("--seconds", type=float, default=0.0, help="of each training; 0: the profile's budget")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--threads", type=int, default=0, help="0: all")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--write", action="store_true", help="also write benchmarks/results/trainer_<device>.md")
    options = parser.parse_args()
    profile = PROFILES["cuda" if resolve_device(options.device) == "cuda" else "cpu"]
    data = prepare(
        DataSpec(corpus=profile.corpus, vocab_size=profile.vocab_size), in_sight=seen_by_trials(profile.device)
    )
    result = compare(profile, data, options)
    print(json.dumps(result) if options.json else report(result))
    if options.write:
        path = Path(__file__).parent / "results" / f"trainer_{profile.device}.md"
        path.parent.mkdir(exist_ok=True)
        path.write_text(report(result), encoding="utf-8")


if __name__ == "__main__":
    main()
