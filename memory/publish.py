"""Publishing: copies of the store for readers in other processes, who must never open its file.

A snapshot is a folder of immutable files and one `manifest.json` that names those which belong together. Files are
written first, then the manifest is replaced by an atomic rename: a reader sees the old snapshot or the new one.

Trials are cut into segments of 16 by number. The last segment of the campaign that runs is a JSON file with everything
else that is new (`memory/database/tail.py`); a complete one is a Parquet file for each table, and 8 of them become one
block of 128. A file is written again only when one of its rows changed, so publishing costs the same at 1,000 trials as
at 10. Nothing here is synced to disk: a snapshot that a power cut tore is made anew from the store at the next start.
"""

import os
from collections import defaultdict
from collections.abc import Iterator
from fnmatch import fnmatch
from hashlib import sha256
from pathlib import Path

from memory.atomic import Identity, identity, write_error
from memory.database.rows import CAMPAIGNS, NUMBERED_TABLES, TRIAL_TABLES, TRIALS
from memory.database.tail import TAIL, tail_text
from memory.records import Trial
from memory.snapshot.manifest import MANIFEST, Manifest, Part, quoted, read_manifest, write_manifest
from memory.store import Store
from rails.errors import UserError

SEGMENT = 16
BLOCK = 128
_NUMBERED = {table.name for table in NUMBERED_TABLES}


class Publisher:
    """Publishes one store in one folder, again and again; it remembers what it wrote last.

    Args:
        store: the store.
        directory: where the snapshot is, or shall be.
    """

    def __init__(self, store: Store, directory: Path) -> None:
        self._store, self._directory = store, directory
        self._last: tuple[Identity, Manifest] | None = None
        """The manifest written last, and the file that it became."""

    def publish(self) -> None:
        """Bring the snapshot up to the store's present state.

        Raises:
            HaltError: the disk is full or it cannot be written. The store itself is not touched.
        """
        store, directory = self._store, self._directory
        store.flush()  # nobody may see what a kill could still take back
        try:
            directory.mkdir(parents=True, exist_ok=True)
            there = identity(directory / MANIFEST)
            before = self._last[1] if self._last and self._last[0] == there else _reusable(store, directory)
            live = _live(store)
            manifest = Manifest(
                schema=store.schema,
                session=store.session,
                revision=store.revision,
                parts=_parts(store, directory, before, live),
                tail=_write_tail(store, directory, before, live),
                previous=() if before is None else before.all_files,
            )
            write_manifest(directory, manifest)
            written = identity(directory / MANIFEST)
            self._last = None if written is None else (written, manifest)
            _remove_others(directory, {*manifest.previous, *manifest.all_files})
        except OSError as error:
            raise write_error(directory, error) from error


def publish(store: Store, directory: Path) -> None:
    """Bring the snapshot in `directory` up to the store's present state; see `Publisher.publish`."""
    Publisher(store, directory).publish()


def cover(count: int) -> list[tuple[int, int]]:
    """Ranges (start, size) that hold the numbers 0 … count-1: as many whole blocks as there are, then segments."""
    whole = count - count % BLOCK
    blocks = [(start, BLOCK) for start in range(0, whole, BLOCK)]
    return blocks + [(start, SEGMENT) for start in range(whole, count, SEGMENT)]


def _reusable(store: Store, directory: Path) -> Manifest | None:
    """The present manifest, when its parts were written by this very store object."""
    try:
        manifest = read_manifest(directory)
    except UserError:
        return None
    return manifest if manifest.session == store.session else None


def _live(store: Store) -> str | None:
    """The campaign whose trials are being written; None when none was since the store was opened."""
    changed = (_stored(store, trial_id) for table, trial_id in store.changes_since(0) if table == TRIALS.name)
    return next((trial.campaign_id for trial in changed if trial is not None), None)


def _stored(store: Store, trial_id: str) -> Trial | None:
    """The trial; None when the change that is told of was rolled back."""
    try:
        return store.trial(trial_id)
    except KeyError:
        return None


def _parts(store: Store, directory: Path, before: Manifest | None, live: str | None) -> dict[Part, str | None]:
    """Every part of the new snapshot, written where it is new or stale and taken over where it is not."""
    known = {} if before is None else before.parts
    changed: dict[tuple[str, str], set[int]] = defaultdict(set)
    for table, trial_id in store.changes_since(0 if before is None else before.revision):
        if trial_id and (trial := _stored(store, trial_id)) is not None:
            changed[table, trial.campaign_id].add(trial.seq)
    parts: dict[Part, str | None] = {}
    for part in _wanted(store, live):
        seqs = changed.get((part.table, part.group), ())
        stale = any(part.start <= seq < part.start + part.size for seq in seqs)
        parts[part] = known[part] if part in known and not stale else _write(store, directory, part)
    return parts


def _wanted(store: Store, live: str | None) -> Iterator[Part]:
    """Every Parquet part that a snapshot of the present store has."""
    for table in NUMBERED_TABLES:
        for start, size in cover(_sealed(store.row_count(table.name))):
            yield Part(table.name, "", start, size)
    for campaign in store.campaigns():
        count = _count(store, campaign.campaign_id)
        for start, size in cover(_sealed(count) if campaign.campaign_id == live else count):
            for table in TRIAL_TABLES:
                yield Part(table.name, campaign.campaign_id, start, size)


def _count(store: Store, campaign_id: str) -> int:
    trials = store.trials(campaign_id)
    return trials[-1].seq + 1 if trials else 0


def _sealed(count: int) -> int:
    """How many of so many rows or trials fill their segments."""
    return count - count % SEGMENT


def _write_tail(store: Store, directory: Path, before: Manifest | None, live: str | None) -> str:
    """Write what is in no part: campaigns, the last rows of numbered tables, the last trials of the live campaign."""
    name = f"tail-{store.session[:8]}-{store.revision}.json"
    if before is not None and name == before.tail:
        return name  # a reader may have it open, and nothing has changed
    tables = [(CAMPAIGNS.name, CAMPAIGNS.columns, store.tail_rows(CAMPAIGNS, ""))]
    for table in NUMBERED_TABLES:
        rows = store.tail_rows(table, "", _sealed(store.row_count(table.name)))
        tables.append((table.name, (*table.columns, "ordinal"), rows))
    trials = [] if live is None else store.trials(live)
    first = _sealed(trials[-1].seq + 1) if trials else 0
    ids = [trial.trial_id for trial in trials[-SEGMENT:] if trial.seq >= first]
    for table in TRIAL_TABLES:
        rows = [row for trial_id in ids for row in store.tail_rows(table, trial_id)]
        tables.append((table.name, table.columns, rows))
    store.keep_tail_of(ids)
    (directory / name).write_text(tail_text(tables), encoding="utf-8")
    return name


def _write(store: Store, directory: Path, part: Part) -> str | None:
    numbers = range(part.start, part.start + part.size)
    condition = f"ordinal BETWEEN {numbers[0]} AND {numbers[-1]}"
    if part.table not in _NUMBERED:
        ids = [quoted(trial.trial_id) for trial in store.trials(part.group) if trial.seq in numbers]
        if not ids:
            return None
        condition = f"trial_id IN ({', '.join(ids)})"
    # The session is in the name: a reader may have a file open that an earlier session wrote.
    campaign = sha256(part.group.encode()).hexdigest()[:8]
    name = f"{part.table}-{campaign}-{part.start:06d}-{part.size}-{store.session[:8]}-{store.revision}.parquet"
    rows = store.export(f"SELECT * FROM raw.{part.table} WHERE {condition}", directory / name)
    if rows == 0:
        (directory / name).unlink()
    return name if rows else None


def _remove_others(directory: Path, kept: set[str]) -> None:
    for name in os.listdir(directory):
        if name not in kept and (name.endswith(".parquet") or fnmatch(name, TAIL)):
            (directory / name).unlink(missing_ok=True)
