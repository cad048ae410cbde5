"""Making a folder of a log that every reading command takes for a workspace: whole, or not at all."""

import json
import os
import secrets
import shutil
from pathlib import Path

import psutil
from pydantic import BaseModel, ConfigDict, ValidationError

from memory.atomic import atomic_write_text, disk_errors, sync_directory, sync_file
from memory.figures.analysis import Unreadable
from memory.importers.bulk import fill, publish_whole
from memory.importers.log import Log, LogFormat
from memory.keep.comparable import direction_of
from memory.store import Store
from rails.errors import UserError
from rails.text import clean_text

STATE = ".nightshift"
MARK = "imported.json"
UNREADABLE = "unreadable.jsonl"

_TASK = """# The record of another loop, imported from {source}.
# It can be asked like a workspace of our own: status, query, show, near-misses, lineage, analyze, compare, report.
# There is no program here, so `nightshift run` refuses: make a workspace of your own with `nightshift init DIR`.
name = {name}

[metric]
name = {metric}
direction = "{direction}"
"""


class Imported(BaseModel):
    """What stands beside an imported record: where it came from, and what could not be read of it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    source: str
    """The log's path at the time."""
    format: LogFormat
    trials: int
    """Without the baseline."""
    unreadable: list[Unreadable]
    notes: list[str]
    """What had to be assumed."""


def import_log(log: Log, source: Path, directory: Path) -> Imported:
    """Make the folder `directory` of a log.

    It is made under another name beside it and renamed when it is whole; a later import sweeps away what a killed one
    left.

    Args:
        log: as it was read.
        source: the file that it was read from.
        directory: where; it must not exist, or be empty.

    Raises:
        UserError: something is there, or the log has no trial.
        HaltError: the disk is full or the folder cannot be written.
    """
    directory = directory.expanduser().resolve()
    _check_vacant(directory)
    trials = sum(row.trial > 0 for row in log.rows)
    if not trials:
        what = f"no trial of it can be read ({len(log.unreadable)} lines are unreadable)"
        raise UserError(what, where=str(source), fix="see why with `nightshift analyze`")
    imported = Imported(
        source=str(source), format=log.format, trials=trials, unreadable=log.unreadable, notes=log.notes
    )
    with disk_errors(directory):
        directory.parent.mkdir(parents=True, exist_ok=True)
        _sweep(directory)
        staging = directory.with_name(f".{directory.name}.{os.getpid()}-{secrets.token_hex(4)}.importing")
        staging.mkdir()
        try:
            _write(log, imported, staging)
            staging.rename(directory)  # also over an empty folder
        except BaseException:
            shutil.rmtree(staging, ignore_errors=True)
            raise
        sync_directory(directory.parent)
    return imported


def imported_record(root: Path) -> Imported | None:
    """What stands beside the imported record in the workspace `root`; None when it is a workspace of our own."""
    try:
        return Imported.model_validate_json((root / STATE / MARK).read_bytes())
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValidationError) as error:
        what = f"this folder is an imported record, but what it says of that cannot be read ({type(error).__name__})"
        raise UserError(what, where=str(root / STATE / MARK), fix="import the log again") from None


def _check_vacant(directory: Path) -> None:
    if directory.is_dir() and not any(directory.iterdir()):
        return
    if directory.exists() or directory.is_symlink():
        what = "there is something already, and an import overwrites nothing"
        raise UserError(what, where=str(directory), fix="name a new folder")


def _sweep(directory: Path) -> None:
    """Remove what imports into the same folder left that were killed."""
    for leftover in directory.parent.glob(f".{directory.name}.*.importing"):
        pid = leftover.name.removeprefix(f".{directory.name}.").partition("-")[0]
        if pid.isdigit() and not psutil.pid_exists(int(pid)):
            shutil.rmtree(leftover, ignore_errors=True)


def _write(log: Log, imported: Imported, root: Path) -> None:
    state = root / STATE
    state.mkdir()
    metric = log.campaign.task.get("metric") or {}
    text = _TASK.format(
        source=clean_text(imported.source, 200),
        name=json.dumps(log.campaign.tag, ensure_ascii=False),
        metric=json.dumps(clean_text(str(metric.get("name", "val_bpb")), 60), ensure_ascii=False),
        direction=direction_of(log.campaign),
    )
    if log.unreadable:
        lines = [json.dumps(found.model_dump(), ensure_ascii=False) for found in log.unreadable]
        atomic_write_text(root / UNREADABLE, "\n".join(lines) + "\n")
    atomic_write_text(state / MARK, imported.model_dump_json(indent=2) + "\n")
    path = state / "store.duckdb"
    with Store.open(path) as store:
        fill(store, log.records.tables())
        publish_whole(store, state / "snapshot")
    sync_file(path)
    atomic_write_text(root / "task.toml", text)  # last: with it the folder is a workspace
