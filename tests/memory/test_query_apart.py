"""A query in a process of its own answers as the reader does, and takes neither memory nor time beyond what it may."""

import resource
from pathlib import Path

import pytest

from memory.publish import publish
from memory.query_apart import query_apart
from memory.reader import Reader
from memory.store import Store
from rails.errors import UserError
from tests.support.rows import make_records, write_records


@pytest.fixture(scope="module")
def snapshot(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("apart")
    with Store.open(folder / "store.duckdb") as store:
        write_records(store, make_records(12, seed=2, tag="one"))
        publish(store, folder / "snapshot")
    return folder / "snapshot"


def test_it_answers_as_the_reader_does(snapshot: Path) -> None:
    sql = "SELECT trial, status, metric, created_at FROM trials ORDER BY trial"
    with Reader.open_for(snapshot, sql) as reader:
        assert query_apart(snapshot, sql, limit=5, timeout_s=20) == reader.query(sql, 5)


@pytest.mark.parametrize(
    ("sql", "what"),
    [
        ("SELECT nothing FROM trials", "the query failed"),
        ("DELETE FROM trials", "can only be read"),
        ("SELECT length(repeat('x', 3000000000)), repeat('x', 3000000000)", "needs more memory than it may have"),
        ("SELECT count(*) FROM range(10000000) a, range(10000000) b WHERE a.range * b.range % 7 = 1", "took longer"),
    ],
)
def test_what_it_refuses_costs_the_loop_nothing(snapshot: Path, sql: str, what: str) -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(UserError, match=what):
        query_apart(snapshot, sql, limit=10, timeout_s=1.0)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss < before + 100 * 1024
