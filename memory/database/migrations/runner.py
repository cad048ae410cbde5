"""Brings a database to the newest schema: an empty one at once, an older one in steps, one transaction each."""

import re
from dataclasses import dataclass
from importlib.resources import files
from importlib.resources.abc import Traversable

import duckdb

from memory.records import utc_now
from rails.errors import UserError

_FOLDER = "memory.database.migrations"
_FILE_NAME = re.compile(r"(\d{4})_(\w+)\.sql")
_WHOLE = "schema.sql"
"""The newest schema in one file, beside the steps that lead to it."""
LEDGER = "migrations"
"""The table of steps that a database has had."""

_LEDGER = """
CREATE SCHEMA IF NOT EXISTS raw;
CREATE TABLE IF NOT EXISTS raw.migrations (
    version INTEGER PRIMARY KEY,
    name VARCHAR NOT NULL,
    applied_at TIMESTAMP NOT NULL
);
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Migration:
    """One numbered step of the schema, from a file `NNNN_name.sql`."""

    version: int
    name: str
    sql: str


def migrations(folder: Traversable | None = None) -> list[Migration]:
    """The steps in `folder` (default: the ones shipped with this package), in order.

    Raises:
        ValueError: the numbers are not 1, 2, 3, …
    """
    found: list[Migration] = []
    for entry in (folder or files(_FOLDER)).iterdir():
        match = _FILE_NAME.fullmatch(entry.name)
        if match:
            text = entry.read_text(encoding="utf-8")
            found.append(Migration(version=int(match[1]), name=match[2], sql=text))
    found.sort(key=lambda step: step.version)
    if [step.version for step in found] != list(range(1, len(found) + 1)):
        raise ValueError(f"migrations must be numbered without gaps, got {[step.version for step in found]}")
    return found


def newest_version() -> int:
    """The schema that this nightshift works with."""
    return len(migrations())


def schema_version(connection: duckdb.DuckDBPyConnection) -> int:
    """The newest step that this database has had; 0 for an empty one."""
    ledger = "SELECT 1 FROM duckdb_tables() WHERE schema_name = 'raw' AND table_name = 'migrations'"
    if not connection.execute(ledger).fetchone():
        return 0
    row = connection.execute("SELECT coalesce(max(version), 0) FROM raw.migrations").fetchone()
    return int(row[0]) if row else 0


def migrate(
    connection: duckdb.DuckDBPyConnection, *, upto: int | None = None, steps: list[Migration] | None = None
) -> int:
    """Apply every missing step up to version `upto` (default: all) and return the version reached.

    A step and its entry in the ledger are one transaction: a kill leaves the old schema or the new one, whole. An empty
    database that is to have the newest schema gets it in one, from `schema.sql`.

    Args:
        connection: to the database.
        upto: where to stop.
        steps: walk these, also in an empty database (default: the ones shipped with this package).

    Raises:
        UserError: the database was written by a newer nightshift.
    """
    shipped = steps is None
    steps = migrations() if steps is None else steps
    present = schema_version(connection)
    if present > len(steps):
        raise UserError(
            f"the store has schema version {present}, this nightshift knows only {len(steps)}",
            fix="use the nightshift that wrote it, or a newer one",
        )
    if shipped and present == 0 and upto is None:
        _apply(connection, files(_FOLDER).joinpath(_WHOLE).read_text(encoding="utf-8"), steps)
        return len(steps)
    for step in steps[present:upto]:
        _apply(connection, step.sql, [step])
        present = step.version
    return present


def _apply(connection: duckdb.DuckDBPyConnection, sql: str, steps: list[Migration]) -> None:
    """Run `sql`, which makes these steps, and enter them in the ledger: all in one transaction."""
    connection.begin()
    try:
        connection.execute(_LEDGER)
        connection.execute(sql)
        applied_at = utc_now().replace(tzinfo=None)
        for step in steps:
            connection.execute("INSERT INTO raw.migrations VALUES (?, ?, ?)", [step.version, step.name, applied_at])
        connection.commit()
    except BaseException:
        connection.rollback()
        raise
