"""Tab-separated tables whose cells are free text: nothing is quoted, so a quotation mark is a letter like any other."""

from collections.abc import Sequence
from dataclasses import dataclass

from memory.importers.log import RowError


@dataclass(frozen=True, slots=True)
class Header:
    """The columns of a table, and which of them end the part that must be whole."""

    columns: tuple[str, ...]
    last_needed: str
    """A row that is cut short before this column cannot be read, nor one that ends in it: a number may be torn."""
    is_number: bool = True
    """Whether that column holds one."""

    def cells(self, text: str) -> dict[str, str]:
        """The cells of a row by column; those of the tail that are missing are empty.

        Raises:
            RowError: it is cut short.
        """
        cells = text.split("\t")
        wanted, needed = len(self.columns), self.columns.index(self.last_needed) + 1
        if len(cells) < min(needed + self.is_number, wanted):
            raise RowError(f"it is cut short: {len(cells)} of {wanted} cells")
        if len(cells) > wanted:  # tabs in the text of the last column
            cells = [*cells[: wanted - 1], "\t".join(cells[wanted - 1 :])]
        return dict(zip(self.columns, (*cells, *[""] * (wanted - len(cells))), strict=True))


def header_of(text: str) -> tuple[str, ...]:
    """The names in a table's first line, in small letters."""
    return tuple(name.strip().lower() for name in text.split("\t"))


def is_repeated(columns: Sequence[str], text: str) -> bool:
    """Whether a line is the header once more, as where a loop was started again."""
    first = text.partition("\t")[0].strip().lower()  # of most rows it tells that they are none
    return first == columns[0] and header_of(text) == tuple(columns)
