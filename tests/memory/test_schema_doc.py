"""docs/schema.md says what the store has, all of it, and its examples are answered."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from memory.publish import publish
from memory.reader import VIEWS, Reader
from memory.schema_doc import CLOSED_LISTS, EXAMPLES, documented_views, render
from memory.store import Store
from tests.support.rows import make_records, write_records

ROOT = Path(__file__).resolve().parents[2]


def test_the_schema_is_up_to_date() -> None:
    written = (ROOT / "docs" / "schema.md").read_text(encoding="utf-8")
    assert written == render(), "run `python -m memory.schema_doc > docs/schema.md`"


def test_every_view_and_column_has_a_meaning() -> None:
    views = documented_views()
    assert [view.name for view in views] == list(VIEWS)
    assert [view.name for view in views if not view.meaning] == []
    assert [f"{view.name}.{column.name}" for view in views for column in view.columns if not column.meaning] == []


def test_closed_lists_are_columns() -> None:
    columns = {f"{view.name}.{column.name}" for view in documented_views() for column in view.columns}
    assert CLOSED_LISTS.keys() <= columns
    text = render()
    assert all(f"`{word}`" in text for words in CLOSED_LISTS.values() for word in words)


@pytest.fixture(scope="module")
def snapshot(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("schema")
    with Store.open(folder / "store.duckdb") as store:
        write_records(store, make_records(60, seed=2))
        publish(store, folder / "snapshot")
        yield folder / "snapshot"


_EMPTY = {"Which rail stops most proposals, and why?", "Where did the time go?"}
"""These made-up campaigns have no blocked verdict, and spans of the nodes alone."""


@pytest.mark.parametrize(("question", "sql"), EXAMPLES)
def test_every_example_is_answered(question: str, sql: str, snapshot: Path) -> None:
    with Reader.open_for(snapshot, sql) as reader:
        assert bool(reader.query(sql).rows) == (question not in _EMPTY)
