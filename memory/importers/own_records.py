"""What a line of our JSONL or a row of our Parquet holds, checked: a trial with its records, a block, or an event."""

import json
import math
import re
from collections.abc import Mapping
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from memory.database.rows import MEASUREMENTS, TRIALS, Table
from memory.importers.lines import object_in
from memory.importers.log import RowError
from memory.records import Call, Curve, Event, Lesson, LineageBlock, Measurement, Record, Span, Trial, Verdict

PARTS: tuple[tuple[str, type[Record]], ...] = (
    ("measurements", Measurement),
    ("curves", Curve),
    ("calls", Call),
    ("verdicts", Verdict),
    ("lessons", Lesson),
    ("spans", Span),
)
"""What stands beside a trial in its line."""

_LONG = re.compile("[0-9]{19}")
"""What a line with an integer of more than 64 bits has in it somewhere."""
_ENDLESS = re.compile("NaN|Infinity|[eE][+]?[0-9]{3}")
"""What a line with a number that is not finite has in it somewhere."""

_FORMER = {"val_bpb": "score", "test_bpb": "test_score"}
"""What columns of measurements were called in exports of schema 9 and before."""

R = TypeVar("R", bound=Record)


class TrialLine(BaseModel):
    """A trial and `PARTS`."""

    model_config = ConfigDict(frozen=True, strict=True)

    trial: Trial
    measurements: tuple[Measurement, ...] = ()
    curves: tuple[Curve, ...] = ()
    calls: tuple[Call, ...] = ()
    verdicts: tuple[Verdict, ...] = ()
    lessons: tuple[Lesson, ...] = ()
    spans: tuple[Span, ...] = ()


def line_in(text: str) -> TrialLine | LineageBlock | Event:
    """What a line of a JSONL export holds.

    Raises:
        RowError: none of these.
    """
    try:
        line = TrialLine.model_validate_json(text)  # at once, without a Python object for every value
    except ValidationError:
        line = _line_in_parts(object_in(text))
    if _LONG.search(text):
        _check_integers(line)
    if _ENDLESS.search(text):
        _check_finite(line)
    return line


def row_in(row: Mapping[str, Any]) -> TrialLine:
    """What a row of a Parquet export holds.

    Raises:
        RowError: no trial, or a measurement is none.
    """
    trial = _from_columns(TRIALS, row)
    measurements = tuple(_from_columns(MEASUREMENTS, _renamed(item)) for item in row.get("measurements") or [])
    line = TrialLine(trial=trial, measurements=measurements)
    _check_finite(line)
    return line


def record_in(kind: type[R], value: object) -> R:
    """A record of JSON values.

    Raises:
        RowError: it is none.
    """
    if kind is Measurement and isinstance(value, dict):
        value = _renamed(value)
    try:
        return kind.model_validate_json(json.dumps(value))
    except ValidationError as error:
        raise RowError(_said(kind, error)) from None
    except (ValueError, RecursionError) as error:
        raise RowError(str(error)) from None


def _renamed(found: Mapping[str, Any]) -> dict[str, Any]:
    return {_FORMER.get(name, name): value for name, value in found.items()}


def _line_in_parts(found: Mapping[str, Any]) -> TrialLine | LineageBlock | Event:
    """A line that is no whole trial's: something else, or it has to be told which record of it is wrong, and how."""
    if "trial" in found:
        trial = record_in(Trial, found["trial"])
        parts = {name: tuple(record_in(kind, item) for item in _list(found, name)) for name, kind in PARTS}
        return TrialLine.model_validate({"trial": trial, **parts})
    if "lineage_block" in found:
        return record_in(LineageBlock, found["lineage_block"])
    if "event" in found:
        return record_in(Event, found["event"])
    raise RowError("it is neither a trial nor a lineage block nor an event")


def _check_integers(line: TrialLine | LineageBlock | Event) -> None:
    """Refuse what no column of a store can hold.

    Raises:
        RowError: an integer has more than 64 bits.
    """
    for record in _records(line):
        for name, value in record:
            if type(value) is int and not -(2**63) <= value < 2**63:
                raise RowError(f"{type(record).__name__.lower()} {name}: integers must fit into 64 bits")


def _check_finite(line: TrialLine | LineageBlock | Event) -> None:
    """Refuse what no JSON column can hold; numbers of their own columns are checked with the record.

    Raises:
        RowError: an object or a list has a number in it that is not finite.
    """
    for record in _records(line):
        for name, value in record:
            if isinstance(value, dict | list) and not _is_finite(value):
                raise RowError(f"{type(record).__name__.lower()} {name}: numbers must be finite")


def _is_finite(value: Any) -> bool:
    pending = [value]  # no recursion: nobody knows how deep a foreign object goes
    while pending:
        item = pending.pop()
        if isinstance(item, float) and not math.isfinite(item):
            return False
        pending += item.values() if isinstance(item, dict) else item if isinstance(item, list) else ()  # pyright: ignore[reportUnknownArgumentType, reportUnknownMemberType]
    return True


def _records(line: TrialLine | LineageBlock | Event) -> list[Record]:
    if not isinstance(line, TrialLine):
        return [line]
    return [line.trial, *(record for name, _ in PARTS for record in getattr(line, name))]


def _list(found: Mapping[str, Any], name: str) -> list[Any]:
    items = found.get(name, [])
    if not isinstance(items, list):
        raise RowError(f"{name} is no list")
    return items


def _from_columns(table: Table[R], row: Mapping[str, Any]) -> R:
    """A record of stored values."""
    try:
        return table.of_fields({column: row.get(column) for column in table.columns})
    except ValidationError as error:
        raise RowError(_said(table.record, error)) from None
    except (ValueError, TypeError, RecursionError, OverflowError) as error:
        raise RowError(str(error)) from None


def _said(kind: type[Record], error: ValidationError) -> str:
    detail = error.errors(include_url=False)[0]
    place = ".".join(map(str, detail["loc"]))
    return f"{kind.__name__.lower()} {place}: {detail['msg']}"
