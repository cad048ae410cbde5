"""One campaign as one Parquet file for other tools: a row a trial, its measurements as a list in the row.

The campaign stands in the file's metadata. What else belongs to a trial (calls, verdicts, curves, spans) is in JSONL.
"""

import json
from datetime import datetime
from enum import Enum
from pathlib import Path
from types import NoneType
from typing import TYPE_CHECKING, Any, get_args, get_origin

from memory.database.rows import MEASUREMENTS, TRIALS, Table
from memory.importers.own import CAMPAIGN, MARK, VERSION
from memory.record_set import RecordSet

if TYPE_CHECKING:
    import pyarrow as pa

MEASURED = "measurements"


def write_parquet(records: RecordSet, path: Path) -> None:
    """Write an export to a new file.

    Raises:
        OSError: it cannot be written.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    measurements: dict[str, list[dict[str, Any]]] = {}
    for done in records.measurements:
        measurements.setdefault(done.trial_id, []).append(
            dict(zip(MEASUREMENTS.columns, MEASUREMENTS.to_row(done), strict=True))
        )
    rows = [TRIALS.to_row(trial) for trial in records.trials]
    columns = [list(values) for values in zip(*rows, strict=True)] or [[] for _ in TRIALS.columns]
    schema = _schema(TRIALS)
    made = [pa.array(values, kind) for values, kind in zip(columns, schema.types, strict=True)]
    listed = pa.list_(pa.struct(list(_schema(MEASUREMENTS))))
    made.append(pa.array([measurements.get(trial.trial_id, []) for trial in records.trials], listed))
    header = {MARK: VERSION, CAMPAIGN: records.campaign.model_dump(mode="json")}
    table = pa.Table.from_arrays(made, schema=schema.append(pa.field(MEASURED, listed)))
    pq.write_table(table.replace_schema_metadata({MARK: json.dumps(header)}), path, compression="zstd")


def _schema(table: Table[Any]) -> "pa.Schema":
    import pyarrow as pa

    fields = [(name, _type(table.record.model_fields[name].annotation)) for name in table.columns]
    return pa.schema([pa.field(name, kind) for name, kind in fields])


def _type(annotation: Any) -> "pa.DataType":
    """How a field's stored value is kept: JSON as text, times in UTC, enums as their values."""
    import pyarrow as pa

    inner = [part for part in get_args(annotation) if part is not NoneType] if NoneType in get_args(annotation) else []
    kind = inner[0] if inner else annotation
    if get_origin(kind) is dict or (isinstance(kind, type) and issubclass(kind, Enum | str)):
        return pa.string()
    types: dict[Any, pa.DataType] = {
        bool: pa.bool_(),
        int: pa.int64(),
        float: pa.float64(),
        datetime: pa.timestamp("us"),
    }
    return types[kind]
