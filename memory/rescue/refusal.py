"""A damaged store: the loop refuses it, and says which copy there is and how to get it back."""

import shlex
from dataclasses import dataclass
from pathlib import Path

from memory.database.backup import backups
from memory.database.errors import DamagedStoreError
from memory.database.inspection import log_path
from memory.database.opening import BACKUPS, SNAPSHOT
from memory.database.rows import TRIALS
from memory.reader import Reader
from memory.store import Store
from rails.errors import HaltError, UserError


@dataclass(frozen=True, slots=True)
class Copy:
    """What the published snapshot has of a store."""

    trials: int
    newest: str | None
    """When the newest of them was decided, or opened: ISO 8601 in UTC."""

    def __str__(self) -> str:
        of_when = f", the newest of {self.newest} UTC" if self.newest else ""
        return f"{self.trials} trial{'' if self.trials == 1 else 's'}{of_when}"


def open_store(path: Path, root: Path) -> Store:
    """Open the store at `path`, in the workspace `root`, as `Store.open` does.

    Raises:
        HaltError: it is damaged; the message names the copy that there is, and the command that restores it.
        NightshiftError: as `Store.open`.
    """
    try:
        return Store.open(path)
    except DamagedStoreError as error:
        what, copy = f"the store is damaged ({error.why})", copy_of(path)
        if copy is None:
            what, fix = f"{what}, and no snapshot of it can be read", without_snapshot(path)
        else:
            command = f"nightshift restore {shlex.quote(str(root))}"
            what, fix = f"{what}; its snapshot has {copy}", f"`{command}` rebuilds it, and keeps the damaged file"
        raise HaltError(what, where=str(path), fix=fix) from error


def copy_of(path: Path) -> Copy | None:
    """What was published last of the store at `path`; None when there is no snapshot, or it cannot be read."""
    try:
        with Reader.open(path.with_name(SNAPSHOT), [TRIALS.name]) as reader:
            found = reader.query("SELECT count(*), max(coalesce(decided_at, created_at)) FROM trials")
    except UserError:
        return None
    trials, newest = found.rows[0]
    return Copy(trials, newest and str(newest)[:19])


def without_snapshot(path: Path) -> str:
    """What a person can do about the damaged store at `path` where no snapshot can be read, as an instruction."""
    kept = backups(path.with_name(BACKUPS))
    away = f"move {path.name}, {log_path(path).name} and {SNAPSHOT} out of {path.parent}"
    if kept:
        return f"{away}, copy {kept[-1]} to {path}, then run again"
    return f"there is no backup either: {away}, then run again, which begins a new store"
