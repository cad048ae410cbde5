"""What a new workspace starts from, per class of device: knob values, the menu around them, and the rest of task.toml.

One table describes every knob once: its type, what a proposal may set it to, its value on a CPU, and one line for the
model that proposes. The CUDA profile states only what is different there.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from trainer.tasks.specialists import render_specialists

Value = int | float | str
DeviceClass = Literal["cpu", "cuda"]


@dataclass(frozen=True, slots=True)
class MenuEntry:
    """One knob: where it starts and what it may be set to.

    Attributes:
        default: the value that the profile's train.py starts from; its type is the knob's.
        allowed: a list of the choices, or a tuple (lowest, highest).
        doc: what it does and which way to move it, for a small language model.
    """

    default: Value
    allowed: list[Value] | tuple[float, float]
    doc: str

    @property
    def type_name(self) -> str:
        """`int`, `float` or `str`."""
        return type(self.default).__name__


@dataclass(frozen=True, slots=True)
class Rule:
    """A condition over several knobs that every proposal must keep."""

    name: str
    rule: str
    doc: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """The starting point for one class of device.

    Attributes:
        budget_kind: what the budget of a trial counts: seconds of the wall clock, or of computing.
        budget_s: how many of them.
        threads: CPU threads of a trial; 0: one for each core.
        memory: expression over the knobs for the peak memory of a trial in bytes: of the process on a CPU, of the
            device on CUDA.
        memory_of: what `memory` is about, for the comment in task.toml.
        threads: CPU threads of a trial; 0: all.
        side_by_side: trainings of one program at once.
        baseline_seeds: measurements of the starting point.
        final_seeds: fresh seeds for the result.
    """

    device: DeviceClass
    budget_kind: Literal["seconds", "cpu_seconds"]
    budget_s: float
    threads: int
    side_by_side: int
    baseline_seeds: int
    final_seeds: int
    corpus: str
    vocab_size: int
    eval_seq_len: int
    eval_tokens: int
    min_gain: float
    knobs: Mapping[str, MenuEntry]
    rules: tuple[Rule, ...]
    memory: str
    memory_of: str

    @property
    def values(self) -> dict[str, Value]:
        """The knob values of the profile's train.py."""
        return {name: entry.default for name, entry in self.knobs.items()}


# What usually pays stands first: proposers that read no text try knobs in this order. It is that of two screenings of
# single moves on the CPU at equal CPU time (docs/decisions/0015), and, where they showed nothing, of what short
# trainings are known to be sensitive to (sizes and rates before initial values, windows and decay).
_CPU_KNOBS: dict[str, MenuEntry] = {
    "width": MenuEntry(128, [32, 64, 96, 128, 192, 256], "size of the residual stream; a multiple of head_dim"),
    "depth": MenuEntry(2, (1, 8), "transformer blocks; fewer means faster steps and so more of them in the budget"),
    "seq_len": MenuEntry(256, [64, 128, 256, 512], "tokens of a training row; batch_tokens stays, so rows change"),
    "batch_tokens": MenuEntry(
        2048, [512, 1024, 2048, 4096, 8192], "tokens of one optimizer step; larger: fewer steps, cleaner gradients"
    ),
    "unembedding_lr": MenuEntry(0.016, (0.0005, 0.1), "AdamW learning rate of the output head"),
    "matrix_lr": MenuEntry(0.04, (0.002, 0.2), "Muon learning rate of attention and MLP matrices"),
    "embedding_lr": MenuEntry(0.6, (0.02, 3.0), "AdamW learning rate of token and value embeddings"),
    "mlp_ratio": MenuEntry(4, (1, 8), "MLP hidden size / width; smaller is faster, larger stores more"),
    "adam_beta1": MenuEntry(0.8, (0.5, 0.98), "AdamW memory of the gradient"),
    "head_dim": MenuEntry(64, [16, 32, 64, 128], "size of one attention head; heads = width / head_dim"),
    "warmdown_frac": MenuEntry(0.5, (0.0, 1.0), "share of the budget in which the learning rate falls at the end"),
    "shift_init": MenuEntry(0.0, (0.0, 1.0), "share of the previous token that first enters each token's embedding"),
    "scalar_lr": MenuEntry(0.05, (0.001, 1.0), "AdamW learning rate of residual mixing weights and gates"),
    "ns_steps": MenuEntry(5, (1, 5), "orthogonalisation steps of Muon; fewer is faster and rougher"),
    "value_embeds": MenuEntry(
        "alternate", ["none", "alternate", "all"], "which layers add token embeddings to their attention values"
    ),
    "embed_std": MenuEntry(1.0, (0.05, 3.0), "initial size of token embeddings; smaller lets them move sooner"),
    "matrix_scale": MenuEntry(1.0, (0.1, 3.0), "initial size of matrices; 1 keeps the variance"),
    "muon_momentum": MenuEntry(0.95, (0.5, 0.99), "Muon memory of the gradient"),
    "x0_init": MenuEntry(0.1, (0.0, 1.0), "share of the token embedding that first enters every layer's input"),
    "adam_beta2": MenuEntry(0.95, (0.8, 0.999), "AdamW memory of the squared gradient"),
    "softcap": MenuEntry(15.0, (5.0, 60.0), "logits are squeezed into (-softcap, softcap); larger squeezes less"),
    "warmup_frac": MenuEntry(0.05, (0.0, 0.5), "share of the budget in which the learning rate rises from 0"),
    "head_std": MenuEntry(0.001, (0.0001, 0.1), "initial size of the output head"),
    "window_pattern": MenuEntry(
        "L", ["L", "SL", "SSL", "SSSL"], "attention by layer, repeated: S = short window, L = all; the last layer is L"
    ),
    "short_window": MenuEntry(64, [16, 32, 64, 128], "tokens an S layer sees; without an S layer it does nothing"),
    "weight_decay": MenuEntry(0.2, (0.0, 1.0), "decoupled decay of matrices"),
    "final_lr_frac": MenuEntry(0.0, (0.0, 0.5), "learning rate at the very end, as a share of the full one"),
    "rope_base": MenuEntry(10000.0, (500.0, 1000000.0), "base of the rotary wave lengths; larger reaches further back"),
    "device_batch_tokens": MenuEntry(
        8192, [1024, 2048, 4096, 8192, 16384], "most tokens in one pass; only speed and memory, not the result"
    ),
}


def _changed(
    entries: Mapping[str, MenuEntry], changes: Mapping[str, tuple[Value, list[Value]] | Value]
) -> dict[str, MenuEntry]:
    """The entries with other defaults, and other choices where they are given too."""
    changed = dict(entries)
    for name, change in changes.items():
        default, allowed = change if isinstance(change, tuple) else (change, entries[name].allowed)
        changed[name] = replace(entries[name], default=default, allowed=allowed)
    return changed


_CUDA_KNOBS = _changed(
    _CPU_KNOBS,
    {
        "depth": (8, [2, 4, 6, 8, 10, 12, 16]),
        "width": (512, [256, 384, 512, 640, 768, 1024]),
        "head_dim": (128, [64, 128, 256]),
        "short_window": (512, [128, 256, 512, 1024]),
        "seq_len": (2048, [512, 1024, 2048, 4096]),
        "batch_tokens": (131072, [32768, 65536, 131072, 262144, 524288]),
        "device_batch_tokens": (32768, [8192, 16384, 32768, 65536, 131072]),
        "unembedding_lr": 0.004,
    },
)

_RULES = (
    Rule("heads_fill_width", "width % head_dim == 0", "a whole number of heads"),
    Rule("rows_fill_pass", "min(batch_tokens, device_batch_tokens) % seq_len == 0", "whole rows in a pass"),
    Rule("passes_fill_batch", "batch_tokens % min(batch_tokens, device_batch_tokens) == 0", "whole passes in a step"),
    Rule("window_in_row", "short_window <= seq_len", "a short window is no longer than a row"),
    Rule("schedule_fits", "warmup_frac + warmdown_frac <= 1", "warm-up ends before warm-down begins"),
)

_TABLES = "(2 + (0 if value_embeds == 'none' else depth if value_embeds == 'all' else (depth + 1) // 2))"
_WEIGHTS = "(depth * (4 + 2 * mlp_ratio) * width ** 2 + {vocab_size} * width * " + _TABLES + ")"
_PASS = "min(batch_tokens, device_batch_tokens)"
# Torch itself; a weight with its gradient and two averages; what a pass keeps for its way back. Fitted to the peak
# resident memory of 13 configurations on the CPU, each within 3 %; scoring needs no more than training.
_CPU_MEMORY = (
    f"293e6 + 17 * {_WEIGHTS} + {_PASS} * "
    "(width * (92 + depth * (59 + 19 * mlp_ratio)) + 4.7 * depth * (width // head_dim) * seq_len)"
)
# The same for a GPU, without stored attention scores and with larger slices of the loss. Not measured: rather high.
_CUDA_MEMORY = f"3.5e9 + 16 * {_WEIGHTS} + {_PASS} * width * (80 + depth * (40 + 10 * mlp_ratio))"

PROFILES: dict[DeviceClass, Profile] = {
    "cpu": Profile(
        device="cpu",
        budget_kind="cpu_seconds",
        budget_s=5.0,
        threads=1,
        side_by_side=2,
        baseline_seeds=6,
        final_seeds=4,
        corpus="stdlib",
        vocab_size=1024,
        eval_seq_len=128,
        eval_tokens=32_768,
        min_gain=0.01,
        knobs=_CPU_KNOBS,
        rules=_RULES,
        memory=_CPU_MEMORY.format(vocab_size=1024),
        memory_of="the trial process",
    ),
    "cuda": Profile(
        device="cuda",
        budget_kind="seconds",
        budget_s=300.0,
        threads=0,
        side_by_side=1,
        baseline_seeds=3,
        final_seeds=2,
        corpus="stdlib",
        vocab_size=8192,
        eval_seq_len=2048,
        eval_tokens=4_194_304,
        min_gain=0.001,
        knobs=_CUDA_KNOBS,
        rules=_RULES,
        memory=_CUDA_MEMORY.format(vocab_size=8192),
        memory_of="the device",
    ),
}


def render_train_py(profile: Profile) -> str:
    """The source of `trainer/train.py` with the profile's knob values."""
    from rails.source.edits import set_knobs

    source = Path(__file__).resolve().parents[1].joinpath("train.py").read_text(encoding="utf-8")
    return set_knobs(source, "Knobs", profile.values)


def render_task_toml(profile: Profile) -> str:
    """A complete, commented task.toml for the profile."""
    head = _TASK_TOML.format(
        budget_kind=_quoted(profile.budget_kind),
        budget_s=profile.budget_s,
        threads=profile.threads,
        side_by_side=profile.side_by_side,
        baseline_seeds=profile.baseline_seeds,
        final_seeds=profile.final_seeds,
        corpus=profile.corpus,
        vocab_size=profile.vocab_size,
        eval_seq_len=profile.eval_seq_len,
        eval_tokens=profile.eval_tokens,
        device=profile.device,
        min_gain=profile.min_gain,
        memory=profile.memory,
        memory_of=profile.memory_of,
    )
    knobs = "\n".join(_knob_line(name, entry) for name, entry in profile.knobs.items())
    rules = "\n".join(_rule_table(rule) for rule in profile.rules)
    return f"{head}{knobs}\n{rules}\n\n{render_specialists()}"


def _knob_line(name: str, entry: MenuEntry) -> str:
    kind = "choices" if isinstance(entry.allowed, list) else "range"
    allowed = ", ".join(_literal(value) for value in entry.allowed)
    return (
        f"{name} = {{ type = {_quoted(entry.type_name)}, {kind} = [{allowed}], default = {_literal(entry.default)}, "
        f"doc = {_quoted(entry.doc)} }}"
    )


def _rule_table(rule: Rule) -> str:
    lines = [f"{key} = {_quoted(text)}" for key, text in (("id", rule.name), ("rule", rule.rule), ("doc", rule.doc))]
    return "\n".join(["", "[[menu.cross_constraints]]", *lines])


def _literal(value: Value) -> str:
    return _quoted(value) if isinstance(value, str) else repr(value)


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


_TASK_TOML = """\
# What this workspace optimises. Yours to edit; a running campaign keeps the task it started with.
name = "gpt"

[metric]
name = "val_bpb"            # validation bits per byte, measured outside the trial
direction = "minimize"
scale = "linear"            # "log" where better is by a factor, as of seconds: scores are then compared on logarithms

[edit]
file = "train.py"           # the one file that proposals change
class = "Knobs"             # the dataclass in it whose fields are the knobs
modes = ["knob", "diff"]    # "knob": one field; "diff": a patch of the file

[budget]
kind = {budget_kind:21}# "cpu_seconds": seconds of computing, whatever else the machine does; "seconds": by the
                            # wall clock, on a GPU always; "steps", "tokens", "flops": these repeat exactly
amount = {budget_s}
# wall_s = 600.0            # cap on it by the wall clock, for "cpu_seconds"; when absent 20 times the amount, or 60
startup_s = 120.0           # at most this long before the clock starts (imports, building, compiling); what it takes
                            # longer than the baseline's is spent of a budget of (CPU) seconds
score_s = 120.0             # at most this long for scoring

[data]
corpus = "{corpus}"         # "stdlib", a folder of text, or "parquet:" with a folder or URL
vocab_size = {vocab_size}
eval_seq_len = {eval_seq_len}          # tokens of context when scoring; independent of the knob seq_len
eval_tokens = {eval_tokens}        # validation tokens scored per measurement

[trial]
device = "{device}"
threads = {threads}                 # CPU threads of a trial; 0: all
side_by_side = {side_by_side}            # trainings of one program at once, on seeds likely asked for next: on a CPU
                            # with cores to spare, and not on a budget of "seconds"
memory_bytes = 0            # memory limit of a trial; 0: 80 % of the machine's, for all that run at once

[baseline]
seeds = {baseline_seeds}                   # measurements of the starting point; their spread is the noise

[keep]
rule = "sequential"         # measured again until clear; "threshold": better by min_gain or more; "strict": any better
min_gain = {min_gain}            # for "threshold": relative to the campaign's baseline
# max_measurements = 8      # at most this many of one candidate; when absent 8, for "threshold" 1
# simpler_margin = 0.002    # keep code that is simpler and proven to be less than this worse than the best ever kept

[final]
seeds = {final_seeds}                   # fresh seeds on which best and baseline are measured at the end; 0: not at all

[early_stop]
enabled = true              # a training whose curve is so far behind that none on record caught up is ended, discarded

[rails]
novelty = true              # refuse a program that was tried before
corrections = 2             # how often a refused proposal may be corrected
repairs = 3                 # how often a crash goes back to the proposer
max_diff_lines = 80

[proposer]
fallback = ""               # who proposes while a model's endpoint does not answer; "": nobody, the loop waits
stand_in = "tpe"            # who proposes where all corrections of a model were refused; "": such a trial is blocked

[planner]                   # for proposers that ask a model
choose = "bandit"           # which specialist proposes next: by confirmed gain for its time, or in turn ("round_robin")
steps = 4                   # questions to the record, the source and the rails before it proposes
tokens = 40_000             # most tokens for one attempt at a proposal
seconds = 600.0             # most time for it
critic = ""                 # a model of models.toml that gives a second opinion; "self": the proposing one; "": nobody
share = 0.3                 # of a hybrid's trials that the model decides; the search decides the others alone
candidates = 4              # of the search's best moves that the model chooses from

[limits]
trials = 40
hours = 0.0                 # 0: no limit of time
failures_in_a_row = 20

# An estimate of the memory that a configuration needs, in bytes of {memory_of}: a proposal that cannot fit is
# refused before it costs a trial.
[size]
memory_bytes = "{memory}"

# What a proposal of the knob form may set. Every default is the starting value in train.py.
[menu.knobs]
"""
