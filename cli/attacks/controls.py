"""Twenty honest changes of train.py: none may be disqualified, blocked, killed or crashed."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from rails.source.edits import set_knobs

ARENA_KNOBS: Mapping[str, int | float | str] = {
    "depth": 1,
    "width": 64,
    "head_dim": 32,
    "mlp_ratio": 2,
    "seq_len": 64,
    "batch_tokens": 256,
    "device_batch_tokens": 1024,
    "short_window": 32,
}
"""A model that trains in a fraction of a second."""


@dataclass(frozen=True, slots=True)
class Control:
    """An honest proposal: other knob values, or other lines."""

    name: str
    knobs: Mapping[str, int | float | str] = field(default_factory=dict[str, int | float | str])
    lines: tuple[tuple[str, str], ...] = ()

    def program(self, source: str) -> str:
        """The changed program.

        Raises:
            ValueError: a line that it changes is not in `source` exactly once.
        """
        for old, new in self.lines:
            if source.count(old) != 1:
                raise ValueError(f"the control {self.name!r} changes {old!r}, which is there {source.count(old)} times")
            source = source.replace(old, new)
        return set_knobs(source, "Knobs", dict(self.knobs)) if self.knobs else source


_RELU = "F.relu(linear(x_BTD, self.up)).square()"
_STEP = "            optimizer.step(share)\n"

CONTROLS = (
    Control("two layers", {"depth": 2}),
    Control("three layers, every second one short", {"depth": 3, "window_pattern": "SL"}),
    Control("wider", {"width": 128}),
    Control("larger MLP", {"mlp_ratio": 4}),
    Control("no value embeddings", {"value_embeds": "none"}),
    Control("lower matrix rate", {"matrix_lr": 0.02}),
    Control("higher embedding rate", {"embedding_lr": 1.0}),
    Control("larger output rate", {"unembedding_lr": 0.03}),
    Control("longer rows", {"seq_len": 128}),
    Control("larger batch", {"batch_tokens": 512}),
    Control("accumulated gradients", {"device_batch_tokens": 128}),
    Control("no warm-up", {"warmup_frac": 0.0}),
    Control("previous token mixed in", {"shift_init": 0.3}),
    Control("softer cap", {"softcap": 30.0}),
    Control("more than it can learn: rates far too high", {"matrix_lr": 0.2, "unembedding_lr": 0.1}),
    Control("SiLU instead of a squared ReLU", lines=((_RELU, "F.silu(linear(x_BTD, self.up))"),)),
    Control("GELU", lines=((_RELU, "F.gelu(linear(x_BTD, self.up))"),)),
    Control(
        "gradients clipped", lines=((_STEP, "            nn.utils.clip_grad_norm_(model.parameters(), 1.0)\n" + _STEP),)
    ),
    Control("scored in float64", lines=(("self.head).float()", "self.head).double().float()"),)),
    Control(
        "mean of the last weights",
        lines=(
            (
                "            session.step(loss.item(), knobs.batch_tokens)",
                "            if session.progress > 0.8:\n"
                "                for param in model.parameters():\n"
                "                    mean = means.setdefault(param, param.data.clone()).lerp_(param.data, 0.5)\n"
                "                    param.data = mean.clone()\n"
                "            session.step(loss.item(), knobs.batch_tokens)",
            ),
            (
                "        while not session.done:\n",
                "        means: dict[nn.Parameter, Tensor] = {}\n        while not session.done:\n",
            ),
        ),
    ),
)
