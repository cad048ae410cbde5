"""The answer to a query, printed: as a table for people, and as JSON or CSV of any length."""

import csv
import json
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from cli.terminal.output import jsonable, printable, stderr, stdout, table
from cli.terminal.progress import progress
from rails.text import escaped_json, spreadsheet_text

if TYPE_CHECKING:
    from memory.snapshot.answers import Answer

SHOWN = 1_000
"""Rows that a table for people has at most; the other forms have all."""

_NARROW = 8
"""Cells that a column needs: with less for each, a table cannot be read."""


def print_table(answer: "Answer") -> None:
    """Print the first rows as a table; one record under the other when it has too many columns for the terminal."""
    with progress("asking"):
        found = answer.result(SHOWN)
    out = stdout()
    if len(found.columns) * _NARROW <= out.width:
        out.print(table(found.columns, found.rows))
    else:
        for number, row in enumerate(found.rows):
            out.print(f"── row {number + 1} ──" if len(found.rows) > 1 else "", markup=False)
            out.print(table(("", ""), zip(found.columns, row, strict=True)))
    if found.more:
        stderr().print(f"only the first {SHOWN} rows are shown; --csv, --json and --parquet FILE have all")


def print_json_rows(answer: "Answer") -> None:
    """Print one JSON document with `columns` and `rows`, row by row as they come."""
    columns, rows = answer.columns, _rows(answer)
    sys.stdout.write(f'{{\n  "columns": {escaped_json(json.dumps(columns, ensure_ascii=False))},\n  "rows": [')
    separator = "\n    "
    for row in rows:
        text = json.dumps(row, default=jsonable, ensure_ascii=False, allow_nan=False)
        sys.stdout.write(f"{separator}{escaped_json(text)}")
        separator = ",\n    "
    sys.stdout.write("\n  ]\n}\n")


def print_csv(answer: "Answer") -> None:
    """Print comma-separated values with a header, row by row as they come. An absent value is empty.

    To a terminal nothing is printed that could act on it; to anything else text goes exactly, but that a spreadsheet
    must not take it for a formula.
    """
    columns, rows = answer.columns, _rows(answer)
    show = printable if sys.stdout.isatty() else str
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow([show(spreadsheet_text(name)) for name in columns])
    for row in rows:
        writer.writerow([show(_csv_cell(value)) for value in row])


def _csv_cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, dict | list):
        return json.dumps(value, ensure_ascii=False)
    if isinstance(value, str):
        return spreadsheet_text(value)
    return str(value).lower() if isinstance(value, bool) else str(value)


def _rows(answer: "Answer") -> Iterator[list[Any]]:
    """The rows; with a bar until the first ones come, and then only if the rows do not go to a terminal themselves."""
    batches = answer.batches()
    with progress("asking"):
        first = next(batches, [])
    yield from first
    if sys.stdout.isatty():
        for batch in batches:
            yield from batch
        return
    done = len(first)
    with progress("writing rows") as report:
        for batch in batches:
            yield from batch
            done += len(batch)
            report(done, None)
