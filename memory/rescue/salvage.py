"""Reading a damaged store to pieces, and making whole tables of them and of the published snapshot."""

import json
import shutil
import subprocess
import sys
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import duckdb

from memory.atomic import disk_full, says_full
from memory.database.inspection import log_path, unknown_trials
from memory.database.journal import JOURNAL, fold
from memory.database.migrations.runner import LEDGER, newest_version
from memory.database.rows import ALL_TABLES, EVENTS, SPANS, TRIALS, Table
from memory.snapshot.loading import load
from memory.snapshot.manifest import Manifest, Part, quoted, read_manifest, write_manifest
from rails.errors import HaltError, UserError

_LIMIT_S = 600.0
"""For one process to read."""

_HIDDEN_KEY = {EVENTS.name: ("ordinal",)}


@dataclass(slots=True)
class Salvage:
    """What was read of a damaged store, and what its snapshot had on top: rows per table."""

    from_store: dict[str, int] = field(default_factory=dict[str, int])
    from_snapshot: dict[str, int] = field(default_factory=dict[str, int])
    found: list[str] = field(default_factory=list[str])


def salvage(store: Path, snapshot: Path, target: Path) -> Salvage:
    """Export what a copy of the store gives, and what only the snapshot has, into the empty folder `target`.

    Afterwards `target` is a snapshot that a Reader can open, a Parquet file for each table.

    Raises:
        DiskFullError: there is no room.
        HaltError: the folder cannot be written.
        OSError: the store cannot be copied.
    """
    work = target / "work"
    work.mkdir()
    copy = work / "copy.duckdb"
    shutil.copyfile(store, copy)
    if log_path(store).exists():
        shutil.copyfile(log_path(store), log_path(copy))
    said = Salvage()
    try:
        pieces, partly = _read_to_pieces(copy, said)
        with closing(load(work, _manifest_of_pieces(work, pieces))) as ours:
            _fold_journal(ours, [work / name for name in pieces.get(JOURNAL, [])], said)
            published = _published(snapshot, work, said)
            parts = _write_tables(ours, published, target, said, older=TRIALS.name not in partly)
    except duckdb.Error as error:
        if says_full(str(error)):
            raise disk_full(target) from error
        raise HaltError(f"what can be read of the store cannot be exported ({error})", where=str(target)) from error
    write_manifest(target, Manifest(schema=newest_version(), session="rescue", revision=0, parts=parts))
    shutil.rmtree(work)
    return said


def _read_to_pieces(copy: Path, said: Salvage) -> tuple[dict[str, list[str]], set[str]]:
    """Files of each table that can be read, and the tables of which only a part can."""
    pieces: dict[str, list[str]] = {}
    reasons: dict[str, str] = {}
    again = True
    while again:
        lines, ended = _reading(copy, list(pieces))
        said.found.extend(line["found"] for line in lines if "found" in line)
        begun = [line for line in lines if "table" in line]
        for line in begun:
            pieces.setdefault(line["table"], []).extend([line["piece"]] if "piece" in line else [])
            if "why" in line:
                reasons.setdefault(line["table"], line["why"])
        again = bool(ended)
        if ended and begun:
            reasons.setdefault(begun[-1]["table"], f"DuckDB breaks down over it: {ended}")
        elif ended:
            said.found.append(f"DuckDB breaks down over the file ({ended})")
            again = _drop_log(copy, said)
    said.found.extend(f"table {table}: a part could not be read ({why})" for table, why in reasons.items())
    if not pieces:
        said.found.append("the file gave nothing")
    return pieces, set(reasons)


def _drop_log(copy: Path, said: Salvage) -> bool:
    """Try without the write-ahead log, if there is one."""
    found = log_path(copy).exists()
    if found:
        log_path(copy).unlink()
        said.found.append("the write-ahead log was left out; what it held is lost")
    return found


def _reading(copy: Path, but: list[str]) -> tuple[list[dict[str, Any]], str]:
    """What the process that reads all tables but the named ones told, and its last words when it did not end well."""
    command = [sys.executable, "-m", "memory.rescue.reading", str(copy), *but]
    root = Path(__file__).parents[1]
    try:
        done = subprocess.run(
            command, cwd=root, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=_LIMIT_S, check=False
        )
        out, err, status = done.stdout, done.stderr, done.returncode
    except subprocess.TimeoutExpired as error:
        out, err, status = _text(error.stdout), f"it takes more than {_LIMIT_S:.0f} s", -1
    if says_full(out) or says_full(err):
        raise disk_full(copy)
    lines = [json.loads(line) for line in out.splitlines() if line.endswith("}")]
    last_words = (err.strip().splitlines() or [f"exit code {status}"])[-1]
    return lines, last_words if status else ""


def _text(output: bytes | str | None) -> str:
    return output.decode("utf-8", "replace") if isinstance(output, bytes) else (output or "")


def _manifest_of_pieces(work: Path, pieces: dict[str, list[str]]) -> Manifest:
    parts = {Part(table, "", n, 0): name for table, names in pieces.items() for n, name in enumerate(names)}
    schema = newest_version()
    if pieces.get(LEDGER):
        files = ", ".join(quoted(str(work / name)) for name in pieces[LEDGER])
        found = duckdb.execute(f"SELECT max(version) FROM read_parquet([{files}])").fetchone()
        schema = int(found[0]) if found and found[0] else schema
    return Manifest(schema=schema, session="", revision=0, parts=dict(parts))


def _fold_journal(ours: duckdb.DuckDBPyConnection, pieces: list[Path], said: Salvage) -> None:
    """Add what the store had not brought into its tables yet."""
    if not pieces:
        return
    files = ", ".join(quoted(str(piece)) for piece in pieces)
    try:
        ours.begin()
        ours.execute(f"INSERT INTO raw.{JOURNAL} SELECT * FROM read_parquet([{files}])")
        fold(ours)
        ours.commit()
    except (duckdb.Error, ValueError, LookupError, TypeError) as error:
        ours.rollback()
        if says_full(str(error)):
            raise
        said.found.append(f"the newest rows, in the journal, do not fit the tables ({str(error).splitlines()[0]})")


def _published(snapshot: Path, work: Path, said: Salvage) -> dict[str, str]:
    """SQL for the rows of each table of the snapshot, under the newest schema; nothing when there is no snapshot."""
    try:
        with closing(load(snapshot, read_manifest(snapshot))) as theirs:
            for table in ALL_TABLES:
                file = quoted(str(work / f"published-{table.name}.parquet"))
                theirs.execute(f"COPY raw.{table.name} TO {file} (FORMAT parquet)")
    except (UserError, duckdb.Error) as error:
        if says_full(str(error)):
            raise disk_full(work) from error
        said.found.append(f"there is no snapshot to add rows from ({str(error).splitlines()[0]})")
        return {}
    return {
        table.name: f"read_parquet({quoted(str(work / f'published-{table.name}.parquet'))})" for table in ALL_TABLES
    }


def _write_tables(
    ours: duckdb.DuckDBPyConnection, published: dict[str, str], target: Path, said: Salvage, *, older: bool
) -> dict[Part, str | None]:
    """Write every table that has rows.

    Args:
        ours: what the store gave.
        published: what the snapshot has.
        target: the folder.
        said: told how many rows came from where.
        older: the store's trials could all be read: if any is behind the snapshot, the store is an older state.

    Returns:
        The files, for the manifest.
    """
    behind = bool(published) and unknown_trials(ours, published[TRIALS.name], "raw.trials") > 0
    parts: dict[Part, str | None] = {}
    for table in ALL_TABLES:
        rows = f"SELECT * FROM raw.{table.name}"
        if published:
            rows = _united(table, published[table.name], snapshot_first=behind and older)
        name = f"{table.name}.parquet"
        file = quoted(str(target / name))
        given = ours.execute(f"SELECT count(*) FROM raw.{table.name}").fetchone()
        saved = ours.execute(f"COPY ({rows}) TO {file} (FORMAT parquet, USE_TMP_FILE false)").fetchone()
        assert given is not None and saved is not None
        said.from_store[table.name], said.from_snapshot[table.name] = given[0], saved[0] - given[0]
        parts[Part(table.name, "", 0, 0)] = name if saved[0] else None
        if not saved[0]:
            (target / name).unlink()
    return parts


def _united(table: Table[Any], published: str, *, snapshot_first: bool) -> str:
    """SQL for all rows of both; of two with one key the store's, or the snapshot's."""
    store = f"SELECT * FROM raw.{table.name}"
    snapshot = f"SELECT * FROM {published}"
    if table is SPANS:  # they have no key: all of a trial come from where there are more of them
        counts = "SELECT trial_id, count(*) AS n FROM"
        more = f"({counts} {published} GROUP BY 1) AS s LEFT JOIN ({counts} raw.spans GROUP BY 1) AS k USING (trial_id)"
        chosen = f"(SELECT trial_id FROM {more} WHERE s.n > coalesce(k.n, 0))"
        return f"{store} WHERE trial_id NOT IN {chosen} UNION ALL {snapshot} WHERE trial_id IN {chosen}"
    first, second = (snapshot, store) if snapshot_first else (store, snapshot)
    keys = ", ".join(_HIDDEN_KEY.get(table.name, table.key))
    return f"{first} UNION ALL SELECT later.* FROM ({second}) AS later ANTI JOIN ({first}) AS earlier USING ({keys})"
