"""Reading any log: which format it has is told by its content, whatever it is called."""

from collections.abc import Sequence
from pathlib import Path

from memory.importers import lineage_tsv, menu_loop, own, results_tsv
from memory.importers.lines import Tick, lines_of, unheard
from memory.importers.log import Log, LogFormat, Origin
from rails.errors import UserError

_PARQUET = b"PAR1"
_KNOWN = (
    "give a workspace, an export (JSONL, Parquet, results.tsv), the JSONL of a menu loop, or a results.tsv with the "
    "columns commit … description or exp_id … notes, tab-separated and with its header"
)


def read_log(path: Path, tick: Tick = unheard) -> Log:
    """The log in a file.

    Args:
        path: the file.
        tick: told of progress, in bytes.

    Raises:
        UserError: there is no such file, it cannot be read, it is of no known format, or nothing of it is left.
    """
    place = str(path)
    try:
        origin = Origin.of(path)
        with path.open("rb") as file:
            begins = file.read(len(_PARQUET))
        if begins == _PARQUET:
            return own.read_parquet(origin, tick)
        lines = list(lines_of(path, tick))
    except FileNotFoundError:
        raise UserError("there is no such file", where=place, fix="check the path") from None
    except IsADirectoryError:
        raise UserError("this is a folder, not a log", where=place, fix="name the log file in it") from None
    except OSError as error:
        raise UserError(f"it cannot be read ({error.strerror or error})", where=place, fix="check the file") from error
    return _read(origin, lines)


def _read(origin: Origin, lines: Sequence[tuple[int, str]]) -> Log:
    match format_of(lines):
        case LogFormat.JSONL:
            return own.read_jsonl(origin, lines)
        case LogFormat.MENU_LOOP:
            return menu_loop.read(origin, lines)
        case LogFormat.LINEAGE_TSV:
            return lineage_tsv.read(origin, lines)
        case LogFormat.RESULTS_TSV:
            return results_tsv.read(origin, lines)
        case _:
            raise UserError("this is no log that nightshift knows", where=str(origin.path), fix=_KNOWN)


def format_of(lines: Sequence[tuple[int, str]]) -> LogFormat | None:
    """Which format a text file with these lines has; None for an unknown one."""
    if not lines:
        return None
    first = lines[0][1]
    if own.recognise(lines):
        return LogFormat.JSONL
    if lineage_tsv.recognise(first):
        return LogFormat.LINEAGE_TSV
    if results_tsv.recognise(first):
        return LogFormat.RESULTS_TSV
    return LogFormat.MENU_LOOP if menu_loop.recognise(lines) else None
