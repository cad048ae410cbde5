"""How rows get into the store: transactions, idempotent inserts, updates of what changed, and what changed when."""

from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar

import duckdb

from memory.queries import Queries
from memory.records import Campaign, Measurement, Record, Trial
from memory.rows import Table
from rails.errors import HaltError

R = TypeVar("R", bound=Record)

_CANNOT_WRITE = (duckdb.IOException, duckdb.FatalException, duckdb.OutOfMemoryException, duckdb.InternalException)


class Writer(Queries):
    """The writing half of the store, for any table.

    Campaigns, trials and measurements stay in memory once read or written: every step of the loop asks for them, and a
    row of forty columns takes DuckDB a millisecond or two to plan.
    """

    def __init__(self, connection: duckdb.DuckDBPyConnection, path: Path) -> None:
        super().__init__(connection)
        self.path = path
        self.revision = 0
        """Grows with every change of a row."""
        self._changed: dict[tuple[str, str], int] = {}
        self._trials: dict[str, dict[str, Trial]] = {}
        self._measurements: dict[str, dict[str, Measurement]] = {}
        self._campaigns: dict[str, Campaign] = {}
        self._in_transaction = False

    def campaigns(self) -> list[Campaign]:
        """All campaigns, oldest first."""
        with self._lock:
            if not self._campaigns:
                self._campaigns = {campaign.campaign_id: campaign for campaign in super().campaigns()}
            return sorted(self._campaigns.values(), key=lambda campaign: (campaign.created_at, campaign.campaign_id))

    def campaign(self, campaign_id: str) -> Campaign:
        """The campaign with this id.

        Raises:
            KeyError: there is none.
        """
        with self._lock:
            self.campaigns()
            if campaign_id not in self._campaigns:
                raise KeyError(f"no campaign {campaign_id!r} in the store")
            return self._campaigns[campaign_id]

    def trial(self, trial_id: str) -> Trial:
        """The trial with this id.

        Raises:
            KeyError: there is none.
        """
        with self._lock:
            for known in self._trials.values():
                if trial_id in known:
                    return known[trial_id]
            return super().trial(trial_id)

    def trials(self, campaign_id: str) -> list[Trial]:
        """All trials of a campaign, the one in hand included, by number."""
        with self._lock:
            if campaign_id not in self._trials:
                self._trials[campaign_id] = {trial.trial_id: trial for trial in super().trials(campaign_id)}
            return list(self._trials[campaign_id].values())

    def measurements(self, trial_id: str) -> list[Measurement]:
        """The measurements of a trial, by seed index."""
        with self._lock:
            if trial_id not in self._measurements:
                found = super().measurements(trial_id)
                self._measurements[trial_id] = {measurement.measurement_id: measurement for measurement in found}
            known = self._measurements[trial_id].values()
            return sorted(known, key=lambda found: (found.seed_index, found.started_at, found.measurement_id))

    def changes_since(self, revision: int) -> list[tuple[str, str]]:
        """(table, trial id) of the rows that changed after `revision`; the id is empty for rows of no trial."""
        changes: list[tuple[str, str]] = []
        for change, at in reversed(self._changed.items()):
            if at <= revision:
                break
            changes.append(change)
        return changes

    @contextmanager
    def transaction(self) -> Generator[None]:
        """Make all writes in this block one transaction: all of them are stored, or none. Blocks may nest.

        Raises:
            HaltError: the disk is full or the file cannot be written.
        """
        with self._lock:
            if self._in_transaction:
                yield
                return
            self._in_transaction = True
            try:
                self._connection.begin()
                yield
                self._connection.commit()
            except BaseException as error:
                self._roll_back()
                if isinstance(error, _CANNOT_WRITE):
                    fix = "free disk space or memory, then run again: nothing that was stored is lost"
                    raise HaltError(f"the store cannot be written: {error}", where=str(self.path), fix=fix) from error
                raise
            finally:
                self._in_transaction = False

    def _roll_back(self) -> None:
        # begin() or commit() may have failed: then nothing is open, and the first error is the one to tell.
        with suppress(duckdb.Error):
            self._connection.rollback()
        for cache in (self._campaigns, self._trials, self._measurements):
            cache.clear()  # they may hold what was just undone

    def _remember(self, trial: Trial) -> None:
        known = self._trials.get(trial.campaign_id)
        if known is None:
            return
        in_order = trial.trial_id in known or not known or next(reversed(known.values())).seq < trial.seq
        if in_order:
            known[trial.trial_id] = trial
        else:
            del self._trials[trial.campaign_id]

    def _insert(self, table: Table[R], records: Sequence[R]) -> None:
        """Insert the records that are not there yet. Looks first: ON CONFLICT reads the whole table every time."""
        stored = self._stored_keys(table, records)
        fresh: dict[tuple[Any, ...], R] = {}
        for record in records:
            key = tuple(getattr(record, column) for column in table.key)
            same = self._stored(table, key) if key in stored else fresh.setdefault(key, record)
            if same != record:
                raise conflict(table, record)
        if fresh:
            self._write_rows(table, list(fresh.values()))

    def _stored_keys(self, table: Table[R], records: Sequence[R]) -> set[tuple[Any, ...]]:
        """Keys in the table that share their first column with one of the records."""
        firsts = sorted({getattr(record, table.key[0]) for record in records})
        places = ", ".join("?" * len(firsts))
        sql = f"SELECT {', '.join(table.key)} FROM raw.{table.name} WHERE {table.key[0]} IN ({places})"
        return set(self._fetch(sql, firsts)) if firsts else set()

    def _stored(self, table: Table[R], key: tuple[Any, ...]) -> R | None:
        return self._one(table, " AND ".join(f"{column} = ?" for column in table.key), key)

    def _write_rows(self, table: Table[R], records: Sequence[R]) -> None:
        row = f"({', '.join('?' * len(table.columns))})"
        rows = ", ".join([row] * len(records))
        values = [value for record in records for value in table.to_row(record)]
        try:
            self._connection.execute(f"INSERT INTO raw.{table.name} ({table.column_list}) VALUES {rows}", values)
        except duckdb.ConstraintException as error:
            raise conflict(table, records[0]) from error
        for record in records:
            self._note(table, record)

    def _update(self, table: Table[R], before: R, fields: Mapping[str, Any]) -> R:
        """Write the columns in which the new record differs from the one before."""
        after = table.record.model_validate({**dict(before), **fields})
        old, new = table.to_row(before), table.to_row(after)
        changes = {name: value for name, was, value in zip(table.columns, old, new, strict=True) if was != value}
        if changes:
            key = table.key[0]
            assignments = ", ".join(f"{name} = ?" for name in changes)
            sql = f"UPDATE raw.{table.name} SET {assignments} WHERE {key} = ?"
            self._connection.execute(sql, [*changes.values(), getattr(before, key)])
            self._note(table, after)
        return after

    def _note(self, table: Table[R], record: R) -> None:
        """Remember that the row changed: for the snapshot, and for the records kept in memory."""
        self.revision += 1
        change = (table.name, str(getattr(record, "trial_id", "")))
        self._changed.pop(change, None)  # the newest change stands last
        self._changed[change] = self.revision
        if isinstance(record, Campaign):
            if self._campaigns:  # when empty it is filled from the table, this row included
                self._campaigns[record.campaign_id] = record
        elif isinstance(record, Trial):
            self._remember(record)
        elif isinstance(record, Measurement) and record.trial_id in self._measurements:
            self._measurements[record.trial_id][record.measurement_id] = record


def conflict(table: Table[R], record: R) -> HaltError:
    """The error for a record whose key is taken by another."""
    key = ", ".join(str(getattr(record, column)) for column in table.key)
    return HaltError(
        f"other content is stored in {table.name} under {key}",
        fix="if nothing else wrote here this is a bug: look with `nightshift query`, go on with a new --tag",
    )
