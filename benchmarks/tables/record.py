"""Records the table `cpu-gpt`: train.py on a small budget of steps, over the whole grid of six knobs.

    python benchmarks/tables/record.py run DIR [--workers 2]    # goes on where it was when it is run again
    python benchmarks/tables/record.py write DIR [--to FILE]    # the Parquet file of what is recorded so far

`run` trains every configuration with three seeds, then the part that campaigns reach with six more: see `reached`.
Each measurement is a line of DIR/cells.jsonl as soon as it is there; what was being trained when it was killed is
trained again. `nightshift tables verify` trains cells of the result again.
"""

import argparse
import itertools
import json
import multiprocessing
import os
import sys
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

os.environ["OMP_NUM_THREADS"] = "1"  # read when torch is loaded

# Run as a script, this file's own folder comes first on the path.
sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from rails.menu import Knob, KnobValue, Menu
from rails.status import Status
from trainer.tabular.parquet_file import Row, write_table
from trainer.tabular.recipe import Metric, Recipe, TableFacts, compressed
from trainer.tabular.recorded import Cell, Configuration, CurvePoint, Grid
from trainer.tabular.retraining import Retrainer, prepare_text, this_machine
from trainer.tasks.gpt import PROFILES

ROOT = Path(__file__).resolve().parents[2]
SHIPPED = ROOT / "trainer" / "tabular" / "tables" / "cpu-gpt.parquet"
PACKAGE = "torch.nn"
"""torch is pinned to one version, so everybody who installs nightshift has this text, whatever their Python."""
STEPS, VOCAB_SIZE, EVAL_SEQ_LEN, EVAL_TOKENS = 40, 512, 64, 8192
FIRST_SEEDS, ALL_SEEDS = 3, 9
REACHED = 200
"""Configurations that are measured with all seeds."""

CHOICES: dict[str, tuple[list[KnobValue], KnobValue]] = {
    "width": ([32, 48, 64], 48),
    "seq_len": ([32, 64, 128], 64),
    "matrix_lr": ([0.01, 0.04, 0.16], 0.04),
    "unembedding_lr": ([0.005, 0.016, 0.05], 0.016),
    "adam_beta1": ([0.2, 0.5, 0.8], 0.8),
    "warmdown_frac": ([0.2, 0.5, 0.8], 0.5),
}
"""For each knob of the menu its choices and its default."""
FIXED: dict[str, KnobValue] = {"depth": 1, "head_dim": 16, "batch_tokens": 512, "short_window": 32}
"""Other knobs that differ from those of the CPU task, so that a cell takes less than a second."""


def menu() -> Menu:
    """The knobs of the table, described as in the CPU task."""
    known = PROFILES["cpu"].knobs
    knobs = {
        name: Knob(
            name=name,
            type="int" if isinstance(default, int) else "float" if isinstance(default, float) else "str",
            choices=tuple(choices),
            default=default,
            doc=known[name].doc,
        )
        for name, (choices, default) in CHOICES.items()
    }
    return Menu(knobs=knobs)


def facts() -> TableFacts:
    """Everything about the table but its measurements, for this machine and today's train.py."""
    data = prepare_text(PACKAGE, VOCAB_SIZE)
    fixed = {**PROFILES["cpu"].values, **FIXED}
    recipe = Recipe(
        program_zlib=compressed((ROOT / "trainer" / "train.py").read_text(encoding="utf-8")),
        knobs={name: value for name, value in fixed.items() if name not in CHOICES},
        steps=STEPS,
        package=PACKAGE,
        data_key=data.key,
        corpus_sha256=data.corpus_sha256,
        vocab_size=data.vocab_size,
        eval_seq_len=EVAL_SEQ_LEN,
        eval_tokens=EVAL_TOKENS,
        seeds=tuple(range(ALL_SEEDS)),
        machine=this_machine(),
    )
    return TableFacts(
        name="cpu-gpt",
        title=f"the CPU task made small: {STEPS} steps of {FIXED['batch_tokens']} tokens, one thread",
        metric=Metric(name="val_bpb", direction="minimize", unit="bits per byte", decimals=4),
        menu=menu(),
        recipe=recipe,
    )


class Journal:
    """What is recorded so far: DIR/facts.json, and a line a measurement in DIR/cells.jsonl.

    Raises:
        SystemExit: the folder holds another recording.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._cells = folder / "cells.jsonl"
        said = folder / "facts.json"
        if not said.exists():
            said.write_text(facts().model_dump_json(indent=1, exclude_none=True), encoding="utf-8")
        self.facts = TableFacts.model_validate_json(said.read_text(encoding="utf-8"))
        self.grid = Grid(self.facts.menu)
        self.rows = dict[tuple[int, int], Row]()
        if self._cells.exists():
            for line in self._cells.read_bytes().rpartition(b"\n")[0].splitlines():
                self._take(_row(json.loads(line)))

    def mend(self) -> None:
        """Take away half a line that a killed run may have left."""
        if self._cells.exists():
            whole = self._cells.read_bytes().rfind(b"\n") + 1
            os.truncate(self._cells, whole)

    def add(self, row: Row) -> None:
        """Write a measurement down."""
        cell = row.cell
        line = {
            "configuration": row.configuration,
            "seed_index": row.seed_index,
            "score": cell.score,
            "seconds": cell.seconds,
            "status": cell.status,
            "reason": cell.reason,
            "curve": cell.curve,
        }
        with self._cells.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
        self._take(row)

    def _take(self, row: Row) -> None:
        place = self.grid.place(row.configuration)
        assert place is not None, "a recorded configuration is not on the menu: another recording's folder?"
        self.rows[place, row.seed_index] = row

    def mean(self, place: int) -> float:
        """Of the first seeds; infinite where one failed."""
        scores = [self.rows[place, seed].cell.score for seed in range(FIRST_SEEDS)]
        known = [score for score in scores if score is not None]
        return sum(known) / len(known) if len(known) == len(scores) else float("inf")


def _row(line: dict[str, Any]) -> Row:
    cell = Cell(
        score=line["score"],
        seconds=line["seconds"],
        status=None if line["status"] is None else Status(line["status"]),
        reason=line["reason"],
        curve=tuple(CurvePoint(*point) for point in line["curve"]),
    )
    return Row(configuration=line["configuration"], seed_index=line["seed_index"], cell=cell)


def reached(journal: Journal) -> list[int]:
    """The part of the grid that campaigns measure often: near the default, near the best, and the best of the rest.

    A campaign begins at the default and measures again what looks as good as its best. So these are the default, what
    differs from it or from the best configuration in one knob, and then the others by the mean of their first seeds.
    """
    by_mean = sorted(range(journal.grid.size), key=journal.mean)
    centres = [journal.facts.menu.defaults(), journal.grid.configuration(by_mean[0])]
    near = [place for place in range(journal.grid.size) if any(_near(journal, place, centre) for centre in centres)]
    return list(dict.fromkeys([*near, *by_mean]))[:REACHED]


def _near(journal: Journal, place: int, centre: Configuration) -> bool:
    return sum(value != centre[name] for name, value in journal.grid.configuration(place).items()) <= 1


Job = tuple[Configuration, int]


def missing(journal: Journal, places: Iterable[int], seeds: Iterable[int]) -> Iterator[Job]:
    """What is still to be trained, all configurations with one seed before the next seed."""
    for seed, place in itertools.product(seeds, list(places)):
        if (place, seed) not in journal.rows:
            yield journal.grid.configuration(place), seed


_retrainer: Retrainer | None = None


def begin(recipe: str) -> None:
    """In a worker: prepare the text, load the program."""
    global _retrainer  # one a process, made when it starts
    made = Recipe.model_validate_json(recipe)
    _retrainer = Retrainer(made, prepare_text(made.package, made.vocab_size))


def train(job: Job) -> Row:
    """In a worker: train one cell. The training seed is the seed's index."""
    assert _retrainer is not None, "the worker was not begun"
    configuration, seed = job
    return Row(configuration=configuration, seed_index=seed, cell=_retrainer.cell(configuration, seed))


def record(journal: Journal, workers: int) -> None:
    """Train all that is missing."""
    recipe = journal.facts.recipe
    assert recipe is not None, "the table has no recipe"
    if recipe.machine != this_machine():
        raise SystemExit("this recording was begun on another machine: its cells would not repeat here")
    journal.mend()
    with multiprocessing.get_context("spawn").Pool(workers, begin, (recipe.model_dump_json(),)) as pool:
        _run(journal, pool, list(missing(journal, range(journal.grid.size), range(FIRST_SEEDS))), "first seeds")
        _run(journal, pool, list(missing(journal, reached(journal), range(ALL_SEEDS))), "all seeds of what is reached")


def _run(journal: Journal, pool: Any, jobs: list[Job], what: str) -> None:
    began = time.monotonic()
    for count, row in enumerate(pool.imap_unordered(train, jobs), start=1):
        journal.add(row)
        if count % 50 == 0 or count == len(jobs):
            took_s = time.monotonic() - began
            left_s = took_s / count * (len(jobs) - count)
            print(f"{what}: {count} of {len(jobs)} in {took_s:.0f} s, about {left_s:.0f} s to go", flush=True)


def write(journal: Journal, path: Path) -> None:
    """Make the Parquet file."""
    known = journal.rows
    rows = [row for (place, seed), row in known.items() if all((place, before) in known for before in range(seed))]
    write_table(path, journal.facts, rows)
    print(f"{path}: {len(rows)} measurements, {path.stat().st_size / 1e6:.2f} MB")


def main() -> None:
    """Parse and do."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("action", choices=["run", "write"])
    parser.add_argument("folder", type=Path, metavar="DIR")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--to", type=Path, default=SHIPPED, metavar="FILE")
    options = parser.parse_args()
    journal = Journal(options.folder)
    if options.action == "run":
        record(journal, options.workers)
    else:
        write(journal, options.to)


if __name__ == "__main__":
    main()
