"""A cell of a recorded table is trained again to the last digit, whatever was trained before it."""

from pathlib import Path

import pytest

from rails.errors import UserError
from rails.status import Status
from tests.support.tables import GOOD, tiny_facts, tiny_rows
from trainer.tabular.checking import Audit
from trainer.tabular.parquet_file import Row, read_table, write_table
from trainer.tabular.recipe import TableFacts
from trainer.tabular.recorded import Cell

pytestmark = pytest.mark.system


@pytest.fixture(scope="module")
def facts() -> TableFacts:
    return tiny_facts()


@pytest.fixture(scope="module")
def recorded(facts: TableFacts) -> list[Row]:
    return tiny_rows(facts)


def test_training_records_a_score_a_curve_and_real_failures(recorded: list[Row]) -> None:
    good, _, bad, *_ = (row.cell for row in recorded)
    assert good.score is not None and 2 < good.score < 8
    assert [point.step for point in good.curve] == list(range(1, 41))
    assert 0 < good.curve[-1].elapsed_s < good.seconds
    assert (bad.score, bad.status) == (None, Status.CRASH)
    assert bad.reason is not None and bad.reason.startswith(("loss diverged", "loss became NaN"))
    assert len(bad.curve) < 40


def test_cells_are_the_same_in_any_order(facts: TableFacts, recorded: list[Row], tmp_path: Path) -> None:
    write_table(tmp_path / "tiny.parquet", facts, recorded)
    audit = Audit(read_table(tmp_path / "tiny.parquet"))
    assert audit.same_machine
    checked = list(audit.check(99, seed=5))
    assert len(checked) == len(recorded) and all(each.exact and each.close for each in checked)
    assert [row.configuration for row in recorded] != [each.configuration for each in checked]


def test_what_was_changed_is_found(facts: TableFacts, recorded: list[Row], tmp_path: Path) -> None:
    score = recorded[0].cell.score
    assert score is not None
    forged = [Row(configuration=dict(GOOD), seed_index=0, cell=Cell(score=score * (1 + 1e-12), seconds=1.0))]
    write_table(tmp_path / "tiny.parquet", facts, forged)
    (checked,) = Audit(read_table(tmp_path / "tiny.parquet")).check(1, seed=0)
    assert not checked.exact and checked.close
    assert checked.difference == pytest.approx(-1e-12, rel=1e-3)


def test_another_text_is_refused(facts: TableFacts, recorded: list[Row], tmp_path: Path) -> None:
    assert facts.recipe is not None
    other = facts.recipe.model_copy(update={"data_key": "0" * 64, "corpus_sha256": "0" * 64})
    write_table(tmp_path / "tiny.parquet", facts.model_copy(update={"recipe": other}), recorded)
    with pytest.raises(UserError, match="not what the table was recorded on"):
        Audit(read_table(tmp_path / "tiny.parquet"))
