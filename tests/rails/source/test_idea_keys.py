"""Keys of what programs do: other names, order and annotations leave them; whatever is computed does not."""

import pytest

from rails.source.program import parse_program
from tests.support.edit_cases import SCRIPT


def idea(source: str) -> str:
    return parse_program(source).idea_key


@pytest.mark.parametrize(
    "pairs",
    [
        [("lr_scale", "rate_at")],
        [("MLP", "FeedForward")],
        [("optimizer", "opt")],
        [("h = ", "hidden = "), ("relu(h)", "relu(hidden)"), ("F.linear(h", "F.linear(hidden")],
        [("for block in self.blocks", "for layer in self.blocks"), ("block(x)", "layer(x)")],
        [("tokens: model(torch.from_numpy(tokens))", "asked: model(torch.from_numpy(asked))")],
        [("import torch.nn.functional as F", "from torch.nn import functional as F")],
        [("import torch.nn.functional as F\n", ""), ("F.", "torch.nn.functional.")],
        [("import math\n", "import math\nimport gc\n")],
        [("import math\nfrom dataclasses import dataclass", "from dataclasses import dataclass\nimport math")],
        [(" -> float:", ":"), ("progress: float", "progress")],
        [("lr=knobs.lr, weight_decay=0.1", "weight_decay=0.1, lr=knobs.lr")],
        [("# a cosine from one to zero", "# another remark")],
        [("SCALE", "FACTOR")],
        [("lambda file: torch.save(model.state_dict(), file)", "lambda f: torch.save(model.state_dict(), f)")],
    ],
)
def test_what_does_not_matter_leaves_the_key(pairs: list[tuple[str, str]]) -> None:
    source = SCRIPT
    for old, new in pairs:
        assert old in source
        source = source.replace(old, new)
    assert source != SCRIPT
    assert idea(source) == idea(SCRIPT)


def test_the_order_of_definitions_does_not_matter() -> None:
    scale = SCRIPT[SCRIPT.index("def lr_scale") : SCRIPT.index("def train")]
    moved = SCRIPT.replace(scale, "").replace("def main()", f"{scale}def main()")
    assert parse_program(moved).key != parse_program(SCRIPT).key
    assert idea(moved) == idea(SCRIPT)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("depth: int = 2", "depth: int = 3"),
        ("F.relu(h).square()", "F.gelu(h)"),
        ("F.linear(x, self.up)", "F.linear(x, self.down)"),
        ("self.up", "self.wide"),  # random numbers of a parameter may follow its name
        ("weight_decay=0.1", "betas=0.1"),
        ("x = x + block(x)", "x = block(x) + self.embed(tokens)"),
        ("progress < knobs.warmup", "knobs.warmup < progress"),
        ("std=0.02", "mean=0.02"),
        ("@torch.no_grad()", "@torch.enable_grad()"),
        ("math.cos", "math.sin"),
        (
            "        optimizer.step()\n        optimizer.zero_grad()",
            "        optimizer.zero_grad()\n        optimizer.step()",
        ),
        ("session.batches(8, 64)", "session.batches(64, 8)"),
        ("from torch import Tensor, nn", "from torch import Tensor, nn as nn\nSCALE = 2.0"),
    ],
)
def test_what_is_computed_is_in_the_key(old: str, new: str) -> None:
    assert old in SCRIPT
    assert idea(SCRIPT.replace(old, new)) != idea(SCRIPT)


def test_which_of_two_functions_is_called_is_in_the_key() -> None:
    text = "def f(x):\n    return x + 1\n\ndef g(x):\n    return x - 1\n\ndef h(x):\n    return f(g(x))\n"
    assert idea(text) != idea(text.replace("f(g(x))", "g(f(x))"))
    assert idea(text) == idea(
        text.replace("f", "q").replace("dqq", "def").replace("deq", "def").replace("rqturn", "return")
    )
    swapped = "def f(a, b):\n    return a - b\n\nx = f(a=1, b=2)\n"
    assert idea(swapped) != idea(swapped.replace("a - b", "b - a"))
    assert idea(swapped) != idea(swapped.replace("(a, b):\n    return a - b", "(b, a):\n    return b - a"))


def test_a_knob_set_as_a_literal_has_the_key_of_its_text() -> None:
    program = parse_program(SCRIPT)
    variant = program.with_knobs("Knobs", {"depth": 5, "lr": 0.5})
    assert variant.idea_key == idea(variant.source) != program.idea_key
    assert variant.key == parse_program(variant.source).key


def test_the_size_counts_code_and_nothing_else() -> None:
    program = parse_program(SCRIPT)
    assert parse_program(SCRIPT.replace("# a cosine from one to zero", "")).size == program.size
    assert parse_program(SCRIPT.replace('    """Two matrices."""\n', "")).size == program.size
    assert parse_program(SCRIPT.replace("optimizer", "o")).size == program.size
    assert parse_program(SCRIPT.replace("F.relu(h).square()", "F.relu(h)")).size < program.size
