"""Workspaces whose program is the fast stand-in: real git, store and processes, a trial in a third of a second."""

import difflib
import json
import os
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from agents.base import Proposer
from graph.campaign.open import open_campaign
from graph.campaign.options import RunOptions
from graph.services import Services
from graph.watching.events import Observer
from memory.git.ratchet import init_workspace
from tests.support.corpus import make_corpus

STANDIN = Path(__file__).with_name("standin_train.py")

TASK = """
name = "standin"

[budget]
kind = "steps"
amount = 20

[data]
corpus = "{corpus}"
vocab_size = 512
eval_seq_len = 16
eval_tokens = {eval_tokens}

[trial]
device = "cpu"
threads = 1

[keep]
rule = "{rule}"
min_gain = 0.003
max_measurements = {max_measurements}

[baseline]
seeds = {baseline_seeds}

[final]
seeds = {final_seeds}

[planner]
steps = {steps}

[limits]
trials = 6

[menu.knobs]
bigram_weight = {{type = "float", range = [0.0, 0.9], default = 0.5, doc = "share that knows one token"}}
trigram_weight = {{type = "float", range = [0.0, 0.9], default = 0.05, doc = "share of the model with two"}}
smoothing = {{type = "float", range = [0.0, 64.0], default = 4.0, doc = "counts added to a context"}}
buckets = {{type = "int", choices = [64, 256, 1024, 4096], default = 256, doc = "rows for contexts of two tokens"}}
decay = {{type = "float", range = [0.5, 1.0], default = 1.0, doc = "how much of the counts outlives a step"}}
rows = {{type = "int", choices = [2, 4, 8, 16, 32], default = 8, doc = "rows of a batch"}}
seq_len = {{type = "int", choices = [32, 64, 128], default = 64, doc = "tokens of a row"}}

[[menu.cross_constraints]]
id = "weights"
rule = "bigram_weight + trigram_weight <= 1"
doc = "the weights are shares of one whole"
"""


def code(old: str, new: str) -> str:
    """A reply that changes the stand-in's code: the one place where `old` stands."""
    source = STANDIN.read_text(encoding="utf-8")
    assert source.count(old) == 1, f"{old!r} stands {source.count(old)} times in the stand-in"
    before, after = source.splitlines(keepends=True), source.replace(old, new).splitlines(keepends=True)
    diff = "".join(difflib.unified_diff(before, after, "a/train.py", "b/train.py"))
    return json.dumps({"diff": diff, "hypothesis": "better", "expected_delta": -0.01, "reason": "because"})


def make_standin_workspace(
    folder: Path, *, rule: str = "strict", max_measurements: int = 1, source: str = "", final_seeds: int = 0
) -> Path:
    """A committed workspace in `folder/night`, with its corpus beside it; its result is not measured again."""
    task = TASK.format(
        corpus=make_corpus(folder / "corpus"),
        rule=rule,
        max_measurements=max_measurements,
        final_seeds=final_seeds,
        baseline_seeds=3,
        eval_tokens=2048,
        steps=0,
    )
    return _committed(folder / "night", task, source)


def make_quick_workspace(
    folder: Path,
    *,
    rule: str = "strict",
    max_measurements: int = 1,
    source: str = "",
    final_seeds: int = 0,
    baseline_seeds: int = 1,
    steps: int = 0,
) -> Path:
    """The same for tests of what comes after the baseline: it has one seed, the text to score is a quarter as long.

    The corpus is the cache's: all of them share it.
    """
    corpus = Path(os.environ["XDG_CACHE_HOME"]) / "corpus of the stand-in"
    if not corpus.exists():
        make_corpus(corpus)
    task = TASK.format(
        corpus=corpus,
        rule=rule,
        max_measurements=max_measurements,
        final_seeds=final_seeds,
        baseline_seeds=baseline_seeds,
        eval_tokens=512,
        steps=steps,
    )
    return _committed(folder / "night", task, source)


def _committed(root: Path, task: str, source: str) -> Path:
    """A workspace of this task, with the stand-in unless another program is given."""
    files = {
        ".gitignore": ".nightshift/\n",
        "program.md": "# Policy\n\nLower is better.\n",
        "task.toml": task,
        "train.py": source or STANDIN.read_text(encoding="utf-8"),
    }
    init_workspace(root, files)
    return root


@contextmanager
def standin_campaign(
    root: Path, *, proposer: Proposer | None = None, observer: Observer | None = None, options: RunOptions | None = None
) -> Generator[Services]:
    """An open campaign; `proposer` replaces the one the options name."""
    asked = options or RunOptions(proposer=None if proposer else "random")
    with open_campaign(root, asked, observer or Observer(), proposer) as services:
        yield services
