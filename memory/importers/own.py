"""Our own exports, read back: JSONL with whole records, and Parquet with trials and measurements."""

import json
from collections import Counter
from collections.abc import Callable, Sequence
from operator import attrgetter
from pathlib import Path
from typing import Any, Generic, TypeVar

from memory.figures.analysis import TrialRow, Unreadable, row_of
from memory.importers.lines import Tick, object_in, unheard
from memory.importers.log import Log, LogFormat, Origin, RowError
from memory.importers.own_records import PARTS, TrialLine, line_in, record_in, row_in
from memory.importers.tidying import note_of, tidied
from memory.record_set import RecordSet
from memory.records import Campaign, Event, LineageBlock, Record, Trial
from rails.errors import UserError
from rails.text import clean_text

MARK = "nightshift"
"""The first key of a JSONL export, and the key of a Parquet export's own metadata."""

CAMPAIGN = "campaign"
VERSION = 1
_WHY_LIMIT = 200
_LISTED = 10

_KEYS: dict[str, Callable[[Any], object]] = {
    "measurements": attrgetter("measurement_id"),
    "curves": attrgetter("measurement_id"),
    "calls": attrgetter("call_id"),
    "verdicts": attrgetter("trial_id", "attempt", "position"),
    "lessons": attrgetter("trial_id"),
}
_OF_A_CAMPAIGN = frozenset(kind for _, kind in PARTS if "campaign_id" in kind.model_fields)

T = TypeVar("T")


def recognise(lines: Sequence[tuple[int, str]]) -> bool:
    """Whether a file that begins with these lines is a JSONL export of ours."""
    return bool(lines) and lines[0][1].lstrip().startswith(f'{{"{MARK}"')


def read_jsonl(origin: Origin, lines: Sequence[tuple[int, str]]) -> Log:
    """A JSONL export. Every record is checked; those that are asked for later are read once more, from the lines.

    Raises:
        UserError: its first line cannot be read, or a newer nightshift wrote it.
    """
    header = _header(origin.path, lines[0][1])
    gathered = _Gathered(_campaign(origin, header.get(CAMPAIGN)), line_in)
    for line, text in lines[1:]:
        try:
            gathered.take(text)
        except RowError as error:
            gathered.refuse(line, error)
    expected = header.get("trials")
    if isinstance(expected, int) and expected != gathered.trials:
        gathered.notes.append(f"its first line speaks of {expected} trials, {gathered.trials} can be read")
    return gathered.log(LogFormat.JSONL)


def read_parquet(origin: Origin, tick: Tick = unheard) -> Log:
    """A Parquet export.

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
    gathered: _Gathered[TrialLine] = _Gathered(_campaign(origin, header.get(CAMPAIGN)), lambda line: line)
    for number, row in enumerate(rows, 1):
        tick(1)
        try:
            gathered.take(row_in(row))
        except RowError as error:
            gathered.refuse(number, error)
    return gathered.log(LogFormat.PARQUET)


class _Gathered(Generic[T]):
    """What was read, each checked against those before."""

    def __init__(self, campaign: Campaign, read: Callable[[T], TrialLine | LineageBlock | Event]) -> None:
        self.notes: list[str] = []
        self._changed: Counter[str] = Counter()
        self._campaign, self._read = tidied(campaign, self._changed), read
        self._items: list[T] = []
        self._rows: list[TrialRow] = []
        self._unreadable: list[Unreadable] = []
        self._seqs: dict[str, int] = {}
        """Trial id to number."""
        self._numbers: set[int] = set()
        self._keys: set[tuple[str, object]] = set()
        self._parents: dict[str, str] = {}
        """Trial id to that of its parent, by what the file says."""

    @property
    def trials(self) -> int:
        """How many there are so far."""
        return len(self._seqs)

    def take(self, item: T) -> None:
        """Read one thing more.

        Raises:
            RowError: it is no record, or does not belong to this campaign.
        """
        line = self._tidied(item, self._changed)
        if isinstance(line, TrialLine):
            self._check(line)
            row = row_of(line.trial, line.measurements)
            if row is not None:
                self._rows.append(row)
        else:
            self._check_owner(line)
        self._items.append(item)

    def refuse(self, line: int, why: RowError) -> None:
        """List what cannot be read."""
        self._unreadable.append(Unreadable(line=line, why=clean_text(str(why), _WHY_LIMIT)))

    def log(self, log_format: LogFormat) -> Log:
        """All of it, trials by number."""
        self.notes += note_of(self._changed)
        if orphans := self._orphans:
            seqs = sorted(self._seqs[trial_id] for trial_id in orphans)
            shown = ", ".join(map(str, seqs[:_LISTED])) + (", …" if len(seqs) > _LISTED else "")
            self.notes.append(f"the parent is no earlier trial of the file, so there is none now: trials {shown}")
        return Log(
            format=log_format,
            campaign=self._campaign,
            rows=sorted(self._rows, key=lambda row: row.trial),
            make=self._records,
            unreadable=self._unreadable,
            notes=self.notes,
        )

    def _records(self, campaign: Campaign) -> RecordSet:
        records = RecordSet(campaign=campaign)
        lines: list[TrialLine] = []
        for item in self._items:
            match self._tidied(item, Counter()):
                case TrialLine() as line:
                    lines.append(line)
                case LineageBlock() as block:
                    records.lineage_blocks.append(block)
                case event:
                    records.events.append(event)
        for line in lines:
            for name, _ in PARTS:
                getattr(records, name).extend(getattr(line, name))
        orphans = set(self._orphans)
        trials = (_orphan(line.trial) if line.trial.trial_id in orphans else line.trial for line in lines)
        records.trials = sorted(trials, key=lambda trial: trial.seq)
        return records

    def _tidied(self, item: T, changed: Counter[str]) -> TrialLine | LineageBlock | Event:
        line = self._read(item)
        if not isinstance(line, TrialLine):
            return tidied(line, changed)
        parts = {name: tuple(tidied(record, changed) for record in getattr(line, name)) for name, _ in PARTS}
        return line.model_copy(update={"trial": tidied(line.trial, changed), **parts})

    @property
    def _orphans(self) -> list[str]:
        """Trials whose parent is not there, or no earlier one: a way from parent to parent must end at the baseline."""
        return [
            trial_id
            for trial_id, parent in self._parents.items()
            if self._seqs.get(parent, self._seqs[trial_id]) >= self._seqs[trial_id]
        ]

    def _check(self, line: TrialLine) -> None:
        trial = line.trial
        self._check_owner(trial)
        if trial.trial_id in self._seqs or trial.seq in self._numbers:
            raise RowError(f"trial {trial.seq} stands twice")
        fresh: set[tuple[str, object]] = set()
        for name, _ in PARTS:
            key_of = _KEYS.get(name)
            for item in getattr(line, name):
                self._check_part(trial, item)
                if key_of is None:
                    continue
                key = (name, key_of(item))
                if key in self._keys or key in fresh:
                    raise RowError(f"two {name} have one key")
                fresh.add(key)
        self._keys |= fresh
        self._seqs[trial.trial_id] = trial.seq
        if trial.parent_trial_id is not None:
            self._parents[trial.trial_id] = trial.parent_trial_id
        self._numbers.add(trial.seq)

    def _check_part(self, trial: Trial, item: Record) -> None:
        if getattr(item, "trial_id", None) != trial.trial_id:
            raise RowError(f"a record of trial {trial.seq} says that it belongs to another")
        if type(item) in _OF_A_CAMPAIGN:
            self._check_owner(item)

    def _check_owner(self, record: Record) -> None:
        if getattr(record, "campaign_id", None) != self._campaign.campaign_id:
            raise RowError("it belongs to another campaign")


def _orphan(trial: Trial) -> Trial:
    return trial.model_copy(update={"parent_trial_id": None})


def _header(path: Path, text: str) -> dict[str, Any]:
    try:
        header = object_in(text)
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
        campaign = record_in(Campaign, found)
    except RowError as error:
        what = f"the campaign of this export cannot be read: {error}"
        raise UserError(what, where=str(origin.path), fix="export it again") from None
    return campaign if campaign.source else campaign.model_copy(update={"source": str(origin.path)})
