"""Stores as an earlier nightshift left them, and whole stores in a form that can be compared."""

from pathlib import Path
from typing import Any

import duckdb

from memory.database.migrations.runner import migrate
from memory.database.rows import ALL_TABLES
from memory.store import Store
from tests.support.rows import CampaignRecords, write_records

_NOW = {"val_bpb": "score", "test_bpb": "test_score"}
"""What columns are called today that were renamed."""


def write_old_store(path: Path, records: CampaignRecords, version: int) -> None:
    """A store under schema `version` that holds what that schema knows of `records`."""
    present = path.with_name("present.duckdb")
    with Store.open(present) as store:
        write_records(store, records)
    with duckdb.connect(str(path)) as connection:
        migrate(connection, upto=version)
        connection.execute(f"ATTACH '{present}' AS present (READ_ONLY)")
        tables = connection.execute("SELECT table_name FROM duckdb_tables() WHERE database_name = 'store'").fetchall()
        for (table,) in tables:
            if table != "migrations":
                described = connection.execute(f"DESCRIBE store.raw.{table}").fetchall()
                columns = ", ".join(f"{_NOW.get(row[0], row[0])} AS {row[0]}" for row in described)
                connection.execute(f"INSERT INTO store.raw.{table} BY NAME SELECT {columns} FROM present.raw.{table}")
        connection.execute("DETACH present")
    present.unlink()


def rows_of(store: Store) -> dict[str, list[Any]]:
    """Every row of every table, in an order of its own."""
    return {
        table.name: sorted(store._fetch(f"SELECT {table.column_list} FROM raw.{table.name}"), key=repr)  # pyright: ignore[reportPrivateUsage]
        for table in ALL_TABLES
    }
