"""Small recorded tables: one made up, and one that is really trained."""

from pathlib import Path

import numpy as np

from rails.menu import Knob, Menu
from rails.status import Status
from trainer.tabular.parquet_file import Row
from trainer.tabular.recipe import Metric, Recipe, TableFacts, compressed
from trainer.tabular.recorded import Cell, CurvePoint
from trainer.tasks.gpt import PROFILES

MENU = Menu(
    knobs={
        "depth": Knob(name="depth", type="int", choices=(1, 2), default=1),
        "lr": Knob(name="lr", type="float", choices=(0.1, 1, 10.0), default=0.1),
        "kind": Knob(name="kind", type="str", choices=("a", "b"), default="b"),
    }
)
FACTS = TableFacts(
    name="made-up",
    title="a table of twelve configurations",
    metric=Metric(name="accuracy", direction="maximize", unit="", decimals=3),
    menu=MENU,
)


def rows() -> list[Row]:
    """Two seeds of each configuration but (2, 10.0, "b"); with lr = 10.0 the second of them diverges."""
    made: list[Row] = []
    rng = np.random.default_rng(3)
    for depth in (1, 2):
        for lr in (0.1, 1.0, 10.0):
            for kind in ("a", "b"):
                for seed in range(2):
                    if (depth, lr, kind) == (2, 10.0, "b"):
                        continue
                    curve = tuple(
                        CurvePoint(step, float(np.float32(3 / step)), step / 8) for step in range(1, 4 + seed)
                    )
                    failed = lr == 10.0 and seed == 1
                    cell = Cell(
                        score=None if failed else 0.5 + 0.1 * depth + 0.01 * float(rng.normal()),
                        seconds=depth + seed / 4,
                        status=Status.CRASH if failed else None,
                        reason="loss diverged" if failed else None,
                        curve=curve,
                    )
                    configuration = {"depth": depth, "lr": lr, "kind": kind}
                    made.append(Row(configuration=dict(configuration), seed_index=seed, cell=cell))
    return made


_PROGRAM = Path(__file__).resolve().parents[2] / "trainer" / "train.py"
_PACKAGE, _VOCAB_SIZE = "jinja2", 256
_TINY_MENU = Menu(
    knobs={
        "width": Knob(name="width", type="int", choices=(32, 64), default=32),
        "unembedding_lr": Knob(name="unembedding_lr", type="float", choices=(0.016, 1e3), default=0.016),
    }
)
GOOD, WIDE, DIVERGES = (
    {"width": width, "unembedding_lr": rate} for width, rate in ((32, 0.016), (64, 0.016), (32, 1e3))
)


def tiny_facts() -> TableFacts:
    """A table of trainings that take a fraction of a second each."""
    from trainer.tabular.retraining import prepare_text, this_machine

    data = prepare_text(_PACKAGE, _VOCAB_SIZE)
    fixed = {"depth": 1, "head_dim": 32, "seq_len": 64, "batch_tokens": 256, "softcap": 60.0}
    knobs = {**PROFILES["cpu"].values, **fixed}
    recipe = Recipe(
        program_zlib=compressed(_PROGRAM.read_text(encoding="utf-8")),
        knobs={name: value for name, value in knobs.items() if name not in _TINY_MENU.knobs},
        steps=40,
        package=_PACKAGE,
        data_key=data.key,
        corpus_sha256=data.corpus_sha256,
        vocab_size=_VOCAB_SIZE,
        eval_seq_len=64,
        eval_tokens=1024,
        seeds=(0, 1),
        machine=this_machine(),
    )
    metric = Metric(name="val_bpb", direction="minimize", unit="bits per byte", decimals=4)
    return TableFacts(name="tiny", title="a tiny table", metric=metric, menu=_TINY_MENU, recipe=recipe)


def tiny_rows(facts: TableFacts) -> list[Row]:
    """Three configurations with two seeds each, trained one after the other; the second diverges."""
    from trainer.tabular.retraining import Retrainer, prepare_text

    assert facts.recipe is not None
    retrainer = Retrainer(facts.recipe, prepare_text(_PACKAGE, _VOCAB_SIZE))
    return [
        Row(configuration=dict(configuration), seed_index=seed, cell=retrainer.cell(configuration, seed))
        for configuration in (GOOD, DIVERGES, WIDE)
        for seed in range(2)
    ]
