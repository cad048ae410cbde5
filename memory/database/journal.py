"""What was written since the tables were last brought up to date: one narrow row for each transaction.

DuckDB takes one to four milliseconds to plan a statement over a table of forty columns, and a trial writes some thirty
rows in several transactions. So a transaction writes one row of text into the journal, and what has gathered there is
folded into the tables by few statements: before anybody asks them, and at the latest every 16 trials, when the snapshot
needs a segment of them. Journal and tables lie in one file: DuckDB's own transactions make a row part of exactly one of
them. This is the log of a log-structured merge tree (O'Neil et al., https://doi.org/10.1007/s002360050048), whose
memory component is `memory/database/cache.py`.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeAlias

import duckdb

from memory.database.rows import ALL_TABLES, NUMBERED_TABLES, Table, insert_many_sql, stored_text

JOURNAL = "journal"

Entry: TypeAlias = tuple[str, bool, dict[str, Any]]
"""A table, whether the row is new, and columns: of a new row those that are not null, else its key and what changed."""

Changes: TypeAlias = Mapping[str, Any]

_KEYS = {table.name: ("ordinal",) if table in NUMBERED_TABLES else table.key for table in ALL_TABLES}


def new_row(table: Table[Any], columns: Sequence[str], row: Sequence[Any]) -> Entry:
    """The entry of a row that is added to a table."""
    return table.name, True, {name: value for name, value in zip(columns, row, strict=True) if value is not None}


def changed_row(table: Table[Any], key: Sequence[Any], changes: Changes) -> Entry:
    """The entry of a row that is there already."""
    return table.name, False, {**dict(zip(table.key, key, strict=True)), **changes}


def write_entries(connection: duckdb.DuckDBPyConnection, ordinal: int, entries: Sequence[Entry]) -> None:
    """Add the entries of one transaction.

    Raises:
        ValueError: text that is not Unicode.
        duckdb.Error: they cannot be written.
    """
    connection.execute("INSERT INTO raw.journal VALUES (?, ?)", [ordinal, stored_text(entries)])


def read_entries(connection: duckdb.DuckDBPyConnection) -> list[Entry]:
    """All entries, in the order of writing.

    Raises:
        ValueError: there is something else in the journal.
    """
    texts = connection.execute("SELECT entries FROM raw.journal ORDER BY ordinal").fetchall()
    try:
        entries: list[Entry] = [
            (name, new, dict(values)) for (text,) in texts for name, new, values in json.loads(text)
        ]
        if any(key not in values for name, _, values in entries for key in _KEYS[name]):
            raise ValueError("an entry has no key")
    except (ValueError, TypeError, LookupError, RecursionError) as error:
        raise ValueError(f"its journal holds something else ({error})") from error
    return entries


def fold(connection: duckdb.DuckDBPyConnection) -> None:
    """Bring the tables up to date and empty the journal. Call it in a transaction.

    Raises:
        ValueError: there is something else in the journal.
        duckdb.Error: the tables cannot be written.
    """
    new, changed = merged(read_entries(connection))
    for name, rows in new.items():
        columns = list(dict.fromkeys(column for row in rows for column in row))
        values = [[row.get(column) for row in rows] for column in columns]
        connection.execute(insert_many_sql(name, columns), values)
    for name, key, changes in changed:
        assignments = ", ".join(f"{column} = ?" for column in changes)
        where = " AND ".join(f"{column} = ?" for column in _KEYS[name])
        connection.execute(f"UPDATE raw.{name} SET {assignments} WHERE {where}", [*changes.values(), *key])
    connection.execute("DELETE FROM raw.journal")


def merged(
    entries: Iterable[Entry],
) -> tuple[dict[str, list[dict[str, Any]]], list[tuple[str, tuple[Any, ...], Changes]]]:
    """What the entries come to: new rows by table as they are in the end, and what changes in the rows that are there.

    Rows are in the order in which they were added; those without a key (spans) are all there.
    """
    new: dict[str, dict[Any, dict[str, Any]]] = {}
    changed: dict[tuple[str, tuple[Any, ...]], dict[str, Any]] = {}
    for name, is_new, values in entries:
        rows, key = new.setdefault(name, {}), tuple(values[column] for column in _KEYS[name])
        if is_new:
            rows[key or len(rows)] = values
        elif key in rows:
            rows[key] = {**rows[key], **values}
        else:
            changes = {column: value for column, value in values.items() if column not in _KEYS[name]}
            changed.setdefault((name, key), {}).update(changes)
    return {name: list(rows.values()) for name, rows in new.items() if rows}, [
        (name, key, changes) for (name, key), changes in changed.items()
    ]


def latest_phases(connection: duckdb.DuckDBPyConnection) -> dict[str, str]:
    """Trial id to the phase that it has according to the journal, for those that are in it."""
    return {
        values["trial_id"]: values["phase"]
        for name, _, values in read_entries(connection)
        if name == "trials" and "phase" in values
    }
