"""Recorded tables: what was written is what is answered, and nothing else is."""

import json
import random
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from rails.errors import UserError
from rails.status import Status
from tests.support.tables import FACTS, rows
from trainer.tabular.parquet_file import FACTS as FACTS_KEY
from trainer.tabular.parquet_file import read_table, write_table
from trainer.tabular.recorded import RecordedTable
from trainer.tabular.table import open_table, shipped_names, table_facts


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "made-up.parquet"
    shuffled = rows()
    random.Random(0).shuffle(shuffled)
    write_table(path, FACTS, shuffled)
    return path


@pytest.fixture
def table(file: Path) -> RecordedTable:
    return read_table(file)


def test_every_cell_comes_back_as_it_was_written(table: RecordedTable) -> None:
    for row in rows():
        assert table.cell(row.configuration, row.seed_index) == row.cell
    assert (table.measurements, table.failures) == (len(rows()), 3)
    numbered = [table.measured(number) for number in range(table.measurements)]
    assert numbered == [(row.configuration, row.seed_index) for row in rows()]


def test_a_table_says_what_it_is(table: RecordedTable) -> None:
    assert (table.name, table.metric_name, table.direction) == ("made-up", "accuracy", "maximize")
    assert (table.unit, table.decimals, len(table.sha256)) == ("", 3, 64)
    assert table.menu == FACTS.menu
    assert len(list(table.configurations())) == 11


def test_what_was_not_recorded_is_never_invented(table: RecordedTable) -> None:
    good = {"depth": 1, "lr": 0.1, "kind": "a"}
    outside: list[dict[str, Any]] = [
        {"depth": 2, "lr": 10.0, "kind": "b"},
        {**good, "depth": 3},
        {**good, "lr": 0.2},
        {**good, "depth": True},
        {**good, "more": 1},
        {"depth": 1, "lr": 0.1},
    ]
    assert table.seeds(good) == 2
    for configuration in outside:
        assert table.seeds(configuration) == 0
        assert table.true_mean(configuration) is None
        with pytest.raises(UserError, match="was not recorded"):
            table.cell(configuration, 0)
    for seed in (-1, 2):
        with pytest.raises(UserError, match="2 recorded seeds"):
            table.cell(good, seed)


def test_the_truth_is_the_mean_of_all_seeds_and_a_failure_has_none(table: RecordedTable) -> None:
    good, failing = {"depth": 1, "lr": 0.1, "kind": "a"}, {"depth": 1, "lr": 10.0, "kind": "a"}
    scores = [table.cell(good, seed).score for seed in range(2)]
    assert table.true_mean(good) == pytest.approx(sum(score or 0.0 for score in scores) / 2)
    assert table.true_mean(failing) is None
    assert table.cell(failing, 1).status is Status.CRASH
    means = {tuple(c.values()): table.true_mean(c) for c in table.configurations()}
    assert table.true_mean(table.best()) == max(mean for mean in means.values() if mean is not None)


def _facts(change: dict[str, Any]) -> dict[bytes, bytes]:
    facts = json.loads(FACTS.model_dump_json(exclude_none=True))
    return {FACTS_KEY: json.dumps({**facts, **change}).encode()}


def _column(table: pa.Table, name: str, values: list[Any]) -> pa.Table:
    at = table.schema.get_field_index(name)
    return table.set_column(at, table.schema.field(at), pa.array(values, table.schema.field(at).type))


def _with(table: pa.Table, name: str, row: int, value: Any) -> pa.Table:
    values = table[name].to_pylist()
    values[row] = value
    return _column(table, name, values)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda t: t.replace_schema_metadata({}), "no nightshift.table"),
        (lambda t: t.replace_schema_metadata({FACTS_KEY: b"{"}), "not a recorded table"),
        (lambda t: t.replace_schema_metadata(_facts({"format": 2})), "format"),
        (lambda t: t.replace_schema_metadata(_facts({"surprise": 2})), "surprise"),
        (lambda t: t.drop_columns(["seconds"]), "columns should be"),
        (lambda t: _with(t, "seed_index", 1, 2), "without gaps"),
        (lambda t: t.slice(0, 3).append_column("x", pa.array([1, 2, 3])), "columns should be"),
        (lambda t: t.take([2, 3, 0, 1]), "ordered by configuration"),
        (lambda t: t.take([0, 0]), "without gaps"),
        (lambda t: _with(t, "score", 0, None), "row 0 should have either"),
        (lambda t: _with(t, "score", 0, float("inf")), "row 0 should have either"),
        (lambda t: _with(t, "status", 0, "crash"), "row 0 should have both"),
        (lambda t: _with(t, "status", 9, "keep"), "row 9 should have both"),
        (lambda t: _with(t, "status", 9, "sad"), "sad"),
        (lambda t: _with(t, "seconds", 0, -1.0), "seconds"),
        (lambda t: _with(t, "depth", 0, 7), "row 0 is not on its menu"),
        (lambda t: _with(t, "curve_loss", 0, [1.0]), "equally long"),
    ],
)
def test_a_file_that_is_not_as_it_must_be_is_refused(file: Path, change: Any, reason: str) -> None:
    pq.write_table(change(pq.read_table(file)), file)
    with pytest.raises(UserError, match=reason) as refused:
        read_table(file)
    assert str(file) in str(refused.value)


def test_a_file_that_is_none_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such file"):
        read_table(tmp_path / "none.parquet")
    (tmp_path / "text.parquet").write_text("not Parquet")
    with pytest.raises(UserError, match="no Parquet file"):
        read_table(tmp_path / "text.parquet")


def test_a_table_is_opened_by_its_name(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trainer.tabular.table.FOLDER", file.parent)
    assert shipped_names() == ["made-up"]
    assert open_table("made-up").facts == table_facts("made-up") == FACTS
    with pytest.raises(UserError, match=r"made-pu.*made-up"):
        open_table("made-pu")


@pytest.mark.parametrize("name", shipped_names())
def test_what_comes_with_nightshift_is_whole_and_can_be_trained_again(name: str) -> None:
    table = open_table(name)
    recipe = table.facts.recipe
    seeds = table.seeds_recorded()
    assert table.name == name and len(seeds) == 729 and min(seeds) >= 3 and seeds.count(9) >= 200
    assert table.seeds(table.menu.defaults()) == table.seeds(table.best()) == 9
    assert recipe is not None and "class Knobs" in recipe.program
    assert table.cell(table.best(), 8).curve[-1].step == recipe.steps
