"""The recorded tables that there are, by name: those that come with nightshift, and other people's by an extra."""

from pathlib import Path

from rails.errors import UserError
from rails.text import closest, quote
from trainer.tabular.hpobench import PREFIX, hpobench_facts, hpobench_names, open_hpobench
from trainer.tabular.parquet_file import read_table
from trainer.tabular.recipe import TableFacts
from trainer.tabular.recorded import Cell, CurvePoint, RecordedTable

__all__ = ["Cell", "CurvePoint", "RecordedTable", "open_table", "shipped_names", "table_facts", "table_names"]

FOLDER = Path(__file__).parent / "tables"


def table_names() -> list[str]:
    """The names of all tables that can be opened here."""
    return [*shipped_names(), *hpobench_names()]


def open_table(name: str) -> RecordedTable:
    """The table of this name.

    Raises:
        UserError: there is none, what it needs is not installed, or its file is damaged.
    """
    return open_hpobench(name) if name.startswith(PREFIX) else _open_shipped(name)


def table_facts(name: str) -> TableFacts:
    """What the table of this name is: sooner than by opening it.

    Raises:
        UserError: as `open_table`.
    """
    return hpobench_facts(name) if name.startswith(PREFIX) else _open_shipped(name).facts


def _open_shipped(name: str) -> RecordedTable:
    if name not in shipped_names():
        what = f"there is no table {quote(name)}{closest(name, table_names())}"
        raise UserError(what, where="table", fix="`nightshift tables list` names them")
    return read_table(FOLDER / f"{name}.parquet")


def shipped_names() -> list[str]:
    """The names of the tables that come with nightshift."""
    return sorted(path.stem for path in FOLDER.glob("*.parquet"))
