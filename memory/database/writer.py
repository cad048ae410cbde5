"""How rows get into the store: transactions, idempotent inserts, updates of what changed, and what changed when.

A transaction writes one row into the journal (`memory/database/journal.py`). The tables are brought up to date before
they are asked, which a night hardly does: what it needs to know of its own rows is remembered.
"""

from collections.abc import Collection, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar

import duckdb

from memory.database.cache import LISTED, REMEMBERED, Key, Remembered
from memory.database.errors import store_error
from memory.database.journal import Entry, changed_row, fold, new_row, write_entries
from memory.database.rows import NUMBERED_TABLES, Row, Table
from memory.database.tail import Tail
from memory.records import Record, Trial
from rails.errors import HaltError

R = TypeVar("R", bound=Record)


class Writer(Remembered):
    """The writing half of the store, for any table."""

    def __init__(self, connection: duckdb.DuckDBPyConnection, path: Path) -> None:
        super().__init__(connection)
        self.path = path
        self.revision = 0
        """Grows with every change of a row."""
        self._changed: dict[tuple[str, str], int] = {}
        self._tail = Tail()
        self._in_transaction = False
        self._begun = False
        """Whether the transaction is open in the database, too: it need not be as long as it only writes."""
        self._entries: list[Entry] = []
        """What was written, until it is in the journal."""
        self._ordinal = 0
        """Of the next row of the journal."""
        self._behind = False
        """Whether the journal may hold what the tables do not."""

    @contextmanager
    def transaction(self, *, flush: bool = True) -> Generator[None]:
        """Make all writes in this block one transaction: all of them are stored, or none. Blocks may nest.

        Args:
            flush: have it on the disk when the block ends. Else it goes with the next transaction that has to be: for
                what a loop that is killed before that does again for nothing, and in the same way.

        Raises:
            HaltError: the disk is full, the file cannot be written, or it is damaged.
        """
        with self._lock:
            if self._in_transaction:
                yield
                return
            self._in_transaction, earlier = True, list(self._entries)
            try:
                yield
                if flush or self._begun:
                    self._write_entries()
                if self._begun:
                    self._connection.commit()
            except BaseException as error:
                self._roll_back(earlier)
                known = store_error(self.path, error)
                if known is not None:
                    raise known from error
                raise
            finally:
                self._in_transaction = self._begun = False

    def flush(self) -> None:
        """Have on the disk whatever was written."""
        with self.transaction():
            pass

    def free_pages(self) -> None:
        """Give back the memory of the pages that DuckDB keeps of its file. Not in a transaction.

        It would keep them until they fill most of the machine, where the training is; read again, they come from the
        system's cache of the file. A limit for good would be in the way of whoever asks a large store something.
        """
        with self._lock:
            try:
                with suppress(duckdb.OutOfMemoryException):  # what is in use stays, all else is gone by then
                    self._connection.execute("SET memory_limit = '1MB'")
            finally:
                self._connection.execute("RESET memory_limit")

    def _write_entries(self) -> None:
        """Put what was written into the journal: one statement, and so a transaction by itself where none is open."""
        if self._entries:
            write_entries(self._connection, self._ordinal, self._entries)
            self._entries, self._behind = [], True
            self._ordinal += 1

    def _roll_back(self, earlier: list[Entry]) -> None:
        # With no transaction open, or after a commit() that failed, this fails too: the first error is the one to tell.
        # What the journal holds now is not known; whatever it is, the next question folds it.
        with suppress(duckdb.Error):
            self._connection.rollback()
        self._entries, self._behind = earlier, True
        self.forget()  # it may hold what was just undone
        self._tail.forget()

    def _fetch(self, sql: str, values: Sequence[Any] = ()) -> list[Row]:
        with self._lock:
            self._settle()
            return super()._fetch(sql, values)

    def _settle(self) -> None:
        """Bring the tables up to date with all that was written, in a transaction of its own or in the one in hand."""
        if not (self._behind or self._entries):
            return
        if not self._in_transaction:
            with self.transaction():
                self._settle()
        else:
            if not self._begun:
                self._connection.begin()
                self._begun = True
            self._write_entries()
            fold(self._connection)
            self._behind = False

    def _insert(self, table: Table[R], records: Sequence[R]) -> None:
        """Insert the records that are not there yet. Looks first: ON CONFLICT reads the whole table every time."""
        fresh: dict[Key, R] = {}
        for record in records:
            key = tuple(getattr(record, column) for column in table.key)
            same = self._stored(table, record) or fresh.setdefault(key, record)
            if same != record:
                raise conflict(table, record)
        if fresh:
            self._write_rows(table, list(fresh.values()))

    def _stored(self, table: Table[R], record: R) -> R | None:
        """The row with the key of `record`, or None.

        Raises:
            HaltError: another trial's row has this key.
        """
        key = tuple(getattr(record, column) for column in table.key)
        if not self.has_key(table, key):
            return None
        if isinstance(record, REMEMBERED):
            found = self.recall(record)
            if found is None and table in LISTED:
                raise conflict(table, record)
            return found
        return self._one(table, " AND ".join(f"{column} = ?" for column in table.key), key)

    def _write_rows(self, table: Table[R], records: Sequence[R]) -> None:
        """Add rows whose keys are known to be free."""
        for record in records:
            row = table.to_row(record)
            self._entries.append(new_row(table, table.columns, row))
            if isinstance(record, Trial):
                self._tail.begin(record.trial_id)
            self._note(table, record, row)

    def add_many(self, table: Table[R], records: Sequence[R]) -> None:
        """Add many new rows of any table in one statement: 100,000 trials take seconds.

        Raises:
            HaltError: a row is there already under its key; or as `transaction`.
            ValueError: a record cannot be stored.
        """
        import pyarrow as pa

        if not records:
            return
        with self.transaction():
            self._settle()
            columns, rows = table.columns, [table.to_row(record) for record in records]
            if table in NUMBERED_TABLES:
                columns, first = (*columns, "ordinal"), self.row_count(table.name)
                rows = [(*row, ordinal) for ordinal, row in enumerate(rows, first)]
            names = ", ".join(columns)
            schema = self._connection.sql(f"SELECT {names} FROM raw.{table.name} LIMIT 0").to_arrow_table().schema
            values = [
                pa.array(column, kind) for column, kind in zip(zip(*rows, strict=True), schema.types, strict=True)
            ]
            self._connection.register("_many", pa.Table.from_arrays(values, names=list(columns)))
            try:
                self._connection.execute(f"INSERT INTO raw.{table.name} ({names}) SELECT * FROM _many")
            except duckdb.ConstraintException as error:
                raise conflict(table, records[0]) from error
            finally:
                self._connection.unregister("_many")
            for record in records:
                self.revision += 1
                self._changed[table.name, str(getattr(record, "trial_id", ""))] = self.revision
            self.forget()
            self._tail.forget()

    def _update(self, table: Table[R], before: R, fields: Mapping[str, Any]) -> R:
        """Write the columns in which the new record differs from the one before."""
        after = table.record.model_validate({**dict(before), **fields})
        old, new = table.to_row(before), table.to_row(after)
        changes = {name: value for name, was, value in zip(table.columns, old, new, strict=True) if was != value}
        if changes:
            key = [getattr(before, column) for column in table.key]
            self._entries.append(changed_row(table, key, changes))
            self._note(table, after, new)
        return after

    def _note(self, table: Table[R], record: R, row: Row, *ordinal: int) -> None:
        """Remember that the row changed: for the snapshot, and for the records kept in memory."""
        self.revision += 1
        owner = str(getattr(record, "trial_id", ""))
        self._changed.pop((table.name, owner), None)  # the newest change stands last
        self._changed[table.name, owner] = self.revision
        key = ordinal or tuple(getattr(record, column) for column in table.key)
        self._tail.note(table, owner, key, (*row, *ordinal))
        self.remember(record)
        if not ordinal:
            self.take_key(table, key)

    # What the snapshot needs to know

    def changes_since(self, revision: int) -> Iterator[tuple[str, str]]:
        """(table, trial id) of the rows that changed after `revision`, the newest first; other rows have no id."""
        for change, at in reversed(self._changed.items()):
            if at <= revision:
                return
            yield change

    def tail_rows(self, table: Table[Any], owner: str, first: int = 0) -> list[str]:
        """Rows as JSON text, in the order of writing: those of one trial, or of a table whose rows belong to none.

        Args:
            table: which.
            owner: the trial's id; empty for the others.
            first: of a numbered table the first ordinal that is wanted.
        """
        with self._lock:
            rows = self._tail.rows(table.name, owner)
            if rows is None:
                rows = self._tail.learn(table.name, owner, self._read_tail(table, owner, first))
            if table not in NUMBERED_TABLES:
                return list(rows.values())
            for ordinal in [ordinal for ordinal in rows if ordinal < (first,)]:
                del rows[ordinal]
            return list(rows.values())

    def _read_tail(self, table: Table[Any], owner: str, first: int) -> dict[Any, Row]:
        columns, where, values = table.columns, "true", []
        if table in NUMBERED_TABLES:
            columns, where, values = (*columns, "ordinal"), "ordinal >= ?", [first]
        elif owner:
            where, values = "trial_id = ?", [owner]
        sql = f"SELECT {', '.join(columns)} FROM raw.{table.name} WHERE {where} ORDER BY rowid"
        key = [columns.index(column) for column in (("ordinal",) if table in NUMBERED_TABLES else table.key)]
        found = enumerate(self._fetch(sql, values))
        return {tuple(row[place] for place in key) or number: row for number, row in found}

    def keep_tail_of(self, trial_ids: Collection[str]) -> None:
        """Forget the texts of all other trials' rows: they are in files now."""
        self._tail.keep({"", *trial_ids})


def conflict(table: Table[R], record: R) -> HaltError:
    """The error for a record whose key is taken by another."""
    key = ", ".join(str(getattr(record, column)) for column in table.key)
    return HaltError(
        f"other content is stored in {table.name} under {key}",
        fix="if nothing else wrote here this is a bug: look with `nightshift query`, go on with a new --tag",
    )
