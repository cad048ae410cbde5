"""The newest rows of a store as JSON text: what a snapshot has of them before they are enough for a Parquet file.

Rows are kept as they are written and encoded once they are asked for, so that publishing a trial costs no statement and
hardly any time.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

from memory.database.rows import TRIAL_TABLES, Row, Table, stored_text

TAIL = "tail-*.json"
"""What the names of tail files look like."""

Rows = dict[Any, str]
"""JSON text of rows by what tells them from each other, in the order of writing."""


class Tail:
    """Rows of some trials (by trial id), and of tables whose rows belong to no trial (owner: empty)."""

    def __init__(self) -> None:
        self._rows: dict[tuple[str, str], dict[Any, Row | str]] = {}

    def begin(self, trial_id: str) -> None:
        """A trial was opened: it has no rows in any table yet."""
        for table in TRIAL_TABLES:
            self._rows[table.name, trial_id] = {}

    def note(self, table: Table[Any], owner: str, key: object, row: Row) -> None:
        """Take note of a row that was written or changed, if its owner's rows are known; with key (), of a new one."""
        rows = self._rows.get((table.name, owner))
        if rows is not None:
            rows[len(rows) if key == () else key] = row

    def rows(self, table: str, owner: str) -> Rows | None:
        """The rows of a trial in a table; None when they are not known here."""
        rows = self._rows.get((table, owner))
        if rows is None:
            return None
        for key, row in rows.items():
            if not isinstance(row, str):
                rows[key] = stored_text(row)
        return cast("Rows", rows)

    def learn(self, table: str, owner: str, rows: Mapping[Any, Row]) -> Rows:
        """Know these rows from now on."""
        self._rows[table, owner] = dict(rows)
        return cast("Rows", self.rows(table, owner))

    def keep(self, owners: set[str]) -> None:
        """Forget the rows of all other owners."""
        self._rows = {place: rows for place, rows in self._rows.items() if place[1] in owners}

    def forget(self) -> None:
        """Know nothing any more."""
        self._rows = {}


def tail_text(tables: Iterable[tuple[str, Sequence[str], Sequence[str]]]) -> str:
    """The text of a tail file: for each table its name, its columns, and its encoded rows."""
    parts = [
        f'{json.dumps(name)}:{{"columns":{json.dumps(list(columns))},"rows":[{",".join(rows)}]}}'
        for name, columns, rows in tables
        if rows
    ]
    return "{" + ",".join(parts) + "}\n"


def read_tail(path: Path) -> dict[str, tuple[list[str], list[list[Any]]]]:
    """Table to its columns and rows, as a tail file has them.

    Raises:
        OSError, ValueError: it cannot be read.
    """
    stored: dict[str, dict[str, list[Any]]] = json.loads(path.read_text(encoding="utf-8"))
    try:
        return {name: (found["columns"], found["rows"]) for name, found in stored.items()}
    except (AttributeError, KeyError, TypeError) as error:
        raise ValueError(f"{path.name} is no tail of a snapshot") from error
