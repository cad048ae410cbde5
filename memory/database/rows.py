"""Records to rows and back: one table a record class, one column a field.

JSON fields travel as text, times of day as naive UTC, enums as their values, everything else as it is.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import Enum
from types import NoneType
from typing import Any, Generic, TypeVar, get_args, get_origin

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

Row = tuple[Any, ...]
"""One row as DuckDB takes and gives it, in the order of `Table.columns`."""

R = TypeVar("R", bound=Record)
_Codec = Callable[[Any], Any]


@dataclass(frozen=True, slots=True)
class Table(Generic[R]):
    """How one record class is kept."""

    name: str
    record: type[R]
    key: tuple[str, ...]
    columns: tuple[str, ...]
    encoders: dict[str, _Codec]
    """Column to the function that makes a stored value of a field's value; absent where none is needed."""
    decoders: dict[str, _Codec]

    @property
    def column_list(self) -> str:
        """The columns, for a SELECT or an INSERT."""
        return ", ".join(self.columns)

    def to_row(self, record: R) -> Row:
        """The stored values of `record`.

        Raises:
            ValueError: a time without a zone, an integer beyond 64 bits, or text that is not Unicode.
        """
        values: list[Any] = []
        for column in self.columns:
            value = getattr(record, column)
            if value is not None:
                encode = self.encoders.get(column, _checked)
                try:
                    value = encode(value)
                except (ValueError, TypeError, RecursionError) as error:
                    raise ValueError(f"{self.record.__name__}.{column} cannot be stored: {error}") from error
            values.append(value)
        return tuple(values)

    def to_record(self, row: Sequence[Any]) -> R:
        """The record that `row` was made of."""
        return self.of_fields(dict(zip(self.columns, row, strict=True)))

    def of_fields(self, fields: dict[str, Any]) -> R:
        """The same of stored values by column, which become the record's."""
        for column, decode in self.decoders.items():
            if fields[column] is not None:
                fields[column] = decode(fields[column])
        return self.record.model_validate(fields)


def _checked(value: Any) -> Any:
    if type(value) is int and not -(2**63) <= value < 2**63:
        raise ValueError("integers must fit into 64 bits")
    return value


def _json_text(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    text.encode("utf-8")  # a lone surrogate is refused here, by name, and not by the database
    return text


def _utc_naive(moment: datetime) -> datetime:
    if moment.tzinfo is None:
        raise ValueError("times of day must have a time zone")
    return moment.astimezone(UTC).replace(tzinfo=None)


def _utc_aware(moment: datetime) -> datetime:
    return moment.replace(tzinfo=UTC)


def _enum_value(value: Enum) -> Any:
    return value.value


def _codecs(annotation: Any) -> tuple[_Codec, _Codec] | None:
    """Encoder and decoder for a field of this type (optional or not); None when values go as they are."""
    (inner,) = (
        [part for part in get_args(annotation) if part is not NoneType] if _is_optional(annotation) else [annotation]
    )
    if inner is datetime:
        return _utc_naive, _utc_aware
    if isinstance(inner, type) and issubclass(inner, Enum):
        return _enum_value, inner
    is_json = get_origin(inner) is dict or (get_origin(inner) is list and get_origin(get_args(inner)[0]) is dict)
    return (_json_text, json.loads) if is_json else None


def _is_optional(annotation: Any) -> bool:
    return NoneType in get_args(annotation)


def _table(name: str, record: type[R], *key: str) -> Table[R]:
    codecs = {column: _codecs(field.annotation) for column, field in record.model_fields.items()}
    encoders = {column: pair[0] for column, pair in codecs.items() if pair}
    decoders = {column: pair[1] for column, pair in codecs.items() if pair}
    return Table(name, record, key, tuple(record.model_fields), encoders, decoders)


CAMPAIGNS = _table("campaigns", Campaign, "campaign_id")
TRIALS = _table("trials", Trial, "trial_id")
MEASUREMENTS = _table("measurements", Measurement, "measurement_id")
CURVES = _table("curves", Curve, "measurement_id")
CALLS = _table("calls", Call, "call_id")
VERDICTS = _table("verdicts", Verdict, "trial_id", "attempt", "position")
LINEAGE_BLOCKS = _table("lineage_blocks", LineageBlock, "sha256")
LESSONS = _table("lessons", Lesson, "trial_id")
SPANS = _table("spans", Span)
EVENTS = _table("events", Event)

TRIAL_TABLES: tuple[Table[Any], ...] = (TRIALS, MEASUREMENTS, CURVES, CALLS, VERDICTS, LESSONS, SPANS)
"""Tables whose rows belong to one trial, by `trial_id`."""

NUMBERED_TABLES: tuple[Table[Any], ...] = (LINEAGE_BLOCKS, EVENTS)
"""Tables of rows that only ever are added, numbered by a hidden column `ordinal`."""

ALL_TABLES: tuple[Table[Any], ...] = (CAMPAIGNS, *TRIAL_TABLES, *NUMBERED_TABLES)


def insert_many_sql(table: str, columns: Sequence[str]) -> str:
    """SQL that adds rows: as short for many rows as for one. It takes a list of values for each column."""
    return f"INSERT INTO raw.{table} ({', '.join(columns)}) SELECT {', '.join(['unnest(?)'] * len(columns))}"


def stored_text(values: Any) -> str:
    """Stored values as JSON text on one line, times as ISO 8601; NaN and infinities as Python reads them."""
    return json.dumps(values, ensure_ascii=False, separators=(",", ":"), default=_iso)


def _iso(value: object) -> str:
    if isinstance(value, datetime):
        return value.isoformat()
    raise TypeError(f"{type(value).__name__} has no place in a row")
