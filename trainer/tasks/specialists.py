"""The specialists that a new workspace's planner has: parts of the work on a small GPT, with their knobs."""

import json
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class SpecialistEntry:
    """A specialist: its part of the work, its knobs (none: all), and a paragraph that only it is told."""

    focus: str
    knobs: tuple[str, ...]
    prompt: str


SPECIALISTS: dict[str, SpecialistEntry] = {
    "architecture": SpecialistEntry(
        "the shape of the model: its size, its heads, its attention",
        ("width", "depth", "mlp_ratio", "head_dim", "value_embeds", "window_pattern", "short_window", "softcap"),
        "The budget is short: what makes a step cheaper buys more steps. Ask of every part what it costs a step.",
    ),
    "optimiser": SpecialistEntry(
        "learning rates, momenta and decay of the two optimisers",
        (
            *("matrix_lr", "embedding_lr", "unembedding_lr", "scalar_lr"),
            *("adam_beta1", "adam_beta2", "muon_momentum", "ns_steps", "weight_decay"),
        ),
        "Few steps want high rates and short memories. Move a rate by a factor of two; look at both sides of it.",
    ),
    "schedule": SpecialistEntry(
        "how the learning rate rises and falls within the budget",
        ("warmup_frac", "warmdown_frac", "final_lr_frac"),
        "A schedule follows the share of the budget that is spent. What is gained by a long fall is lost at the peak.",
    ),
    "batch_and_data": SpecialistEntry(
        "how many tokens a step and a row have",
        ("batch_tokens", "seq_len", "device_batch_tokens"),
        "Smaller batches mean more steps of noisier gradients. Rows need not be longer than what is scored.",
    ),
    "initialisation": SpecialistEntry(
        "the values that weights and gates start from",
        ("embed_std", "matrix_scale", "head_std", "x0_init", "shift_init", "rope_base"),
        "In a short training much of the start is left at the end. Change one size by a factor, and watch the others.",
    ),
    "simplifier": SpecialistEntry(
        "taking out what does not pay",
        (),
        "Look for what can go: a gate, a table, a step, a special case. At equal score the simpler program wins.",
    ),
}

_HEAD = """\
# Who a model is when it proposes: one of these at a time. knobs = [] are all of them. Take the tables out for none.
"""


def render_specialists() -> str:
    """The tables of task.toml, commented."""
    return _HEAD + "".join(_table(name, entry) for name, entry in SPECIALISTS.items())


def _table(name: str, entry: SpecialistEntry) -> str:
    knobs = ", ".join(map(json.dumps, entry.knobs))
    focus, prompt = json.dumps(entry.focus), json.dumps(entry.prompt)
    return f"\n[specialists.{name}]\nfocus = {focus}\nknobs = [{knobs}]\nprompt = {prompt}\n"
