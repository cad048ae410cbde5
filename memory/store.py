"""The live store: one DuckDB file a workspace, owned by the running loop, and the only truth.

Every write method is one transaction: when it returns, the row survives a kill of the process or the machine. Every
write is idempotent by the record's id: the same record again is a no-op, another record under the same id is refused.
"""

import uuid
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import duckdb

from memory.database.errors import store_errors
from memory.database.journal import new_row
from memory.database.opening import Note, open_database
from memory.database.rows import (
    CALLS,
    CAMPAIGNS,
    CURVES,
    EVENTS,
    LESSONS,
    LINEAGE_BLOCKS,
    MEASUREMENTS,
    SPANS,
    TRIALS,
    VERDICTS,
    Row,
    Table,
)
from memory.database.writer import R, Writer, conflict
from memory.records import (
    Call,
    Campaign,
    Curve,
    Event,
    Lesson,
    LineageBlock,
    Measurement,
    MeasurementState,
    Phase,
    Span,
    Trial,
    Verdict,
)
from rails.errors import DiskFullError, HaltError, NightshiftError
from rails.status import Status

_OUTCOME = ("status", "metric", "gain", "candidate_commit", "commit_sha")
"""What makes two decisions on a trial the same decision; times and seconds may differ after a repeat."""


def _unheard(text: str) -> None:
    """For whoever opens a store that is known to be new."""


class Store(Writer):
    """Everything that is known about a workspace's campaigns, to write and to read."""

    def __init__(self, connection: duckdb.DuckDBPyConnection, path: Path, schema: int) -> None:
        super().__init__(connection, path)
        self.schema = schema
        """Version of the schema."""
        self.session = uuid.uuid4().hex
        """Changes with every opening: `revision` counts anew then."""

    @classmethod
    def open(cls, path: Path, note: Note = _unheard) -> Self:
        """Open the store at `path`, or make it, and bring it to the newest schema.

        Reads it through first: about 0.15 s for 10,000 trials.

        Args:
            path: the file.
            note: told what a person should know: where the backup before a migration is, for one.

        Raises:
            BusyError: another process has it open.
            UserError: it cannot be opened, or a newer nightshift wrote it.
            DamagedStoreError: it is damaged; `memory.rescue.refusal.open_store` says which copy there is.
            HaltError: a migration failed (the message names the backup).
            DiskFullError: there is no room for the store or a backup.
        """
        connection, schema = open_database(path, note)
        return cls(connection, path, schema)

    def close(self) -> None:
        """Give the file back. Everything written is in it already, so that nothing can fail that matters."""
        with self._lock:
            with suppress(duckdb.Error, NightshiftError):
                self._settle()  # whoever opens the file with another program finds every row in its table
            with suppress(duckdb.Error):
                self._connection.close()

    def _fetch(self, sql: str, values: Sequence[Any] = ()) -> list[Row]:
        with store_errors(self.path):
            return super()._fetch(sql, values)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # Campaigns

    def add_campaign(self, campaign: Campaign) -> None:
        """Store a new campaign.

        Raises:
            HaltError: another campaign has this id or tag.
        """
        with self.transaction():
            if any(c.tag == campaign.tag and c.campaign_id != campaign.campaign_id for c in self.campaigns()):
                raise conflict(CAMPAIGNS, campaign)
            self._insert(CAMPAIGNS, [campaign])

    def update_campaign(self, campaign_id: str, **fields: Any) -> Campaign:
        """Change fields of a campaign and return it.

        Raises:
            KeyError: there is no such campaign.
            ValueError: a field is unknown or its value is not valid.
        """
        with self.transaction():
            return self._update(CAMPAIGNS, self.campaign(campaign_id), fields)

    # Trials

    def open_trial(self, trial: Trial) -> None:
        """Store a new trial.

        Raises:
            KeyError: its campaign is not in the store.
            HaltError: another trial has this id or number.
        """
        with self.transaction():
            self.campaign(trial.campaign_id)
            namesake = self.trial_by_seq(trial.campaign_id, trial.seq)
            if namesake is not None and namesake.trial_id != trial.trial_id:
                raise conflict(TRIALS, trial)
            self._insert(TRIALS, [trial])

    def update_trial(self, trial_id: str, **fields: Any) -> Trial:
        """Change fields of a trial and return it. `decide` alone decides, and `undo_keep` alone undoes that.

        Raises:
            KeyError: there is no such trial.
            ValueError: a field is unknown, the record would not be valid, or it would decide or undecide the trial.
        """
        with self.transaction():
            before = self.trial(trial_id)
            after = Trial.model_validate({**before.model_dump(), **fields})
            if Phase.DECIDED in {before.phase, after.phase} and _verdict(before) != _verdict(after):
                raise ValueError(f"trial {before.seq}: only decide() sets the phase `decided`, and nothing changes it")
            return self._update(TRIALS, before, fields)

    def decide(
        self, trial: Trial, head_commit: str | None, incumbent_trial_id: str | None, lesson: Lesson | None
    ) -> None:
        """The commit point: the trial's final row, the campaign's new head and the lesson, in one transaction.

        Deciding a trial again in the same way changes nothing.

        Args:
            trial: the whole final record, in phase `decided` and with a status.
            head_commit: what the branch must point at from now on; None leaves the head as it is.
            incumbent_trial_id: the best trial from now on; None leaves it as it is.
            lesson: what was learned, if anything.

        Raises:
            KeyError: the trial was never opened.
            ValueError: the record is not decided.
            HaltError: the trial was decided otherwise before.
        """
        if trial.phase is not Phase.DECIDED or trial.status is None:
            raise ValueError(
                f"trial {trial.seq} is to be decided, but is in phase {trial.phase} with status {trial.status}"
            )
        with self.transaction():
            before = self.trial(trial.trial_id)
            if before.phase is Phase.DECIDED:
                if any(getattr(before, name) != getattr(trial, name) for name in _OUTCOME):
                    raise conflict(TRIALS, trial)
                return
            self._update(TRIALS, before, dict(trial))
            head = {"head_commit": head_commit, "incumbent_trial_id": incumbent_trial_id}
            news = {name: value for name, value in head.items() if value is not None}
            if news:
                self._update(CAMPAIGNS, self.campaign(trial.campaign_id), news)
            if lesson is not None:
                self._insert(LESSONS, [lesson])

    def undo_keep(self, undone: Trial, lesson: Lesson | None) -> None:
        """Take back the keep of the campaign's incumbent, which was found to cheat, in one transaction.

        The campaign's head and incumbent are again what it was kept over. What was decided on top of it stays as it is.
        Undoing a keep again in the same way changes nothing.

        Args:
            undone: the whole record as it is from now on: disqualified, and with the commit that it was kept as.
            lesson: what takes the place of the trial's lesson, if anything.

        Raises:
            KeyError: there is no such trial.
            ValueError: the record is not that of an undone keep, or the trial is not the kept incumbent.
        """
        with self.transaction():
            before, campaign = self.trial(undone.trial_id), self.campaign(undone.campaign_id)
            if before == undone:
                return
            kept = before.status is Status.KEEP and campaign.incumbent_trial_id == before.trial_id
            if not kept or not undone.keep_undone or before.commit_sha != undone.commit_sha:
                raise ValueError(
                    f"trial {before.seq}: only the keep of the incumbent can be undone, by disqualifying it"
                )
            self._update(TRIALS, before, dict(undone))
            back = {"head_commit": before.parent_commit, "incumbent_trial_id": before.parent_trial_id}
            self._update(CAMPAIGNS, campaign, back)
            if lesson is not None:
                stored = self._stored(LESSONS, lesson)
                if stored is None:
                    self._write_rows(LESSONS, [lesson])
                else:
                    self._update(LESSONS, stored, dict(lesson))

    # Proposals

    def add_calls(self, calls: Sequence[Call]) -> None:
        """Store requests to a proposer with their raw answers.

        Raises:
            HaltError: another call has the same id.
        """
        with self.transaction():
            self._insert(CALLS, calls)

    def add_verdicts(self, verdicts: Sequence[Verdict]) -> None:
        """Store what the rails said.

        Raises:
            HaltError: another verdict is stored at this trial, attempt and position.
        """
        with self.transaction():
            self._insert(VERDICTS, verdicts)

    def add_lineage_block(self, block: LineageBlock) -> None:
        """Store a block by its hash; the first one with that hash stays.

        Raises:
            HaltError: a block with this hash and another text is stored.
        """
        with self.transaction():
            stored = self.lineage_block(block.sha256)
            if stored is None:
                self._append(LINEAGE_BLOCKS, block)
            elif stored.text != block.text:
                raise conflict(LINEAGE_BLOCKS, block)

    # Measurements

    def open_measurement(self, measurement: Measurement) -> None:
        """Store that a measurement begins, or begins again: a later attempt replaces one that gave no score.

        Raises:
            KeyError: its trial is not in the store.
            HaltError: it is measured already, or this is not a later attempt than the stored one.
        """
        with self.transaction():
            self.trial(measurement.trial_id)
            before = self._stored(MEASUREMENTS, measurement)
            if before is None:
                self._write_rows(MEASUREMENTS, [measurement])
                return
            if before == measurement:
                return
            if before.state is MeasurementState.MEASURED or before.attempt >= measurement.attempt:
                raise conflict(MEASUREMENTS, measurement)
            self._update(MEASUREMENTS, before, dict(measurement))

    def finish_measurement(self, measurement: Measurement, curve: Curve | None) -> None:
        """Store how a measurement ended, with its training curve, in one transaction.

        Raises:
            KeyError: it was never opened.
            ValueError: it is not at its end, or is measured without a score.
            HaltError: it ended otherwise before.
        """
        scored = measurement.score is not None
        if measurement.state is MeasurementState.RUNNING or scored != (measurement.state is MeasurementState.MEASURED):
            raise ValueError(
                f"measurement {measurement.measurement_id} is {measurement.state}, score {measurement.score}"
            )
        with self.transaction():
            before = self.recall(measurement)
            if before is None:
                raise KeyError(f"no measurement {measurement.measurement_id!r} in the store")
            if before.state is MeasurementState.RUNNING:
                self._update(MEASUREMENTS, before, dict(measurement))
            elif before != measurement:
                raise conflict(MEASUREMENTS, measurement)
            if curve is not None:
                self._insert(CURVES, [curve])

    def add_spans(self, spans: Sequence[Span]) -> None:
        """Add where seconds went. Spans have no id: adding one twice counts it twice."""
        with self.transaction():
            if spans:
                self._write_rows(SPANS, spans)

    def add_event(self, event: Event) -> None:
        """Add something that happened to the loop. Events have no id: adding one twice tells it twice."""
        with self.transaction():
            self._append(EVENTS, event)

    def _append(self, table: Table[R], record: R) -> None:
        """Add a row to a numbered table."""
        ordinal, row = self.row_count(table.name), table.to_row(record)
        self._entries.append(new_row(table, (*table.columns, "ordinal"), (*row, ordinal)))
        self._note(table, record, row, ordinal)

    # What the snapshot needs to know

    def export(self, sql: str, path: Path) -> int:
        """Write the rows of a SELECT to a new Parquet file and return how many there are.

        With zstd: prompts and lineage blocks hardly differ from one trial to the next, which it finds over a megabyte.

        Raises:
            HaltError: the disk is full, or the file cannot be written.
        """
        target = str(path).replace("'", "''")
        try:
            copied = self._fetch(f"COPY ({sql}) TO '{target}' (FORMAT parquet, COMPRESSION zstd, USE_TMP_FILE false)")
        except NightshiftError as error:
            if str(path) not in str(error) or isinstance(error, DiskFullError):
                raise
            fix = "check the folder's permissions, then run again"
            raise HaltError(f"a snapshot cannot be written: {error.what}", where=str(path), fix=fix) from error
        return int(copied[0][0])


def _verdict(trial: Trial) -> tuple[object, object]:
    return trial.phase is Phase.DECIDED, trial.status
