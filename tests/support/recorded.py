"""A small recorded table in memory, and workspaces that search it: whole campaigns in a fraction of a second."""

import hashlib
import itertools
import random
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from rails.menu import Knob, Menu
from rails.status import Status
from trainer.tabular.recipe import Metric, TableFacts
from trainer.tabular.recorded import Curves, Grid, Measurements, RecordedTable

MENU = Menu(
    knobs={
        "width": Knob(name="width", type="int", choices=(16, 32, 64), default=16, doc="size"),
        "rate": Knob(name="rate", type="float", choices=(0.1, 0.2, 0.4), default=0.1, doc="of learning"),
        "kind": Knob(name="kind", type="str", choices=("plain", "gated", "none"), default="plain"),
    }
)
STEPS = 20
FAILS = {"width": 64, "rate": 0.4, "kind": "none"}
"""This configuration crashes with every seed."""
MISSING = {"width": 16, "rate": 0.4, "kind": "plain"}
"""This one was not recorded."""
BEST = {"width": 64, "rate": 0.2, "kind": "gated"}


def make_table(
    name: str = "made-up", *, seeds: int = 9, direction: str = "maximize", noise: float = 0.002
) -> RecordedTable:
    """Accuracies (or, to be minimised, errors) of 26 of 27 configurations; some have three seeds, some `seeds`."""
    rng, grid = random.Random(7), Grid(MENU)
    places, scores, seconds, failures = list[int](), list[float](), list[float](), dict[int, tuple[Status, str]]()
    ends, steps, losses, elapsed = list[int](), list[int](), list[float](), list[float]()
    choices = [knob.choices or () for knob in MENU.knobs.values()]
    for values in itertools.product(*choices):
        config = dict(zip(MENU.knobs, values, strict=True))
        place = grid.place(config)
        assert place is not None
        if config == MISSING:
            continue
        for _ in range(seeds if config["kind"] != "none" else min(seeds, 3)):
            score = _true(config) + rng.gauss(0, noise)
            if config == FAILS:
                failures[len(places)] = (Status.CRASH, "loss diverged")
            scores.append(float("nan") if config == FAILS else score if direction == "maximize" else 1 - score)
            places.append(place)
            took_s = 10.0 + float(str(config["width"])) / 16
            seconds.append(took_s)
            for step in range(1, STEPS + 1):
                steps.append(step)
                losses.append(2.0 - score * step / STEPS)
                elapsed.append(took_s * step / STEPS)
            ends.append(len(steps))
    metric = Metric(
        name="accuracy" if direction == "maximize" else "error",
        direction="maximize" if direction == "maximize" else "minimize",
        unit="%" if direction == "maximize" else "",
        decimals=2,
    )
    return RecordedTable(
        facts=TableFacts(name=name, title="made up", metric=metric, menu=MENU),
        measurements=Measurements(
            places=np.asarray(places, np.int64),
            scores=np.asarray(scores, np.float64),
            seconds=np.asarray(seconds, np.float64),
            failures=failures,
            curves=Curves(
                ends=np.asarray(ends, np.int64),
                step=np.asarray(steps, np.int64),
                loss=np.asarray(losses, np.float64),
                elapsed_s=np.asarray(elapsed, np.float64),
            ),
        ),
        sha256=hashlib.sha256(repr((name, seeds, direction, noise)).encode()).hexdigest(),
    )


def _true(config: Mapping[str, object]) -> float:
    gain = {16: 0.0, 32: 0.02, 64: 0.03}[int(str(config["width"]))]
    gain += {0.1: 0.0, 0.2: 0.02, 0.4: 0.01}[float(str(config["rate"]))]
    return 0.7 + gain + {"plain": 0.0, "gated": 0.02, "none": -0.05}[str(config["kind"])]


def make_table_workspace(root: Path, *, trials: int = 12, edits: Sequence[tuple[str, str]] = ()) -> Path:
    """A workspace over the table that `open_recorded` finds; `edits` replace text in its task.toml."""
    from graph.campaign.create import create_workspace
    from tests.support.git_workspace import git

    create_workspace(root, "tabular:made-up")
    path = root / "task.toml"
    text = path.read_text(encoding="utf-8")
    for old, new in (("trials = 40", f"trials = {trials}"), *edits):
        assert old in text, old
        text = text.replace(old, new)
    path.write_text(text, encoding="utf-8")
    git(root, "commit", "-qam", "task")
    return root
