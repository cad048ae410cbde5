"""git objects as plain bytes: blobs, one-folder trees and commits, the same bytes for the same input, always."""

import hashlib
import io
import re
import textwrap
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path

from memory.atomic import disk_errors, sync_file
from memory.git.repo import AUTHOR_EMAIL, AUTHOR_NAME, GitRepo
from rails.errors import HaltError, UserError

_FILE_MODES = {b"100644", b"100755", b"100664"}
_TREE_MODE = b"40000"
_SUBJECT_CHARS = 100
_OBJECTS_REMEMBERED = 24
"""Those of the incumbent, of the candidate in hand and of a table of results that is a megabyte at most."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of a tree: mode in octal, name, and the object's name (40 hex digits)."""

    mode: bytes
    name: bytes
    sha: str


class GitObjects:
    """Reads and writes the objects of one repository.

    Raises (every method):
        HaltError: an object is missing or damaged, or the disk is full.
    """

    def __init__(self, repo: GitRepo) -> None:
        self._repo = repo
        self._database = repo.database
        # A trial reads the incumbent's objects again and again, and what is named by its content never changes.
        self.read = lru_cache(maxsize=_OBJECTS_REMEMBERED)(self._read)
        self.file = lru_cache(maxsize=_OBJECTS_REMEMBERED)(self._file)

    def _read(self, kind: str, sha: str) -> bytes:
        """The content of the object `sha` of kind blob, tree or commit."""
        import zlib

        from gitdb.exc import ODBError

        try:
            stream = self._database.stream(bytes.fromhex(sha))
            data = stream.read()
            if stream.type == kind.encode():
                return data
        except (ODBError, ValueError, OSError, zlib.error):
            pass  # not loose, or damaged: git itself looks into its packs, and says what is wrong
        result = self._repo.run("cat-file", kind, sha)
        if result.status != 0:
            raise HaltError(
                f"the {kind} {sha[:12]} is missing from the git repository or damaged",
                where=str(self._repo.path),
                fix="restore .git from a copy, or start a new campaign with `nightshift run --fresh`",
            )
        return result.out

    def write(self, kind: str, data: bytes) -> str:
        """Store an object; returns its name. Writing it again changes nothing."""
        from gitdb import IStream

        sha = object_name(kind, data)
        place = self._place(sha)
        with disk_errors(place):
            # Power loss can leave the file of an unflushed object empty; the database would take it for stored.
            if place.is_file() and place.stat().st_size == 0:
                place.unlink()
            self._database.store(IStream(kind, len(data), io.BytesIO(data)))
        return sha

    def flush(self, shas: Iterable[str]) -> None:
        """Flush objects to disk, so that a ref that points at them survives power loss."""
        for place in map(self._place, shas):
            if place.is_file():  # else it is in a pack, which git has flushed
                with disk_errors(place):
                    sync_file(place)

    def commit(self, tree: str, parents: Iterable[str], message: str, when: datetime) -> str:
        """Store a commit by the loop, unsigned. The same arguments give the same name.

        Args:
            tree: its tree.
            parents: its parents' names.
            message: any text; ends up in UTF-8 with one newline at the end.
            when: author's and committer's date, cut to whole seconds, with a time zone.
        """
        if when.tzinfo is None:
            raise ValueError("a commit's date needs a time zone")
        stamp = f"{AUTHOR_NAME} <{AUTHOR_EMAIL}> {int(when.astimezone(UTC).timestamp())} +0000"
        head = [f"tree {tree}", *(f"parent {parent}" for parent in parents), f"author {stamp}", f"committer {stamp}"]
        body = message.replace("\0", " ").strip() + "\n"
        return self.write("commit", "\n".join([*head, "", body]).encode("utf-8", "replace"))

    def tree_of(self, commit: str) -> str:
        """The name of a commit's tree."""
        return self._headers(commit)["tree"][0]

    def parents_of(self, commit: str) -> list[str]:
        """The names of a commit's parents."""
        return self._headers(commit).get("parent", [])

    def entries(self, tree: str) -> list[Entry]:
        """The lines of a tree, in its order."""
        data, found, position = self.read("tree", tree), list[Entry](), 0
        while position < len(data):
            space, end = data.index(b" ", position), data.index(b"\0", position)
            found.append(Entry(data[position:space], data[space + 1 : end], data[end + 1 : end + 21].hex()))
            position = end + 21
        return found

    def write_tree(self, entries: Iterable[Entry]) -> str:
        """Store a tree, its lines put in git's order (a folder sorts as if its name ended in a slash)."""
        ordered = sorted(entries, key=lambda entry: entry.name + b"/" * (entry.mode == _TREE_MODE))
        return self.write("tree", b"".join(b"%s %s\0%s" % (e.mode, e.name, bytes.fromhex(e.sha)) for e in ordered))

    def _file(self, commit: str, name: str) -> Entry | None:
        """The line of a file in a commit's top folder; None when the commit has no such file.

        Raises:
            UserError: something that is not a regular file has that name.
        """
        found = next((entry for entry in self.entries(self.tree_of(commit)) if entry.name == name.encode()), None)
        if found is not None and found.mode not in _FILE_MODES:
            what = f"{name} is not a regular file in the commit {commit[:12]}"
            raise UserError(what, where=str(self._repo.path), fix="replace the link or folder by a file and commit it")
        return found

    def with_files(self, commit: str, files: Mapping[str, str]) -> str:
        """Store the tree of `commit` with the contents of some files of its top folder replaced or added.

        Args:
            commit: where to start from.
            files: name → text, stored in UTF-8; a file that exists keeps its mode.
        """
        entries = {entry.name: entry for entry in self.entries(self.tree_of(commit))}
        for name, text in files.items():
            old = self.file(commit, name)
            mode = old.mode if old else b"100644"
            entries[name.encode()] = Entry(mode, name.encode(), self.write("blob", text.encode("utf-8")))
        return self.write_tree(entries.values())

    def _place(self, sha: str) -> Path:
        return Path(self._database.db_path(self._database.object_path(sha)))

    def _headers(self, commit: str) -> dict[str, list[str]]:
        headers: dict[str, list[str]] = {}
        for line in self.read("commit", commit).split(b"\n\n", 1)[0].decode("utf-8", "replace").split("\n"):
            key, _, value = line.partition(" ")
            headers.setdefault(key, []).append(value)
        return headers


def object_name(kind: str, data: bytes) -> str:
    """The name that git gives to an object with this content."""
    return hashlib.sha1(b"%s %d\0" % (kind.encode(), len(data)) + data, usedforsecurity=False).hexdigest()


def commit_message(subject: str, body: str, trailers: Mapping[str, str]) -> str:
    """A commit message whose trailers are exactly the given ones, whatever a model wrote into subject and body.

    Args:
        subject: first line; longer ones are cut at 100 characters.
        body: any text, may be empty.
        trailers: `Nightshift-Trial` → `7`, in this order; may be empty.
    """
    first = _one_line(subject)
    title = first if len(first) <= _SUBJECT_CHARS else first[: _SUBJECT_CHARS - 1].rstrip() + "…"
    # git reads trailers from the last paragraph only, and stops at a line of dashes when told to cut a patch off.
    text = re.sub(r"(?m)^---", " ---", body.replace("\r\n", "\n").replace("\r", "\n").strip())
    if not trailers:
        text = textwrap.indent(text, "  ")  # or its own last paragraph could be taken for trailers
    lines = "\n".join(f"{key}: {_one_line(value)}" for key, value in trailers.items())
    return "\n\n".join(part for part in (title, text, lines) if part)


def _one_line(text: str) -> str:
    return " ".join(text.split())
