"""From the files of a snapshot to a database in memory: whole under the newest schema, or only the tables asked for.

Readers take the second way: their tables have no keys and no indexes, which nothing here would ever check again, and
are made from the records at once instead of step by step from the first schema on.
"""

import resource
from collections.abc import Callable, Collection
from contextlib import suppress
from datetime import datetime
from enum import Enum
from pathlib import Path
from types import NoneType
from typing import Any, get_args, get_origin

import duckdb
import psutil

from memory.database.migrations.runner import migrate, newest_version
from memory.database.queries import CONNECT_CONFIG
from memory.database.rows import ALL_TABLES, NUMBERED_TABLES, Table, insert_many_sql
from memory.database.tail import read_tail
from memory.snapshot.manifest import Manifest, quoted
from memory.snapshot.needs import EVERYTHING, Needs
from rails.errors import UserError

Report = Callable[[int, int], None]
"""Told of each table: how many are loaded, of how many."""

_TYPES = {str: "VARCHAR", bool: "BOOLEAN", int: "BIGINT", float: "DOUBLE", datetime: "TIMESTAMP"}
_MEMORY_SHARE, _LEAST_BYTES, _MOST_BYTES = 0.25, 2**29, 2**30
_ALL_ELSE_BYTES = 2**30
"""What a process may take beside its database."""


def load(directory: Path, manifest: Manifest) -> duckdb.DuckDBPyConnection:
    """A database in memory with all rows of a snapshot under the newest schema, keys and all.

    Raises:
        UserError: a newer nightshift wrote it.
        duckdb.Error: it is damaged.
    """
    connection = connect()
    try:
        fill_database(connection, directory, manifest)
    except BaseException:
        connection.close()
        raise
    return connection


def fill_database(connection: duckdb.DuckDBPyConnection, directory: Path, manifest: Manifest) -> None:
    """Make the tables of the newest schema in an empty database, with all rows of a snapshot. Errors as `load`."""
    require_known(directory, manifest)
    migrate(connection, upto=manifest.schema)
    _fill(connection, directory, manifest, EVERYTHING)
    migrate(connection)


def load_tables(
    directory: Path, manifest: Manifest, wanted: Needs, report: Report | None = None
) -> duckdb.DuckDBPyConnection:
    """A locked-down database in memory with all tables, but rows only in those that are wanted.

    Of a table that is wanted in part only those columns are there, so that asking for another is an error. A snapshot
    of an older schema is loaded whole: its rows have to go through the migrations.

    Args:
        directory: the snapshot's.
        manifest: of it.
        wanted: tables and their columns.
        report: told of each table.

    Raises:
        UserError: a newer nightshift wrote it.
        duckdb.Error: it is damaged.
    """
    require_known(directory, manifest)
    older = manifest.schema < newest_version()
    connection = load(directory, manifest) if older else connect()
    try:
        if not older:
            tables = (bare(table, wanted.get(table.name)) for table in ALL_TABLES)
            connection.execute("CREATE SCHEMA raw;" + "".join(f"CREATE TABLE {table};" for table in tables))
            _fill(connection, directory, manifest, wanted, report)
        connection.execute(_locked_down())
    except BaseException:
        connection.close()
        raise
    return connection


def require_known(directory: Path, manifest: Manifest) -> None:
    """Make sure that this nightshift knows the snapshot's schema.

    Raises:
        UserError: it does not.
    """
    if manifest.schema > newest_version():
        fix = "use the nightshift that wrote it, or a newer one"
        raise UserError(f"the snapshot has schema version {manifest.schema}", where=str(directory), fix=fix)


def connect() -> duckdb.DuckDBPyConnection:
    """An empty database in memory."""
    return duckdb.connect(":memory:", config=CONNECT_CONFIG)


def bare(table: Table[Any], wanted: Collection[str] | None = None) -> str:
    """A table of the newest schema without keys and constraints, as it follows the words CREATE TABLE.

    Args:
        table: the table.
        wanted: its columns; None: all.
    """
    types = {name: sql_type(field.annotation) for name, field in table.record.model_fields.items()}
    if table in NUMBERED_TABLES:
        types["ordinal"] = "BIGINT"
    columns = (f'"{name}" {type_}' for name, type_ in types.items() if wanted is None or name in wanted)
    return f"raw.{table.name} ({', '.join(columns)})"


def sql_type(annotation: Any) -> str:
    """The type in which the store keeps a field of this annotation."""
    parts = [part for part in get_args(annotation) if part is not NoneType]
    if NoneType in get_args(annotation):
        return sql_type(parts[0])
    if get_origin(annotation) is dict:
        return "JSON"
    if get_origin(annotation) is list:
        return "JSON" if get_origin(parts[0]) is dict else f"{sql_type(parts[0])}[]"
    return "VARCHAR" if issubclass(annotation, Enum) else _TYPES[annotation]


def memory_bytes() -> int:
    """What a reader's database may take: a quarter of a small machine's memory, 1 GiB of any other."""
    return max(_LEAST_BYTES, min(_MOST_BYTES, int(_MEMORY_SHARE * psutil.virtual_memory().total)))


def bound_process() -> None:
    """Let this process have no more memory than a query may take: DuckDB's own limit does not count long values.

    A query that wants more ends with an error then, before the machine has to choose a process to kill. Where the
    system knows no such limit, nothing happens.
    """
    _, hard = resource.getrlimit(resource.RLIMIT_DATA)
    with suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_DATA, (memory_bytes() + _ALL_ELSE_BYTES, hard))


def _fill(
    connection: duckdb.DuckDBPyConnection,
    directory: Path,
    manifest: Manifest,
    wanted: Needs,
    report: Report | None = None,
) -> None:
    """Add the rows of a snapshot; those of the tail come last, as they were written last."""
    try:
        tail = {} if manifest.tail is None else read_tail(directory / manifest.tail)
    except (OSError, ValueError) as error:
        raise duckdb.InvalidInputException(f"{manifest.tail} cannot be read: {error}") from error
    for done, (table, columns) in enumerate(wanted.items()):
        if report is not None:
            report(done, len(wanted))
        parts = ", ".join(quoted(str(directory / name)) for name in manifest.files(table))
        if parts:
            chosen = "*" if columns == EVERYTHING[table] else ", ".join(f'"{name}"' for name in sorted(columns))
            connection.execute(f"INSERT INTO raw.{table} BY NAME SELECT {chosen} FROM read_parquet([{parts}])")
        names, rows = tail.get(table, ([], []))
        if rows:
            _insert(connection, table, None if columns == EVERYTHING[table] else columns, names, rows)


def _insert(
    connection: duckdb.DuckDBPyConnection,
    table: str,
    wanted: Collection[str] | None,
    names: list[str],
    rows: list[list[Any]],
) -> None:
    """Add rows in one statement that is as short for many rows as for one.

    `wanted` None takes all columns, also those that an older schema called otherwise.
    """
    if any(len(row) != len(names) for row in rows):
        raise duckdb.InvalidInputException(f"rows of {table} do not fit its columns")
    columns = zip(names, zip(*rows, strict=True), strict=True)
    values = {name: list(column) for name, column in columns if wanted is None or name in wanted}
    connection.execute(insert_many_sql(table, list(values)), list(values.values()))


def _locked_down() -> str:
    """Cut a database off from files, network, extensions, Python's own variables and its settings, for good."""
    return f"""
SET TimeZone = 'UTC';
SET temp_directory = '';
SET memory_limit = '{memory_bytes() // 2**20}MiB';
SET python_enable_replacements = false;
SET enable_external_access = false;
SET lock_configuration = true;
"""
