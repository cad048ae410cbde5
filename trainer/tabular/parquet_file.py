"""A recorded table as a Parquet file: one row a measurement, what the table says of itself in the file's metadata.

Columns: one for each knob of the menu, `seed_index` (from 0, without gaps), `score` (null where it failed), `seconds`,
`status` and `reason` (null where it did not fail), and a list for each column of the curve: `curve_step`, `curve_loss`,
`curve_elapsed_s`.
"""

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from rails.errors import UserError
from rails.menu import Menu
from rails.status import FINISHED, Status
from rails.tables import build
from trainer.tabular.recipe import TableFacts
from trainer.tabular.recorded import Cell, Configuration, Curves, Grid, Measurements, RecordedTable

FACTS = b"nightshift.table"
_KNOB_TYPES = {"int": pa.int64(), "float": pa.float64(), "str": pa.string()}


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One measurement on its way into a file."""

    configuration: Configuration
    seed_index: int
    cell: Cell


def write_table(path: Path, facts: TableFacts, rows: Iterable[Row]) -> None:
    """Write a table, its rows in the order in which it is read.

    Raises:
        ValueError: a row's configuration is not on the menu.
        OSError: it cannot be written.
    """
    grid = Grid(facts.menu)
    placed = [(grid.place(row.configuration), row.seed_index, row) for row in rows]
    if any(place is None for place, _, _ in placed):
        raise ValueError("a configuration is not on the menu")
    ordered = [row for _, _, row in sorted(placed, key=lambda each: each[:2])]
    cells = [row.cell for row in ordered]
    columns: dict[str, list[Any]] = {
        **{name: [row.configuration[name] for row in ordered] for name in facts.menu.knobs},
        "seed_index": [row.seed_index for row in ordered],
        "score": [cell.score for cell in cells],
        "seconds": [round(cell.seconds, 3) for cell in cells],
        "status": [None if cell.status is None else cell.status.value for cell in cells],
        "reason": [cell.reason for cell in cells],
        "curve_step": [[point.step for point in cell.curve] for cell in cells],
        "curve_loss": [[point.loss for point in cell.curve] for cell in cells],
        "curve_elapsed_s": [[round(point.elapsed_s, 3) for point in cell.curve] for cell in cells],
    }
    schema = _schema(facts.menu).with_metadata({FACTS: facts.model_dump_json(exclude_none=True).encode()})
    arrays = [pa.array(columns[field.name], field.type) for field in schema]
    path.parent.mkdir(parents=True, exist_ok=True)
    table = pa.Table.from_arrays(arrays, schema=schema)
    pq.write_table(table, path, compression="zstd", compression_level=19)


def read_table(path: Path) -> RecordedTable:
    """The table in a file.

    Raises:
        UserError: missing, no table of ours, or not as it must be.
    """
    try:
        raw = path.read_bytes()
        table = pq.read_table(pa.BufferReader(raw))
    except FileNotFoundError:
        raise UserError("there is no such file", where=str(path), fix="`nightshift tables list` names them") from None
    except (OSError, pa.ArrowException) as error:
        raise _unusable(path, f"it is no Parquet file that can be read ({error})") from error
    try:
        facts = _facts(table.schema.metadata or {}, path)
        wanted = _schema(facts.menu)
        if not table.schema.remove_metadata().equals(wanted):
            raise ValueError(f"its columns should be {', '.join(wanted.names)}, in their types")
        return RecordedTable(facts, _measurements(table, facts.menu), hashlib.sha256(raw).hexdigest())
    except ValueError as error:
        raise _unusable(path, str(error)) from error


def _unusable(path: Path, what: str) -> UserError:
    return UserError(f"not a recorded table: {what}", where=str(path), fix="install or record it again")


def _schema(menu: Menu) -> pa.Schema:
    floats = pa.float32()  # a loss is no more exact; a score is
    return pa.schema(
        [
            *(pa.field(name, _KNOB_TYPES[knob.type]) for name, knob in menu.knobs.items()),
            pa.field("seed_index", pa.int64()),
            pa.field("score", pa.float64()),
            pa.field("seconds", pa.float64()),
            pa.field("status", pa.string()),
            pa.field("reason", pa.string()),
            pa.field("curve_step", pa.list_(pa.field("element", pa.int64()))),
            pa.field("curve_loss", pa.list_(pa.field("element", floats))),
            pa.field("curve_elapsed_s", pa.list_(pa.field("element", floats))),
        ]
    )


def _facts(metadata: dict[bytes, bytes], path: Path) -> TableFacts:
    if FACTS not in metadata:
        raise ValueError(f"it has no {FACTS.decode()} in its metadata")
    facts: object = json.loads(metadata[FACTS])
    if not isinstance(facts, dict):
        raise ValueError(f"its {FACTS.decode()} is no object")
    return build(TableFacts, facts, where=f"{path}: {FACTS.decode()}")


def _measurements(table: pa.Table, menu: Menu) -> Measurements:
    places = _places(table, menu)
    seeds = np.asarray(table["seed_index"].to_numpy(), np.int64)
    counts = np.unique(places, return_counts=True)[1]
    expected = np.concatenate([np.arange(count) for count in counts]) if counts.size else seeds
    if not bool((np.diff(places) >= 0).all()) or not np.array_equal(seeds, expected):
        raise ValueError("its rows should be ordered by configuration and seed, and seeds begin at 0 without gaps")
    scores = np.asarray(table["score"].to_numpy(), np.float64)
    failures = _failures(table)
    for row in range(len(scores)):
        if bool(np.isfinite(scores[row])) == (row in failures):
            raise ValueError(f"row {row} should have either a finite score or a status and a reason")
    seconds = np.asarray(table["seconds"].to_numpy(), np.float64)
    if not bool((np.isfinite(seconds) & (seconds >= 0)).all()):
        raise ValueError("its seconds should be finite and 0 or more")
    return Measurements(places=places, scores=scores, seconds=seconds, failures=failures, curves=_curves(table))


def _places(table: pa.Table, menu: Menu) -> np.ndarray[Any, np.dtype[np.int64]]:
    grid, names = Grid(menu), list(menu.knobs)
    found = [
        grid.place(dict(zip(names, values, strict=True)))
        for values in zip(*(table[name].to_pylist() for name in names), strict=True)
    ]
    if None in found:
        raise ValueError(f"the configuration of row {found.index(None)} is not on its menu")
    return np.asarray(found, np.int64)


def _failures(table: pa.Table) -> dict[int, tuple[Status, str]]:
    failures: dict[int, tuple[Status, str]] = {}
    pairs = zip(table["status"].to_pylist(), table["reason"].to_pylist(), strict=True)
    for row, (status, reason) in enumerate(pairs):
        if status is None and reason is None:
            continue
        if status is None or not reason or Status(status) in FINISHED:
            raise ValueError(f"row {row} should have both the status of a failure and a reason, or neither")
        failures[row] = Status(status), reason
    return failures


def _curves(table: pa.Table) -> Curves:
    lists = {name: table[f"curve_{name}"].combine_chunks() for name in ("step", "loss", "elapsed_s")}
    ends = {name: np.cumsum([len(each or ()) for each in column]) for name, column in lists.items()}
    if not all(np.array_equal(ends["step"], other) for other in ends.values()):
        raise ValueError("the columns of its curves should be equally long")
    step, loss, elapsed_s = (column.flatten().to_numpy(zero_copy_only=False) for column in lists.values())
    return Curves(
        ends=ends["step"].astype(np.int64),
        step=step.astype(np.int64),
        loss=loss.astype(np.float64),
        elapsed_s=elapsed_s.astype(np.float64),
    )
