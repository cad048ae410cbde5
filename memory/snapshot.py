"""Publishing: Parquet copies of the store for readers in other processes, who must never open its file.

A snapshot is a folder of immutable Parquet files and one `manifest.json` that names those which belong together. Files
are written first, then the manifest is replaced by an atomic rename: a reader sees the old snapshot or the new one.

Trials are cut into segments of 16 by number, and 8 complete segments become one block of 128. A table's part of a
segment is written again only when one of its rows changed, so publishing costs the same at 1,000 trials as at 10.
Nothing here is synced to disk: a snapshot that a power cut tore is made anew from the store at the next start.
"""

import json
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from memory.rows import CAMPAIGNS, NUMBERED_TABLES, TRIAL_TABLES
from memory.store import Store
from rails.errors import HaltError, UserError

MANIFEST = "manifest.json"
SEGMENT = 16
BLOCK = 128
_NUMBERED = {table.name for table in NUMBERED_TABLES}


@dataclass(frozen=True, slots=True)
class Part:
    """The rows of one table for one range of trials (`group` is their campaign), blocks or campaigns."""

    table: str
    group: str
    start: int
    size: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """What a snapshot consists of."""

    schema: int
    """Version of the store's schema."""
    session: str
    """The store's session; parts are reused only within one."""
    revision: int
    """The store's revision that this snapshot shows."""
    parts: dict[Part, str | None]
    """File of each part; None when it has no rows."""
    previous: tuple[str, ...] = ()
    """Files of the manifest before, which a reader may still be opening."""

    def files(self, table: str) -> list[str]:
        """Names of the files that hold `table`."""
        return [name for part, name in self.parts.items() if part.table == table and name]


def publish(store: Store, directory: Path) -> None:
    """Bring the snapshot in `directory` up to the store's present state.

    Raises:
        HaltError: it cannot be written. The store itself is not touched.
    """
    try:
        directory.mkdir(parents=True, exist_ok=True)
        before = _reusable(store, directory)
        parts = _parts(store, directory, before)
        previous = () if before is None else tuple(name for name in before.parts.values() if name)
        kept = {*previous, *(name for name in parts.values() if name)}
        manifest = Manifest(
            schema=store.schema, session=store.session, revision=store.revision, parts=parts, previous=previous
        )
        _replace_manifest(directory, manifest)
        _remove_others(directory, kept)
    except OSError as error:
        raise HaltError(
            f"a snapshot cannot be written: {error}", where=str(directory), fix="free some disk space"
        ) from error


def read_manifest(directory: Path) -> Manifest:
    """The manifest of the snapshot in `directory`.

    Raises:
        UserError: there is none, or it cannot be read.
    """
    path = directory / MANIFEST
    try:
        stored: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        parts = {Part(*key): file for *key, file in stored["parts"]}
        return Manifest(
            schema=stored["schema"],
            session=stored["session"],
            revision=stored["revision"],
            parts=parts,
            previous=tuple(stored["previous"]),
        )
    except FileNotFoundError as error:
        fix = "it is written when the loop starts: `nightshift run`"
        raise UserError("there is no snapshot yet", where=str(directory), fix=fix) from error
    except (OSError, ValueError, TypeError, KeyError) as error:
        fix = "it is written anew when the loop starts: `nightshift run`"
        raise UserError(f"the snapshot cannot be read ({error!r})", where=str(path), fix=fix) from error


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


def _parts(store: Store, directory: Path, before: Manifest | None) -> dict[Part, str | None]:
    """Every part of the new snapshot, written where it is new or stale and taken over where it is not."""
    known = {} if before is None else before.parts
    changed: dict[str, set[str]] = defaultdict(set)
    for table, trial_id in store.changes_since(0 if before is None else before.revision):
        changed[table].add(trial_id)
    parts: dict[Part, str | None] = {}
    last = {part.table: part.start for part in sorted(known, key=lambda part: part.start)}
    for part, ids in _wanted(store):
        news = changed[part.table]
        # Rows of no trial are only added at the end, so of these only the last part can be stale.
        stale = not news.isdisjoint(ids) if ids else bool(news) and part.start == last.get(part.table)
        parts[part] = known[part] if part in known and not stale else _write(store, directory, part, ids)
    return parts


def _wanted(store: Store) -> Iterator[tuple[Part, list[str]]]:
    """Every part that a snapshot of the present store has, with the ids of its trials where it is made of trials."""
    yield Part(CAMPAIGNS.name, "", 0, 0), []
    for table in NUMBERED_TABLES:
        for start, size in cover(store.row_count(table.name)):
            yield Part(table.name, "", start, size), []
    for campaign in store.campaigns():
        trials = store.trials(campaign.campaign_id)
        ids = {trial.seq: trial.trial_id for trial in trials}
        for start, size in cover(trials[-1].seq + 1 if trials else 0):
            of_part = [ids[seq] for seq in range(start, start + size) if seq in ids]
            for table in TRIAL_TABLES:
                yield Part(table.name, campaign.campaign_id, start, size), of_part


def _write(store: Store, directory: Path, part: Part, ids: list[str]) -> str | None:
    condition = "true"
    if part.table in _NUMBERED:
        condition = f"ordinal BETWEEN {part.start} AND {part.start + part.size - 1}"
    elif ids:
        condition = f"trial_id IN ({', '.join(map(quoted, ids))})"
    # The session is in the name: a reader may have a file open that an earlier session wrote.
    campaign = sha256(part.group.encode()).hexdigest()[:8]
    name = f"{part.table}-{campaign}-{part.start:06d}-{part.size}-{store.session[:8]}-{store.revision}.parquet"
    rows = store.export(f"SELECT * FROM raw.{part.table} WHERE {condition}", directory / name)
    if rows == 0:
        (directory / name).unlink()
    return name if rows else None


def _replace_manifest(directory: Path, manifest: Manifest) -> None:
    parts = [[part.table, part.group, part.start, part.size, file] for part, file in manifest.parts.items()]
    document = {
        "schema": manifest.schema,
        "session": manifest.session,
        "revision": manifest.revision,
        "previous": manifest.previous,
        "parts": parts,
    }
    temporary = directory / f"{MANIFEST}.tmp"
    temporary.write_text(json.dumps(document), encoding="utf-8")
    temporary.replace(directory / MANIFEST)


def _remove_others(directory: Path, kept: set[str]) -> None:
    for path in directory.glob("*.parquet"):
        if path.name not in kept:
            path.unlink(missing_ok=True)


def quoted(text: str) -> str:
    """`text` as a SQL literal."""
    return "'" + text.replace("'", "''") + "'"
