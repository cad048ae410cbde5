"""Reading a workspace from another process: a private copy in memory of what the loop has published.

Whatever the SQL says, it cannot write: the copy is this process's own, its queries run in read-only transactions, and
the database is cut off from files, network, extensions and its own settings before the first one.
"""

import re
from collections.abc import Collection, Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from threading import Timer
from types import TracebackType
from typing import Any, Self

import duckdb

from memory.answers import Answer, QueryResult, query_error
from memory.loading import TABLES, Report, load_tables, tables_of_views
from memory.noise import Noise
from memory.queries import Queries, views_sql
from memory.rows import CAMPAIGNS, Row
from memory.snapshot import read_manifest
from rails.errors import UserError

__all__ = ["VIEWS", "QueryResult", "Reader"]

VIEWS = (
    "trials", "measurements", "curves", "calls", "verdicts", "lessons", "near_misses", "noise", "campaigns",
    "lineage_blocks", "spans", "events",
)  # fmt: skip
"""The documented views, as named in memory/views.sql."""

_READING = {"SELECT", "EXPLAIN", "MULTI"}  # MULTI is PIVOT
_FROM = re.compile(r"\b(?:FROM|JOIN) (?:raw\.)?(\w+)")

_NOISE_ONCE = """
CREATE TEMP TABLE noise_found AS FROM noise;
CREATE OR REPLACE TEMP VIEW noise AS FROM noise_found;
"""
"""The rows of a reader never change, so the dearest of its views is computed once."""


class Reader(Queries):
    """What the loop published last. Does not follow later publications: open another one."""

    def __init__(self, connection: duckdb.DuckDBPyConnection, tables: frozenset[str] = TABLES) -> None:
        super().__init__(connection)
        self._tables = tables
        self._has_views = False

    @classmethod
    def open(cls, directory: Path, tables: Collection[str] = TABLES, report: Report | None = None) -> Self:
        """Load the snapshot in `directory`, also while a loop is publishing the next; or a rescue of a damaged store.

        Args:
            directory: with the manifest.
            tables: load the rows of these only (`memory.loading.tables_for` names those of a query): much faster in a
                long campaign. Asking for others is a ValueError. Campaigns are always there.
            report: told of each table that is loaded.

        Raises:
            UserError: there is no snapshot, it is damaged, or a newer nightshift wrote it.
        """
        wanted = frozenset(tables) | {CAMPAIGNS.name}
        manifest = read_manifest(directory)
        while True:
            try:
                return cls(load_tables(directory, manifest, wanted, report), wanted)
            except duckdb.Error as error:
                # A file may have gone because newer ones took its place; without a newer manifest it is damage.
                newer = read_manifest(directory)
                if newer == manifest:
                    fix = "it is written anew when the loop starts: `nightshift run`"
                    raise UserError(f"the snapshot is damaged ({error})", where=str(directory), fix=fix) from error
                manifest = newer

    def query(self, sql: str, limit: int | None = None, *, timeout_s: float | None = None) -> QueryResult:
        """Answer one SELECT (or FROM, WITH, DESCRIBE, SUMMARIZE, PIVOT, EXPLAIN) over the documented views.

        Args:
            sql: the statement.
            limit: most rows to give; the result says whether there are more. None: all, whatever memory that takes.
            timeout_s: how long it may take; None: for ever.

        Raises:
            UserError: it is not one such statement, it tries to write, DuckDB does not accept it, or it took too long.
        """
        with self.asking(sql, timeout_s=timeout_s) as answer:
            return answer.result(limit)

    @contextmanager
    def asking(self, sql: str, *, timeout_s: float | None = None) -> Generator[Answer]:
        """As `query`, for an answer that is read bit by bit while the block runs, however long it is."""
        with self._lock:
            alarm = None if timeout_s is None else Timer(timeout_s, self._connection.interrupt)
            try:
                statements = duckdb.extract_statements(sql)
                if len(statements) != 1 or statements[0].type.name not in _READING:
                    raise UserError("the record can only be read, one SELECT at a time", fix="SELECT … FROM trials")
                self._make_views()
                if alarm is not None:
                    alarm.daemon = True
                    alarm.start()
                self._connection.execute("BEGIN TRANSACTION READ ONLY")
                try:
                    yield Answer(self._connection, sql)
                finally:
                    self._connection.rollback()
            except duckdb.InterruptException as error:
                fix = "ask for less, or in smaller steps"
                raise UserError(f"the query took longer than {timeout_s:g} s", fix=fix) from error
            except duckdb.Error as error:
                raise query_error(error, VIEWS) from error
            except RuntimeError as error:
                if "interrupted" in str(error):  # how DuckDB passes on a Ctrl-C that comes while it computes
                    raise KeyboardInterrupt from error
                raise
            finally:
                if alarm is not None:
                    alarm.cancel()

    def noise(self, campaign_id: str) -> Noise:
        """See `Queries.noise`."""
        self._make_views()
        return super().noise(campaign_id)

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

    def _fetch(self, sql: str, values: Sequence[Any] = ()) -> list[Row]:
        behind = tables_of_views()
        missing = {
            name for named in _FROM.findall(sql) for name in (behind["noise"] if named == "noise" else {named})
        } - self._tables
        if missing & TABLES:
            raise ValueError(f"this reader was opened without {', '.join(sorted(missing))}")
        return super()._fetch(sql, values)

    def _make_views(self) -> None:
        """The views, the first time that somebody speaks of one: most readers never do."""
        with self._lock:
            if not self._has_views:
                self._connection.execute(views_sql())
                if tables_of_views()["noise"] <= self._tables:
                    self._connection.execute(_NOISE_ONCE)
                self._has_views = True
