"""Our own exports, read back: JSONL with whole records, and Parquet with trials and measurements."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError

from memory.analysis import Unreadable
from memory.importers.lines import Tick, unheard
from memory.importers.log import Log, LogFormat, Origin, RowError
from memory.record_set import RecordSet
from memory.records import (
    Call,
    Campaign,
    Curve,
    Event,
    Lesson,
    LineageBlock,
    Measurement,
    Record,
    Span,
    Trial,
    Verdict,
)
from memory.rows import MEASUREMENTS, TRIALS, Table
from rails.errors import UserError
from rails.text import clean_text

MARK = "nightshift"
"""The first key of a JSONL export, and the key of a Parquet export's own metadata."""

CAMPAIGN = "campaign"
PARTS: tuple[tuple[str, type[Record]], ...] = (
    ("measurements", Measurement),
    ("curves", Curve),
    ("calls", Call),
    ("verdicts", Verdict),
    ("lessons", Lesson),
    ("spans", Span),
)
"""What stands beside a trial in its line."""

VERSION = 1
R = TypeVar("R", bound=Record)
_WHY_LIMIT = 200


def recognise(lines: Sequence[tuple[int, str]]) -> bool:
    """Whether a file that begins with these lines is a JSONL export of ours."""
    return bool(lines) and lines[0][1].lstrip().startswith(f'{{"{MARK}"')


def read_jsonl(origin: Origin, lines: Sequence[tuple[int, str]]) -> Log:
    """The records of a JSONL export.

    Raises:
        UserError: its first line cannot be read, or a newer nightshift wrote it.
    """
    header = _header(origin.path, lines[0][1])
    gathered = _Gathered(_campaign(origin, header.get(CAMPAIGN)))
    for line, text in lines[1:]:
        try:
            gathered.take(_object(text))
        except RowError as error:
            gathered.unreadable.append(Unreadable(line=line, why=clean_text(str(error), _WHY_LIMIT)))
    expected = header.get("trials")
    if isinstance(expected, int) and expected != len(gathered.records.trials):
        gathered.notes.append(f"its first line speaks of {expected} trials, {len(gathered.records.trials)} can be read")
    return gathered.log(LogFormat.JSONL)


def read_parquet(origin: Origin, tick: Tick = unheard) -> Log:
    """The records of a Parquet export.

    Raises:
        UserError: it is damaged, or no export of ours.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    place = str(origin.path)
    try:
        found = pq.read_table(origin.path)
        header = json.loads((found.schema.metadata or {})[MARK.encode()])
        rows: list[dict[str, Any]] = found.to_pylist()
    except KeyError:
        fix = "give a Parquet file that `nightshift export` wrote"
        raise UserError("this Parquet file is no export of a campaign", where=place, fix=fix) from None
    except (pa.ArrowException, OSError, ValueError, RecursionError, OverflowError) as error:
        what = f"this Parquet file is damaged ({clean_text(str(error), 120)})"
        raise UserError(what, where=place, fix="export it again") from None
    _check_version(origin.path, header)
    gathered = _Gathered(_campaign(origin, header.get(CAMPAIGN)))
    for number, row in enumerate(rows, 1):
        tick(1)
        try:
            gathered.take_row(row)
        except RowError as error:
            gathered.unreadable.append(Unreadable(line=number, why=clean_text(str(error), _WHY_LIMIT)))
    return gathered.log(LogFormat.PARQUET)


class _Gathered:
    """Records as they are read, each checked against those before."""

    def __init__(self, campaign: Campaign) -> None:
        self.records = RecordSet(campaign=campaign)
        self.unreadable: list[Unreadable] = []
        self.notes: list[str] = []
        self._ids: set[str] = set()
        self._numbers: set[int] = set()
        self._keys: set[tuple[str, object]] = set()

    def take(self, found: Mapping[str, Any]) -> None:
        """A line of a JSONL export.

        Raises:
            RowError: it is no record, or does not belong to this campaign.
        """
        if "trial" in found:
            trial = _record(Trial, found["trial"])
            parts = {name: [_record(kind, item) for item in _list(found, name)] for name, kind in PARTS}
            self._add(trial, parts)
        elif "lineage_block" in found:
            self.records.lineage_blocks.append(self._own(_record(LineageBlock, found["lineage_block"])))
        elif "event" in found:
            self.records.events.append(self._own(_record(Event, found["event"])))
        else:
            raise RowError("it is neither a trial nor a lineage block nor an event")

    def take_row(self, row: Mapping[str, Any]) -> None:
        """A row of a Parquet export.

        Raises:
            RowError: as `take`.
        """
        trial = _from_columns(TRIALS, row)
        self._add(
            trial, {"measurements": [_from_columns(MEASUREMENTS, item) for item in row.get("measurements") or []]}
        )

    def log(self, log_format: LogFormat) -> Log:
        """All of it, trials by number."""
        self.records.trials.sort(key=lambda trial: trial.seq)
        return Log(format=log_format, records=self.records, unreadable=self.unreadable, notes=self.notes)

    def _add(self, trial: Trial, parts: Mapping[str, Sequence[Record]]) -> None:
        self._own(trial)
        if trial.trial_id in self._ids or trial.seq in self._numbers:
            raise RowError(f"trial {trial.seq} stands twice")
        fresh: set[tuple[str, object]] = set()
        for name, kind in PARTS:
            for item in parts.get(name, ()):
                self._check_part(trial, item)
                key = (name, _key(kind, item))
                if key[1] is not None and (key in self._keys or key in fresh):
                    raise RowError(f"two {name} have one key")
                fresh.add(key)
        self._keys |= fresh
        self._ids.add(trial.trial_id)
        self._numbers.add(trial.seq)
        self.records.trials.append(trial)
        for name, items in parts.items():
            getattr(self.records, name).extend(items)

    def _check_part(self, trial: Trial, item: Record) -> None:
        owner = getattr(item, "trial_id", None)
        if owner != trial.trial_id:
            raise RowError(f"a record of trial {trial.seq} says that it belongs to another")
        if hasattr(item, "campaign_id"):
            self._own(item)

    def _own(self, record: R) -> R:
        if getattr(record, "campaign_id", None) != self.records.campaign.campaign_id:
            raise RowError("it belongs to another campaign")
        return record


_KEYS: dict[type[Record], tuple[str, ...]] = {
    Measurement: ("measurement_id",),
    Curve: ("measurement_id",),
    Call: ("call_id",),
    Verdict: ("trial_id", "attempt", "position"),
    Lesson: ("trial_id",),
}


def _key(kind: type[Record], item: Record) -> object:
    names = _KEYS.get(kind)
    return None if names is None else tuple(getattr(item, name) for name in names)


def _header(path: Path, text: str) -> dict[str, Any]:
    try:
        header = _object(text)
    except RowError as error:
        fix = "export it again"
        raise UserError(f"the first line of this export cannot be read: {error}", where=str(path), fix=fix) from None
    _check_version(path, header)
    return header


def _check_version(path: Path, header: object) -> None:
    version = header.get(MARK) if isinstance(header, dict) else None
    if version != VERSION:
        what = f"this export has version {clean_text(str(version), 20)}, and only {VERSION} is known"
        raise UserError(what, where=str(path), fix="use the nightshift that wrote it, or a newer one")


def _campaign(origin: Origin, found: object) -> Campaign:
    """The campaign of an export; that it was imported, and from where, is on it from now on."""
    try:
        campaign = _record(Campaign, found)
    except RowError as error:
        what = f"the campaign of this export cannot be read: {error}"
        raise UserError(what, where=str(origin.path), fix="export it again") from None
    return campaign if campaign.source else campaign.model_copy(update={"source": str(origin.path)})


def _object(text: str) -> dict[str, Any]:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise RowError(f"it is no JSON: {error}") from None
    if not isinstance(found, dict):
        raise RowError("it is no JSON object")
    return found


def _list(found: Mapping[str, Any], name: str) -> list[Any]:
    items = found.get(name, [])
    if not isinstance(items, list):
        raise RowError(f"{name} is no list")
    return items


def _record(kind: type[R], value: object) -> R:
    """A record of JSON values.

    Raises:
        RowError: it is none.
    """
    try:
        return kind.model_validate_json(json.dumps(value))
    except ValidationError as error:
        raise RowError(_said(kind, error)) from None
    except (ValueError, RecursionError) as error:
        raise RowError(str(error)) from None


def _from_columns(table: Table[R], row: Mapping[str, Any]) -> R:
    """A record of stored values."""
    try:
        return table.to_record([_naive(row.get(column)) for column in table.columns])
    except ValidationError as error:
        raise RowError(_said(table.record, error)) from None
    except (ValueError, TypeError, RecursionError, OverflowError) as error:
        raise RowError(str(error)) from None


def _naive(value: Any) -> Any:
    return value.replace(tzinfo=None) if hasattr(value, "tzinfo") else value


def _said(kind: type[Record], error: ValidationError) -> str:
    detail = error.errors(include_url=False)[0]
    place = ".".join(map(str, detail["loc"]))
    return f"{kind.__name__.lower()} {place}: {detail['msg']}"
