"""`nightshift tables`: what there is, and whether it comes out again."""

import json
from pathlib import Path
from typing import Any

import pytest

from cli.main import run_command
from tests.support.tables import FACTS, rows, tiny_facts, tiny_rows
from trainer.tabular.parquet_file import Row, write_table
from trainer.tabular.recorded import Cell


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the tables are that come with nightshift."""
    monkeypatch.setattr("trainer.tabular.table.FOLDER", tmp_path)
    return tmp_path


def printed(capsys: pytest.CaptureFixture[str]) -> Any:
    return json.loads(capsys.readouterr().out)


def test_the_list_says_what_each_table_is(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_table(folder / "made-up.parquet", FACTS, rows())
    assert run_command(["tables", "list", "--json"]) == 0
    found = next(table for table in printed(capsys)["tables"] if table["name"] == "made-up")
    assert found["knobs"] == {"depth": [1, 2], "lr": [0.1, 1, 10.0], "kind": ["a", "b"]}
    assert (found["configurations"], found["measurements"], found["failures"]) == (12, 22, 3)
    assert found["best"]["depth"] == 2 and found["best_mean"] > found["default_mean"]
    assert run_command(["tables", "list"]) == 0
    shown = capsys.readouterr().out
    assert "accuracy, higher is better" in shown and f"{found['best_mean']:.3f}" in shown


@pytest.mark.slow
def test_cells_are_trained_again_and_a_changed_one_is_found(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    facts = tiny_facts()
    honest = tiny_rows(facts)
    write_table(folder / "tiny.parquet", facts, honest)
    assert run_command(["tables", "verify", "tiny", "--cells", "2", "--json"]) == 0
    document = printed(capsys)
    assert document["passed"] and document["same_machine"] and len(document["cells"]) == 2
    assert all(cell["exact"] and cell["recorded"] == cell["retrained"] for cell in document["cells"])
    score = honest[0].cell.score
    assert score is not None
    forged = Row(configuration=honest[0].configuration, seed_index=0, cell=Cell(score=score + 1e-9, seconds=1.0))
    write_table(folder / "tiny.parquet", facts, [forged])
    assert run_command(["tables", "verify", "tiny", "--cells", "1"]) == 1
    assert "0 of 1 cells are the same to the last digit" in capsys.readouterr().out


def test_what_cannot_be_trained_again_is_refused(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_table(folder / "made-up.parquet", FACTS, rows())
    assert run_command(["tables", "verify", "made-up"]) == 1
    assert "recorded by others" in capsys.readouterr().err
    assert run_command(["tables", "verify", "nothing"]) == 1
    assert "there is no table" in capsys.readouterr().err
