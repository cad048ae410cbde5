"""The manifest of a snapshot: which files belong together, and how it is read and replaced."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rails.errors import UserError

MANIFEST = "manifest.json"


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
    tail: str | None = None
    """The file with the newest rows; None when all are in the parts."""
    previous: tuple[str, ...] = ()
    """Files of the manifest before, which a reader may still be opening."""

    def files(self, table: str) -> list[str]:
        """Names of the Parquet files that hold `table`."""
        return [name for part, name in self.parts.items() if part.table == table and name]

    @property
    def all_files(self) -> tuple[str, ...]:
        """Names of all its files."""
        return tuple(name for name in (*self.parts.values(), self.tail) if name)


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
            tail=stored.get("tail"),
            previous=tuple(stored["previous"]),
        )
    except FileNotFoundError as error:
        fix = "it is written when the loop starts: `nightshift run`"
        raise UserError("there is no snapshot yet", where=str(directory), fix=fix) from error
    except (OSError, ValueError, TypeError, KeyError) as error:
        fix = "it is written anew when the loop starts: `nightshift run`"
        raise UserError(f"the snapshot cannot be read ({error!r})", where=str(path), fix=fix) from error


def write_manifest(directory: Path, manifest: Manifest) -> None:
    """Make `manifest` the one that readers of `directory` see. Its files must be there."""
    parts = [[part.table, part.group, part.start, part.size, file] for part, file in manifest.parts.items()]
    document = {
        "schema": manifest.schema,
        "session": manifest.session,
        "revision": manifest.revision,
        "tail": manifest.tail,
        "previous": manifest.previous,
        "parts": parts,
    }
    temporary = directory / f"{MANIFEST}.tmp"
    temporary.write_text(json.dumps(document), encoding="utf-8")
    temporary.replace(directory / MANIFEST)


def quoted(text: str) -> str:
    """`text` as a SQL literal."""
    return "'" + text.replace("'", "''") + "'"
