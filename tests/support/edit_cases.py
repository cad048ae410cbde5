"""Edits of code as models write them: each reply with the program that a person would say it means.

`wanted` is None where a person would have to guess, or where the edit must not be: such a reply has to be refused, with
`reason` in what is said.
"""

import json
from dataclasses import dataclass

SCRIPT = '''\
"""A small script."""

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from trainer.session import Session


@dataclass
class Knobs:
    """What a proposal may set."""

    depth: int = 2
    width: int = 64
    lr: float = 0.01
    warmup: float = 0.1


SCALE = 3.0


class MLP(nn.Module):
    """Two matrices."""

    def __init__(self, knobs: Knobs) -> None:
        super().__init__()
        self.up = nn.Parameter(torch.empty(4 * knobs.width, knobs.width))
        self.down = nn.Parameter(torch.zeros(knobs.width, 4 * knobs.width))

    def forward(self, x: Tensor) -> Tensor:
        h = F.linear(x, self.up)
        h = F.relu(h).square()
        return F.linear(h, self.down)


class Model(nn.Module):
    """Embedding, blocks, head."""

    def __init__(self, knobs: Knobs, vocab_size: int) -> None:
        super().__init__()
        self.embed = nn.Embedding(vocab_size, knobs.width)
        self.blocks = nn.ModuleList(MLP(knobs) for _ in range(knobs.depth))

        self.head = nn.Linear(knobs.width, vocab_size)

    @torch.no_grad()
    def init_weights(self) -> None:
        for param in self.parameters():
            param.normal_(std=0.02)

    def forward(self, tokens: Tensor) -> Tensor:
        x = self.embed(tokens)
        for block in self.blocks:
            x = x + block(x)
        return self.head(x)


def lr_scale(progress: float, knobs: Knobs) -> float:
    if progress < knobs.warmup:
        return progress / knobs.warmup
    # a cosine from one to zero
    return 0.5 * (1 + math.cos(math.pi * progress))


def train(model: Model, knobs: Knobs, session: Session) -> None:
    optimizer = torch.optim.AdamW(model.parameters(), lr=knobs.lr, weight_decay=0.1)
    batches = session.batches(8, 64)
    session.start(params=1, flops_per_token=1.0)
    while not session.done:
        inputs, targets = (torch.from_numpy(part) for part in next(batches))
        loss = F.cross_entropy(model(inputs).flatten(0, 1), targets.flatten())
        loss.backward()
        for group in optimizer.param_groups:
            group["lr"] = knobs.lr * lr_scale(session.progress, knobs)
        optimizer.step()
        optimizer.zero_grad()
        session.step(loss.item(), inputs.numel())
    session.finish({}, save=lambda file: torch.save(model.state_dict(), file))


def main() -> None:
    session, knobs = Session.open(), Knobs()
    model = Model(knobs, session.vocab_size)
    model.init_weights()
    if session.replica:
        model.load_state_dict(torch.load(session.saved_state()))
    else:
        train(model, knobs, session)
    session.serve(lambda tokens: model(torch.from_numpy(tokens)).detach().numpy())


if __name__ == "__main__":
    main()
'''


@dataclass(frozen=True, slots=True)
class EditCase:
    """One reply. `wanted`: the program that it means, where that is clear."""

    name: str
    raw: str
    wanted: str | None
    reason: str = ""


HEADER = json.dumps({"hypothesis": "it learns faster", "expected_delta": -0.01, "reason": "seen elsewhere"})


def swapped(*pairs: tuple[str, str]) -> str:
    """The script with some texts exchanged, each of which it has once."""
    source = SCRIPT
    for old, new in pairs:
        assert source.count(old) == 1, old
        source = source.replace(old, new)
    return source


def behind(text: str) -> str:
    return f"{HEADER}\n{text}"


def in_json(diff: str) -> str:
    return json.dumps({"diff": diff, "hypothesis": "h", "expected_delta": None, "reason": "r"})


def block(old: str, new: str, width: int = 7, words: tuple[str, str] = (" SEARCH", " REPLACE")) -> str:
    return f"{'<' * width}{words[0]}\n{old}\n{'=' * width}\n{new}\n{'>' * width}{words[1]}\n"


RELU, GELU = "        h = F.relu(h).square()", "        h = F.gelu(h)"
GELU_SCRIPT = swapped((RELU, GELU))
COSINE = "    return 0.5 * (1 + math.cos(math.pi * progress))"
LINEAR = "    return 1 - progress"
LINEAR_SCRIPT = swapped((COSINE, LINEAR))
TWO = swapped((RELU, GELU), (COSINE, LINEAR))
DECAY = "lr=knobs.lr, weight_decay=0.1)"
HUNK = f"""\
@@ -33,5 +33,5 @@
     def forward(self, x: Tensor) -> Tensor:
         h = F.linear(x, self.up)
-{RELU}
+{GELU}
         return F.linear(h, self.down)
"""
DIFF = f"--- a/train.py\n+++ b/train.py\n{HUNK}"
FORWARD = """\
def forward(self, x: Tensor) -> Tensor:
    h = F.linear(x, self.up)
    return F.linear(F.gelu(h), self.down)"""
FORWARD_SCRIPT = swapped(
    (f"{RELU}\n        return F.linear(h, self.down)", "        return F.linear(F.gelu(h), self.down)")
)
LR_SCALE = """\
def lr_scale(progress: float, knobs: Knobs) -> float:
    return min(1.0, progress / knobs.warmup)"""
OLD_LR_SCALE = SCRIPT[SCRIPT.index("def lr_scale") : SCRIPT.index("\n\n\ndef train")]
LR_SCALE_SCRIPT = swapped((OLD_LR_SCALE, LR_SCALE))
RAMP = "def ramp(x: float) -> float:\n    return min(1.0, x)"
INIT = """\
def init_weights(self) -> None:
    for param in self.parameters():
        param.normal_(std=0.01)"""
INIT_SCRIPT = swapped(("std=0.02", "std=0.01"))
BLANK = """\
        self.embed = nn.Embedding(vocab_size, knobs.width)
        self.blocks = nn.ModuleList(MLP(knobs) for _ in range(knobs.depth))
        self.head = nn.Linear(knobs.width, vocab_size)"""
NO_BIAS_SCRIPT = swapped(("nn.Linear(knobs.width, vocab_size)", "nn.Linear(knobs.width, vocab_size, bias=False)"))


def dedented(text: str, by: int = 4) -> str:
    return "\n".join(line[by:] if line[:by].isspace() else line for line in text.split("\n"))


CLEAR = [
    EditCase("a unified diff in JSON", in_json(DIFF), GELU_SCRIPT),
    EditCase("a unified diff behind the header", behind(DIFF), GELU_SCRIPT),
    EditCase("a fenced diff in JSON", in_json(f"```diff\n{DIFF}```"), GELU_SCRIPT),
    EditCase("a fenced diff behind the header", behind(f"```diff\n{DIFF}```\n"), GELU_SCRIPT),
    EditCase("a diff without file names", in_json(HUNK), GELU_SCRIPT),
    EditCase("a diff with wrong line numbers", in_json(DIFF.replace("-33,5 +33,5", "-3,99 +7")), GELU_SCRIPT),
    EditCase("a diff with a bare @@", in_json(DIFF.replace("@@ -33,5 +33,5 @@", "@@ ... @@")), GELU_SCRIPT),
    EditCase("a diff without @@", in_json(DIFF.replace("@@ -33,5 +33,5 @@\n", "")), GELU_SCRIPT),
    EditCase("a diff with line ends of Windows", in_json(DIFF.replace("\n", "\r\n")), GELU_SCRIPT),
    EditCase("a diff with trailing space", in_json(DIFF.replace("self.up)\n", "self.up)  \n")), GELU_SCRIPT),
    EditCase(
        "a diff with a blank line that the file lacks",
        in_json(DIFF.replace("self.up)\n", "self.up)\n \n")),
        GELU_SCRIPT,
    ),
    EditCase(
        "a diff without a blank line that the file has",
        in_json(
            "--- a/train.py\n+++ b/train.py\n@@ -45,3 +45,3 @@\n"
            "         self.blocks = nn.ModuleList(MLP(knobs) for _ in range(knobs.depth))\n"
            "-        self.head = nn.Linear(knobs.width, vocab_size)\n"
            "+        self.head = nn.Linear(knobs.width, vocab_size, bias=False)\n"
        ),
        NO_BIAS_SCRIPT,
    ),
    EditCase(
        "a diff whose context has lost its first space",
        in_json(DIFF.replace("\n         h = F", "\n        h = F").replace("\n         return", "\n        return")),
        GELU_SCRIPT,
    ),
    EditCase("a diff and a closing sentence", behind(f"{DIFF}\nThis should help early on.\n"), GELU_SCRIPT),
    EditCase(
        "a diff with hunks in the wrong order",
        behind(f"--- a/train.py\n+++ b/train.py\n@@ -70 +70 @@\n-{COSINE}\n+{LINEAR}\n{HUNK}"),
        TWO,
    ),
    EditCase(
        "a diff that names its file before each hunk",
        in_json(f"{DIFF}--- a/train.py\n+++ b/train.py\n@@ -69 +69 @@\n-{COSINE}\n+{LINEAR}\n"),
        TWO,
    ),
    EditCase("a search block", behind(block(RELU, GELU)), GELU_SCRIPT),
    EditCase("a search block in JSON", in_json(block(RELU, GELU)), GELU_SCRIPT),
    EditCase("a search block in one fence with its header", f"```\n{behind(block(RELU, GELU))}```", GELU_SCRIPT),
    EditCase("a fenced header, a fenced block", f"```json\n{HEADER}\n```\n```\n{block(RELU, GELU)}```", GELU_SCRIPT),
    EditCase("a file name before the block", behind(f"train.py\n{block(RELU, GELU)}"), GELU_SCRIPT),
    EditCase(
        "a file name and a fence around the block",
        behind(f"### `train.py`\n```python\n{block(RELU, GELU)}```\n"),
        GELU_SCRIPT,
    ),
    EditCase("five marks and other words", behind(block(RELU, GELU, 5, (" ORIGINAL", " UPDATED"))), GELU_SCRIPT),
    EditCase("nine marks without words", behind(block(RELU, GELU, 9, ("", ""))), GELU_SCRIPT),
    EditCase(
        "words before and behind a block",
        f"I replace the activation.\n\n{behind(block(RELU, GELU))}\nThat is all.",
        GELU_SCRIPT,
    ),
    EditCase(
        "reasoning before the header", f"<think>relu {{or}} gelu?</think>{behind(block(RELU, GELU))}", GELU_SCRIPT
    ),
    EditCase("a block with line ends of Windows", behind(block(RELU, GELU)).replace("\n", "\r\n"), GELU_SCRIPT),
    EditCase("a block with trailing space", behind(block(RELU + "   ", GELU)), GELU_SCRIPT),
    EditCase("a block without indentation", behind(block(RELU.strip(), GELU.strip())), GELU_SCRIPT),
    EditCase(
        "a block whose first line has lost its indentation",
        behind(
            block(
                f"h = F.linear(x, self.up)\n{RELU}\n        return F.linear(h, self.down)",
                f"h = F.linear(x, self.up)\n{GELU}\n        return F.linear(h, self.down)",
            )
        ),
        GELU_SCRIPT,
    ),
    EditCase(
        "a block indented by two",
        behind(
            block(
                "  for block in self.blocks:\n    x = x + block(x)",
                "  for block in self.blocks:\n    if self.training:\n      x = x + block(x)",
            )
        ),
        swapped(
            (
                "            x = x + block(x)\n",
                "            if self.training:\n                x = x + block(x)\n",
            )
        ),
    ),
    EditCase(
        "a block indented by tabs",
        behind(
            block("\t\th = F.relu(h).square()\n\t\treturn F", "\t\th = F.gelu(h)\n\t\treturn F").replace(
                "return F", "return F.linear(h, self.down)"
            )
        ),
        GELU_SCRIPT,
    ),
    EditCase(
        "a block without a blank line that the file has",
        behind(
            block(
                BLANK,
                BLANK.replace("vocab_size)", "vocab_size, bias=False)").replace(
                    "Embedding(vocab_size, bias=False), ", "Embedding(vocab_size, "
                ),
            )
        ),
        NO_BIAS_SCRIPT,
    ),
    EditCase("a block with blank lines around it", behind(block(f"\n{RELU}\n", f"\n{GELU}\n")), GELU_SCRIPT),
    EditCase("two blocks", behind(block(COSINE, LINEAR) + "\n" + block(RELU, GELU)), TWO),
    EditCase(
        "a second block that builds on the first",
        behind(block(RELU, "        h = F.silu(h)") + block("        h = F.silu(h)", GELU)),
        GELU_SCRIPT,
    ),
    EditCase("the same block twice", behind(block(RELU, GELU) * 2), GELU_SCRIPT),
    EditCase(
        "a block that deletes",
        behind(block("    # a cosine from one to zero\n" + COSINE, COSINE)),
        swapped(("    # a cosine from one to zero\n", "")),
    ),
    EditCase(
        "a block that deletes all it finds",
        behind("<<<<<<< SEARCH\n    model.init_weights()\n=======\n>>>>>>> REPLACE"),
        swapped(("    model.init_weights()\n", "")),
    ),
    EditCase(
        "a knob's value by a block",
        behind(block("    width: int = 64", "    width: int = 128")),
        swapped(("width: int = 64", "width: int = 128")),
    ),
    EditCase(
        "a header without an expectation", '{"hypothesis": "h", "reason": "r"}\n' + block(RELU, GELU), GELU_SCRIPT
    ),
    EditCase(
        "a header over several lines", f"{json.dumps(json.loads(HEADER), indent=2)}\n\n{block(RELU, GELU)}", GELU_SCRIPT
    ),
    EditCase("a function by name", behind(f"REPLACE FUNCTION lr_scale\n{LR_SCALE}\n"), LR_SCALE_SCRIPT),
    EditCase(
        "a fenced function by name", behind(f"FUNCTION lr_scale\n```python\n{LR_SCALE}\n```\nDone."), LR_SCALE_SCRIPT
    ),
    EditCase(
        "a function by name in Markdown",
        behind(f"### Replace function `lr_scale`:\n\n```python\n{LR_SCALE}\n```"),
        LR_SCALE_SCRIPT,
    ),
    EditCase("a method by name", behind(f"REPLACE FUNCTION MLP.forward\n{FORWARD}"), FORWARD_SCRIPT),
    EditCase(
        "a method by name, indented",
        behind("METHOD MLP.forward\n" + "\n".join(f"    {line}" for line in FORWARD.split("\n"))),
        FORWARD_SCRIPT,
    ),
    EditCase("a method without its decorator", behind(f"REPLACE METHOD Model.init_weights\n{INIT}"), INIT_SCRIPT),
    EditCase(
        "a method with its decorator",
        behind(f"REPLACE METHOD Model.init_weights\n@torch.no_grad()\n{INIT}"),
        INIT_SCRIPT,
    ),
    EditCase("a method of a name that only one class has", behind(f"REPLACE METHOD init_weights\n{INIT}"), INIT_SCRIPT),
    EditCase(
        "a class by name",
        behind(
            "REPLACE CLASS MLP\n"
            + SCRIPT[SCRIPT.index("class MLP") : SCRIPT.index("\n\n\nclass Model")].replace(RELU, GELU)
        ),
        GELU_SCRIPT,
    ),
    EditCase(
        "a function by name, and a block",
        behind(f"REPLACE FUNCTION lr_scale\n{LR_SCALE}\n\n{block(RELU, GELU)}"),
        swapped((OLD_LR_SCALE, LR_SCALE), (RELU, GELU)),
    ),
    EditCase(
        "a function by name and a closing sentence",
        behind(f"REPLACE FUNCTION lr_scale\n{LR_SCALE}\n\nThis should help early on."),
        LR_SCALE_SCRIPT,
    ),
    EditCase("a bare function", behind(f"```python\n{LR_SCALE}\n```"), LR_SCALE_SCRIPT),
    EditCase("a bare function without a fence", behind(LR_SCALE), LR_SCALE_SCRIPT),
    EditCase(
        "a bare function with a new one that it calls",
        behind(f"```python\n{RAMP}\n\n\n{LR_SCALE.replace('min(1.0, ', 'ramp(')}\n```"),
        swapped(
            (
                OLD_LR_SCALE,
                f"{RAMP}\n\n\n{LR_SCALE.replace('min(1.0, ', 'ramp(')}",
            )
        ),
    ),
    EditCase("the whole file", behind(f"```python\n{GELU_SCRIPT}```"), GELU_SCRIPT),
    EditCase(
        "a block of numbered lines",
        behind(block("  36 |         h = F.relu(h).square()", "  36 |         h = F.gelu(h)")),
        GELU_SCRIPT,
    ),
    EditCase(
        "SEARCH and REPLACE in words",
        behind(f"SEARCH:\n```python\n{RELU}\n```\nREPLACE:\n```python\n{GELU}\n```\n"),
        GELU_SCRIPT,
    ),
    EditCase(
        "a diff with one wrong line of context",
        in_json(DIFF.replace("F.linear(h, self.down)", "F.linear(h, self.out)")),
        GELU_SCRIPT,
    ),
]

UNCLEAR = [
    EditCase(
        "a line that stands in two places",
        behind(block("        super().__init__()", "        super().__init__()\n        self.gain = 1.0")),
        None,
        "fits in 2 places (lines 30, 44)",
    ),
    EditCase(
        "a method of a name that two classes have",
        behind(f"REPLACE FUNCTION forward\n{FORWARD}"),
        None,
        "MLP.forward, Model.forward",
    ),
    EditCase(
        "a bare method of a name that two classes have",
        behind(f"```python\n{FORWARD}\n```"),
        None,
        "MLP.forward, Model.forward",
    ),
    EditCase(
        "a line that is not there",
        behind(block("        h = F.relu(h) ** 2", GELU)),
        None,
        "line 36, is 'h = F.relu(h).square()'",
    ),
    EditCase(
        "one block that fits and one that does not",
        behind(block(RELU, GELU) + block("    nothing = here", LINEAR)),
        None,
        "SEARCH block 2 does not fit",
    ),
    EditCase(
        "lines that do not follow each other",
        behind(block("        h = F.linear(x, self.up)\n        return F.linear(h, self.down)", GELU)),
        None,
        "is followed by 'h = F.relu(h).square()'",
    ),
    EditCase("a block that is cut off", behind(block(RELU, GELU)[:-20]), None, "does not end with"),
    EditCase("a block without a divider", behind(f"<<<<<<< SEARCH\n{RELU}\n>>>>>>> REPLACE"), None, "has no ======="),
    EditCase("an empty search", behind(f"<<<<<<< SEARCH\n=======\n{GELU}\n>>>>>>> REPLACE"), None, "is empty"),
    EditCase(
        "something left out of a function",
        behind(
            "REPLACE FUNCTION train\ndef train(model: Model, knobs: Knobs, session: Session) -> None:\n"
            "    optimizer = torch.optim.SGD(model.parameters())\n    # ... rest of the function unchanged"
        ),
        None,
        "leaves something out at '# ... rest",
    ),
    EditCase(
        "a function that is not there",
        behind(f"REPLACE FUNCTION learning_rate\n{LR_SCALE}"),
        None,
        "no definition of 'learning_rate'",
    ),
    EditCase(
        "a function under another's name", behind(f"REPLACE FUNCTION train\n{LR_SCALE}"), None, "does not define train"
    ),
    EditCase(
        "the same function twice",
        behind(f"REPLACE FUNCTION lr_scale\n{LR_SCALE}\n\nREPLACE FUNCTION lr_scale\n{LR_SCALE.replace('1.0', '2.0')}"),
        None,
        "change the same lines",
    ),
    EditCase("another file", behind(f"evaluate.py\n{block(RELU, GELU)}"), None, "only train.py may change"),
    EditCase(
        "a diff of another file", in_json(DIFF.replace("train.py", "evaluate.py")), None, "only train.py may change"
    ),
    EditCase("a diff behind blocks", behind(f"{block(RELU, GELU)}\n{HUNK}"), None, "stands outside of the blocks"),
    EditCase("words only", behind("Replace the ReLU by a GELU."), None, "not valid Python"),
    EditCase("a statement", behind("```python\nknobs.lr *= 2\n```"), None, "belongs to no definition"),
    EditCase(
        "a new function only",
        behind("```python\ndef ramp(x: float) -> float:\n    return x\n```"),
        None,
        "changes nothing that train.py defines",
    ),
    EditCase("a header alone", HEADER, None, "no edit behind the header"),
    EditCase(
        "a header without a hypothesis", '{"reason": "r"}\n' + block(RELU, GELU), None, "text after the JSON object"
    ),
    EditCase("no header", block(RELU, GELU), None, "no JSON object"),
    EditCase(
        "a name that is not defined",
        behind(block(RELU, "        h = leaky(h)")),
        None,
        "the name 'leaky' at line 36 is not defined",
    ),
    EditCase(
        "the answer to the parent removed",
        behind(
            block("    session.serve(lambda tokens: model(torch.from_numpy(tokens)).detach().numpy())", "    return")
        ),
        None,
        "no longer calls session.serve",
    ),
    EditCase(
        "the session removed",
        behind(block("from trainer.session import Session", "Session = None")),
        None,
        "no longer imports trainer.session",
    ),
    EditCase(
        "a return outside of a function",
        behind(block("SCALE = 3.0", "return")),
        None,
        "not valid Python: 'return' outside function at line 23",
    ),
]

CASES = [*CLEAR, *UNCLEAR]
