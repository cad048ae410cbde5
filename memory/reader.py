"""Reading a workspace from another process: a private copy in memory of what the loop has published.

Whatever the SQL says, it cannot write: the copy is this process's own, its queries run in read-only transactions, and
the database is cut off from files, network, extensions and its own settings before the first one.
"""

import re
from collections.abc import Collection, Generator, Iterable, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from threading import Timer
from types import TracebackType
from typing import Any, Self

import duckdb

from memory.database.queries import Queries
from memory.database.rows import CAMPAIGNS, Row
from memory.snapshot.answers import Answer, QueryResult, query_error
from memory.snapshot.loading import Report, load_tables
from memory.snapshot.manifest import read_manifest
from memory.snapshot.needs import EVERYTHING, TABLES, Needs, covers, known_views, merged, needs_of, views_for
from memory.statistics.noise import Noise
from rails.errors import UserError

__all__ = ["VIEWS", "QueryResult", "Reader"]

VIEWS = (
    "trials", "measurements", "curves", "calls", "verdicts", "lessons", "near_misses", "noise", "campaigns",
    "lineage_blocks", "spans", "events",
)  # fmt: skip
"""The documented views, as named in memory/database/views.sql."""

_READING = {"SELECT", "EXPLAIN", "MULTI"}  # MULTI is PIVOT
_FROM = re.compile(r"\b(?:FROM|JOIN) (?:raw\.)?(\w+)")

_NOISE_ONCE = """
CREATE TEMP TABLE noise_found AS FROM noise;
CREATE OR REPLACE TEMP VIEW noise AS FROM noise_found;
"""
"""The rows of a reader never change, so the dearest of its views is computed once."""


class Reader(Queries):
    """What the loop published last. Does not follow later publications: open another one."""

    def __init__(self, connection: duckdb.DuckDBPyConnection, loaded: Needs = EVERYTHING) -> None:
        super().__init__(connection)
        self._loaded = loaded
        self._made: set[str] = set()

    @classmethod
    def open(cls, directory: Path, tables: Collection[str] | Needs = TABLES, report: Report | None = None) -> Self:
        """Load the snapshot in `directory`, also while a loop is publishing the next.

        Args:
            directory: with the manifest.
            tables: load the rows of these only, or these columns of these only: much faster in a long campaign. Asking
                for others is an error. Campaigns are always there.
            report: told of each table that is loaded.

        Raises:
            UserError: there is no snapshot, it is damaged, or a newer nightshift wrote it.
        """
        chosen = tables if isinstance(tables, Mapping) else {name: EVERYTHING[name] for name in tables}
        wanted = merged({CAMPAIGNS.name: EVERYTHING[CAMPAIGNS.name]}, chosen)
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

    @classmethod
    def open_for(cls, directory: Path, sql: str, report: Report | None = None) -> Self:
        """Load what one query needs, and get ready for it. Arguments and errors are those of `open`.

        Args:
            directory: with the manifest.
            sql: the query; others that need more are a ValueError then.
            report: told of each table that is loaded.
        """
        reader = cls.open(directory, needs_of(sql), report)
        try:
            reader._make_views(views_for(sql))
        except duckdb.Error as error:
            reader.close()
            raise query_error(error, VIEWS) from error
        return reader

    def query(self, sql: str, limit: int | None = None, *, timeout_s: float | None = None) -> QueryResult:
        """Answer one SELECT (or FROM, WITH, DESCRIBE, SUMMARIZE, PIVOT, EXPLAIN) over the documented views.

        Args:
            sql: the statement.
            limit: most rows to give; the result says whether there are more. None: all, whatever memory that takes.
            timeout_s: how long it may take; None: for ever.

        Raises:
            UserError: it is not one such statement, it tries to write, DuckDB does not accept it, or it took too long.
            ValueError: it speaks of something that was not loaded.
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
                if not covers(self._loaded, needs_of(sql)):
                    raise ValueError("this reader was opened without what the query speaks of")
                self._make_views(views_for(sql))
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
        self._make_views(["noise"])
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
        named = set(_FROM.findall(sql))
        behind = known_views()["noise"].needs if "noise" in named else {}
        missing = (named & TABLES) - self._loaded.keys()
        if missing or not covers(self._loaded, behind):
            raise ValueError(f"this reader was opened without {', '.join(sorted(missing or behind))}")
        return super()._fetch(sql, values)

    def _make_views(self, names: Iterable[str]) -> None:
        """Some views, the first time that somebody speaks of them: most readers never do.

        Those over columns that were not loaded cannot be made, and nobody asks for their rows.
        """
        with self._lock:
            for name in names:
                view = known_views()[name]
                if name in self._made or not self._can_be_bound(view.needs):
                    continue
                self._connection.execute(view.sql)
                if name == "noise" and covers(self._loaded, view.needs):
                    self._connection.execute(_NOISE_ONCE)
                self._made.add(name)

    def _can_be_bound(self, needs: Needs) -> bool:
        """Whether the columns are there, if only in an empty table."""
        return all(columns <= self._loaded.get(table, columns) for table, columns in needs.items())
