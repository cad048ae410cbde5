"""The answer to a query: all of it as plain values, or bit by bit, or as a Parquet file that this process writes."""

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb

from memory.atomic import disk_errors
from rails.errors import UserError

BATCH = 2_000
"""Rows that are in memory at a time of an answer that is read bit by bit."""


@dataclass(frozen=True, slots=True)
class QueryResult:
    """The answer to a query: plain values that JSON knows, times as ISO 8601 in UTC."""

    columns: list[str]
    rows: list[list[Any]]
    more: bool = False
    """Whether there are rows that were not asked for."""


class Answer:
    """An answer that DuckDB computes while it is read. Read it once, in one of the ways.

    Args:
        connection: in a read-only transaction, which lasts until the answer is read.
        sql: one statement that only reads.

    Raises:
        duckdb.Error: it is not accepted; any of the methods may raise it as well.
    """

    def __init__(self, connection: duckdb.DuckDBPyConnection, sql: str) -> None:
        self._connection, self._sql = connection, sql
        self._began = False

    @property
    def columns(self) -> list[str]:
        """The names of the columns."""
        return [str(column[0]) for column in self._answer().description or []]

    def batches(self, rows: int = BATCH) -> Iterator[list[list[Any]]]:
        """The rows as plain values, some at a time."""
        answer = self._answer()
        while batch := answer.fetchmany(rows):
            yield [[plain(value) for value in row] for row in batch]

    def result(self, limit: int | None = None) -> QueryResult:
        """All rows, or the first ones."""
        columns, rows = self.columns, list[list[Any]]()
        if limit is None:
            return QueryResult(columns, [row for batch in self.batches() for row in batch])
        for batch in self.batches(min(BATCH, limit + 1)):
            rows += batch
            if len(rows) > limit:
                return QueryResult(columns, rows[:limit], more=True)
        return QueryResult(columns, rows)

    def write_parquet(self, path: Path, report: Callable[[int], None] = lambda rows: None) -> int:
        """Write the answer to a Parquet file, with DuckDB's own types, or leave the file there as it was.

        Args:
            path: the file.
            report: told how many rows are written, from time to time.

        Returns:
            How many rows it has.

        Raises:
            UserError: a column has a type that Parquet does not have.
            HaltError: the file cannot be written.
        """
        import pyarrow as pa
        import pyarrow.parquet as pq

        rows, temporary = 0, path.with_name(f".{path.name}.tmp")
        with disk_errors(path):
            try:
                with (
                    self._connection.sql(self._sql).to_arrow_reader(BATCH) as answer,  # open, it blocks the connection
                    pq.ParquetWriter(temporary, answer.schema, compression="zstd") as writer,
                ):
                    for batch in answer:
                        rows += batch.num_rows
                        writer.write_batch(batch)
                        report(rows)
                temporary.replace(path)
            except (pa.ArrowNotImplementedError, pa.ArrowInvalid, pa.ArrowTypeError) as error:
                what = f"Parquet cannot hold this answer ({' '.join(str(error).split())})"
                raise UserError(what, where=str(path), fix="cast the column, e.g. to VARCHAR") from error
            finally:
                temporary.unlink(missing_ok=True)
        return rows

    def _answer(self) -> duckdb.DuckDBPyConnection:
        if not self._began:
            self._began = True
            self._connection.execute(self._sql)
        return self._connection


def query_error(error: duckdb.Error, views: tuple[str, ...]) -> UserError:
    """What DuckDB says against a query, for the person who wrote it."""
    if isinstance(error, duckdb.OutOfMemoryException):
        return UserError("the query needs more memory than it may have", fix="ask for less, or in smaller steps")
    if "pytz" in str(error):
        return UserError("a time with a zone cannot be shown", fix="cast it: now()::TIMESTAMP; everything here is UTC")
    what = " ".join(str(error).split("\n\nLINE")[0].split())
    return UserError(
        f"the query failed: {what}", fix=f"the views are {', '.join(views)}; DESCRIBE one to see its columns"
    )


def plain(value: Any) -> Any:
    """A value that JSON knows: exact where JSON can be, else text; a number that is not finite is null."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
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
