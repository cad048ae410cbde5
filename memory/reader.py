"""Reading a workspace from another process: a private copy in memory of what the loop has published.

Whatever the SQL says, it cannot write: the copy is this process's own, its queries run in read-only transactions, and
the database is cut off from files, network, extensions and its own settings before the first one.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import duckdb

from memory.migrations.runner import migrate, newest_version
from memory.queries import CONNECT_CONFIG, Queries, create_views
from memory.rows import ALL_TABLES
from memory.snapshot import Manifest, quoted, read_manifest
from memory.tail import read_tail
from rails.errors import UserError

VIEWS = (
    "trials", "measurements", "curves", "calls", "verdicts", "lessons", "near_misses", "noise", "campaigns",
    "lineage_blocks", "spans", "events",
)  # fmt: skip
"""The documented views, as named in memory/views.sql."""

_TAIL_ROWS = 64
"""Rows of the tail that one statement adds."""
_READING = {"SELECT", "EXPLAIN", "MULTI"}  # MULTI is PIVOT
_LOCKED_DOWN = """
SET temp_directory = '';
SET memory_limit = '4GB';
SET enable_external_access = false;
SET lock_configuration = true;
"""


@dataclass(frozen=True, slots=True)
class QueryResult:
    """The answer to a query: plain values that JSON knows, times as ISO 8601 in UTC."""

    columns: list[str]
    rows: list[list[Any]]


class Reader(Queries):
    """What the loop published last. Does not follow later publications: open another one."""

    @classmethod
    def open(cls, directory: Path) -> Self:
        """Load the snapshot in `directory`, also while a loop is publishing the next; or a rescue of a damaged store.

        Raises:
            UserError: there is no snapshot, it is damaged, or a newer nightshift wrote it.
        """
        manifest = read_manifest(directory)
        while True:
            try:
                return cls(_load_for_reading(directory, manifest))
            except duckdb.Error as error:
                # A file may have gone because newer ones took its place; without a newer manifest it is damage.
                newer = read_manifest(directory)
                if newer == manifest:
                    fix = "it is written anew when the loop starts: `nightshift run`"
                    raise UserError(f"the snapshot is damaged ({error})", where=str(directory), fix=fix) from error
                manifest = newer

    def query(self, sql: str) -> QueryResult:
        """Answer one SELECT (or FROM, WITH, DESCRIBE, SUMMARIZE, PIVOT, EXPLAIN) over the documented views.

        Raises:
            UserError: it is not one such statement, it tries to write, or DuckDB does not accept it.
        """
        with self._lock:
            try:
                statements = duckdb.extract_statements(sql)
                if len(statements) != 1 or statements[0].type.name not in _READING:
                    raise UserError("the record can only be read, one SELECT at a time", fix="SELECT … FROM trials")
                self._connection.execute("BEGIN TRANSACTION READ ONLY")
                try:
                    answer = self._connection.execute(sql)
                    columns = [str(column[0]) for column in answer.description or []]
                    return QueryResult(columns, [[_plain(value) for value in row] for row in answer.fetchall()])
                finally:
                    self._connection.rollback()
            except duckdb.Error as error:
                raise _query_error(error) from error

    def close(self) -> None:
        """Forget the copy."""
        with self._lock:
            self._connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def load(directory: Path, manifest: Manifest) -> duckdb.DuckDBPyConnection:
    """A database in memory with the rows of a snapshot or a rescue under the newest schema.

    Raises:
        UserError: a newer nightshift wrote it.
        duckdb.Error: it is damaged.
    """
    if manifest.schema > newest_version():
        fix = "use the nightshift that wrote it, or a newer one"
        raise UserError(f"the snapshot has schema version {manifest.schema}", where=str(directory), fix=fix)
    connection = duckdb.connect(":memory:", config=CONNECT_CONFIG)
    try:
        migrate(connection, upto=manifest.schema)
        for table in ALL_TABLES:
            files = ", ".join(quoted(str(directory / name)) for name in manifest.files(table.name))
            if files:
                connection.execute(f"INSERT INTO raw.{table.name} BY NAME SELECT * FROM read_parquet([{files}])")
        if manifest.tail is not None:
            _add_tail(connection, directory / manifest.tail)
        migrate(connection)
    except BaseException:
        connection.close()
        raise
    return connection


def _add_tail(connection: duckdb.DuckDBPyConnection, path: Path) -> None:
    """Add the newest rows of a snapshot."""
    try:
        tail = read_tail(path)
    except (OSError, ValueError) as error:
        raise duckdb.InvalidInputException(f"{path.name} cannot be read: {error}") from error
    for table in ALL_TABLES:
        columns, rows = tail.get(table.name, ([], []))
        row = f"({', '.join('?' * len(columns))})"
        for start in range(0, len(rows), _TAIL_ROWS):
            some = rows[start : start + _TAIL_ROWS]
            sql = f"INSERT INTO raw.{table.name} ({', '.join(columns)}) VALUES {', '.join([row] * len(some))}"
            connection.execute(sql, [value for values in some for value in values])


def _load_for_reading(directory: Path, manifest: Manifest) -> duckdb.DuckDBPyConnection:
    """As `load`, with views, and locked down."""
    connection = load(directory, manifest)
    try:
        create_views(connection)
        connection.execute(_LOCKED_DOWN)
    except BaseException:
        connection.close()
        raise
    return connection


def _query_error(error: duckdb.Error) -> UserError:
    if "pytz" in str(error):
        return UserError("a time with a zone cannot be shown", fix="cast it: now()::TIMESTAMP; everything here is UTC")
    what = " ".join(str(error).split("\n\nLINE")[0].split())
    return UserError(
        f"the query failed: {what}", fix=f"the views are {', '.join(VIEWS)}; DESCRIBE one to see its columns"
    )


def _plain(value: Any) -> Any:
    """A value that JSON knows: exact where JSON can be, else text; a number that is not finite is null."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return _plain_scalar(value)


def _plain_scalar(value: object) -> Any:
    if isinstance(value, Decimal):
        return int(value) if value == value.to_integral_value() else float(value)
    if isinstance(value, datetime):
        return (value if value.tzinfo else value.replace(tzinfo=UTC)).isoformat()
    if isinstance(value, timedelta):
        return value.total_seconds()
    if isinstance(value, bytes):
        return value.hex()
    return value.isoformat() if isinstance(value, date | time) else str(value)
