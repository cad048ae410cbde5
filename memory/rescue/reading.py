"""Reading what is left of a damaged store, in a process of its own: some damage makes DuckDB take its process down.

`python -m memory.rescue.reading COPY [TABLE…]` brings a copy into a state that can be opened and exports every table
but the named ones beside it, in as many pieces as the damage leaves. It tells what it does in lines of JSON.
"""

import json
import re
import resource
import sys
from pathlib import Path
from typing import Any

import duckdb

CONFIG: dict[str, str | bool | int | float | list[str]] = {
    "threads": 1,
    "autoinstall_known_extensions": False,
    "autoload_known_extensions": False,
}
MEND_ROUNDS = 8
PIECE = 2048
"""Rows that DuckDB reads together, so that a block that cannot be read costs all of them."""

_HEADER_BYTES = 4096
"""A file of DuckDB begins with one header about the format and two that take turns in naming what is valid."""


def main(arguments: list[str]) -> None:
    """Do what the command line says."""
    copy = Path(arguments[0])
    for table in _mend(copy):
        if table not in arguments[1:]:
            _tell(table=table)
            _Export(copy, table).run()


def _tell(**fields: Any) -> None:
    print(json.dumps(fields), flush=True)


def _open(copy: Path) -> duckdb.DuckDBPyConnection:
    return duckdb.connect(str(copy), read_only=True, config=CONFIG)


# Mending


def _mend(copy: Path) -> list[str]:
    """Change the copy until DuckDB opens it, or nothing is left to try. The tables; tells every change."""
    for _ in range(MEND_ROUNDS):
        try:
            with _open(copy) as connection:
                listed = connection.execute("SELECT table_name FROM duckdb_tables() WHERE schema_name = 'raw'")
                return sorted(str(name) for (name,) in listed.fetchall())
        except duckdb.Error as error:
            change = _change(copy, str(error))
            if change is None:
                _tell(found=str(error).splitlines()[0])
                break
            _tell(found=change)
    return []


def _change(copy: Path, error: str) -> str | None:
    """Do something about what keeps the copy from opening, and say what; None when there is nothing to do."""
    log = copy.with_name(f"{copy.name}.wal")
    torn = re.search(r"WAL file: entry at byte position (\d+)", error)
    if torn is not None and log.exists() and 0 < int(torn[1]) < log.stat().st_size:
        with log.open("rb+") as file:
            file.truncate(int(torn[1]))
        return f"the write-ahead log is damaged at byte {torn[1]}; what comes after is lost"
    if "WAL" in error and log.exists():
        log.unlink()
        return "the write-ahead log cannot be read or belongs to another file; what it held is lost"
    block = re.search(r"in block at location (\d+)", error)
    place = int(block[1]) if block is not None else None
    if place == 0 or "not a valid DuckDB database file" in error:
        return _transplant_first_header(copy)
    if place in {_HEADER_BYTES, 2 * _HEADER_BYTES}:
        return _repeat_header(copy, place)
    return None


def _transplant_first_header(copy: Path) -> str | None:
    """Take the header about the format from a new file: it is the same in all that one DuckDB writes, but for an id."""
    if copy.stat().st_size <= 3 * _HEADER_BYTES:
        return None
    new = copy.with_name(f"{copy.name}.new")
    duckdb.connect(str(new), config=CONFIG).close()
    header = new.read_bytes()[:_HEADER_BYTES]
    new.unlink()
    with copy.open("rb+") as file:
        if file.read(_HEADER_BYTES) == header:
            return None
        file.seek(0)
        file.write(header)
    return "the file's first header is damaged; one of a new file stood in for it"


def _repeat_header(copy: Path, place: int) -> str | None:
    """Put the other of the two headers in the damaged one's place. It may name an older state of the file."""
    with copy.open("rb+") as file:
        file.seek(3 * _HEADER_BYTES - place)
        other = file.read(_HEADER_BYTES)
        file.seek(place)
        if file.read(_HEADER_BYTES) == other:
            return None
        file.seek(place)
        file.write(other)
    return "one of the file's two headers is damaged; the other may name an older state"


# Exporting


class _Export:
    """One table, by halves: what cannot be read in one go is read in two."""

    def __init__(self, copy: Path, table: str) -> None:
        self.copy, self.table = copy, table
        self.connection = _open(copy)
        self.pieces = 0

    def run(self) -> None:
        """Export what can be read; tells the pieces and what was given up."""
        try:
            found = self.connection.execute(f"SELECT max(rowid) FROM raw.{self.table}").fetchone()
        except duckdb.Error as error:
            _tell(table=self.table, why=str(error).splitlines()[0])
            return
        if found is not None and found[0] is not None:
            self._read(0, int(found[0]) // PIECE + 1)
        self.connection.close()

    def _read(self, first: int, end: int) -> None:
        """Export the rows first * PIECE … end * PIECE - 1."""
        piece = self.copy.with_name(f"{self.table}-{self.pieces}.parquet")
        target = str(piece).replace("'", "''")
        chosen = f"SELECT * FROM raw.{self.table} WHERE rowid >= {first * PIECE} AND rowid < {end * PIECE}"
        try:
            copied = self.connection.execute(f"COPY ({chosen}) TO '{target}' (FORMAT parquet, USE_TMP_FILE false)")
            copied.fetchone()
        except duckdb.Error as error:
            self._give_up_or_halve(first, end, str(error))
            return
        self.pieces += 1
        _tell(table=self.table, piece=piece.name)

    def _give_up_or_halve(self, first: int, end: int, why: str) -> None:
        self.connection.close()  # some errors make every later statement fail
        self.connection = _open(self.copy)
        if end - first == 1:
            _tell(table=self.table, why=why.splitlines()[0])
            return
        middle = (first + end) // 2
        self._read(first, middle)
        self._read(middle, end)


if __name__ == "__main__":
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # a copy of the memory would lie about in the workspace
    main(sys.argv[1:])
