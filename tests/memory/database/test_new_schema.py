"""A new store, whose schema is made at once, is one that has come through every migration."""

from pathlib import Path
from typing import Any

import duckdb
import pytest

from memory.database.migrations import runner
from memory.database.migrations.runner import Migration, migrate, migrations
from memory.store import Store

CATALOG = {
    "tables": "SELECT table_name, sql FROM duckdb_tables() WHERE schema_name = 'raw'",
    "columns": "SELECT table_name, column_index, column_name, data_type, column_default, is_nullable"
    " FROM duckdb_columns() WHERE schema_name = 'raw'",
    "constraints": "SELECT table_name, constraint_type, constraint_text FROM duckdb_constraints()"
    " WHERE schema_name = 'raw'",
    "indexes": "SELECT table_name, index_name, is_unique, sql FROM duckdb_indexes() WHERE schema_name = 'raw'",
    "views": "SELECT schema_name, view_name, sql FROM duckdb_views() WHERE NOT internal",
    "ledger": "SELECT version, name FROM raw.migrations",
}


def described(connection: duckdb.DuckDBPyConnection) -> dict[str, list[Any]]:
    """What a database has beside rows, and its ledger."""
    return {part: connection.execute(f"{sql} ORDER BY ALL").fetchall() for part, sql in CATALOG.items()}


def test_a_new_schema_is_the_one_that_the_migrations_make() -> None:
    with duckdb.connect(":memory:") as stepwise, duckdb.connect(":memory:") as at_once:
        assert migrate(stepwise, steps=migrations()) == migrate(at_once) == len(migrations())
        expected, found = described(stepwise), described(at_once)
    for part in CATALOG:
        assert found[part] == expected[part], f"{part}: memory/database/migrations/schema.sql lacks a step"
    assert all(expected[part] for part in CATALOG if part != "views")


def test_a_new_store_is_an_old_one_that_was_migrated(tmp_path: Path) -> None:
    """In the file, too: DuckDB may keep apart what its catalog shows alike."""
    new, old = tmp_path / "new.duckdb", tmp_path / "old.duckdb"
    with duckdb.connect(str(old)) as connection:
        migrate(connection, upto=1)
    for path in (new, old):
        Store.open(path).close()
    with duckdb.connect(str(new)) as made, duckdb.connect(str(old)) as migrated:
        assert described(made) == described(migrated)
        assert migrate(made) == migrate(migrated) == len(migrations())


def test_a_new_schema_that_fails_leaves_an_empty_database(monkeypatch: pytest.MonkeyPatch) -> None:
    twice = [*migrations(), Migration(version=1, name="twice", sql="")]
    monkeypatch.setattr(runner, "migrations", lambda: twice)
    with duckdb.connect(":memory:") as connection:
        with pytest.raises(duckdb.ConstraintException):
            migrate(connection)
        assert connection.execute("SELECT count(*) FROM duckdb_tables()").fetchone() == (0,)
