"""The two files of a workspace that the loop writes: train.py and results.tsv, in the working tree and in the index.

They are a projection of the branch's head. A person may edit anything at any time, so a file is written only where
nothing of theirs can be lost by it.
"""

import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from stat import S_ISREG

from memory.atomic import atomic_write_bytes, disk_errors, identity, sweep_temporaries
from memory.git.objects import GitObjects, object_name
from memory.git.repo import GitRepo

RESULTS_FILE = "results.tsv"


@dataclass(frozen=True, slots=True, kw_only=True)
class Versions:
    """Names of the blobs that a file had in earlier commits; None stands for "no such file"."""

    source: frozenset[str | None]
    results: frozenset[str | None]


class Worktree:
    """The working tree and index of one repository.

    Args:
        repo: the repository.
        objects: its objects.
        file_name: the file that proposals change.
    """

    def __init__(self, repo: GitRepo, objects: GitObjects, file_name: str) -> None:
        self._repo, self._objects, self._file_name = repo, objects, file_name
        self._written = repo.git_dir / "nightshift-results"
        """Which results.tsv the loop wrote last: rows of the incumbent change, so its text alone does not tell."""
        self._agreed: tuple[object, dict[str, str]] | None = None
        """The index, and what was wanted of it, when it had just that."""

    def sweep(self) -> None:
        """Remove temporary files of a killed loop."""
        for name in (self._file_name, RESULTS_FILE):
            sweep_temporaries(self._repo.path / name)

    def project(self, head: str, results: bytes | None, earlier: Callable[[], Versions]) -> list[str]:
        """Make both files and their index entries agree with `head`, which must be what is checked out.

        train.py is written where it is one of its `earlier` versions: those are in the history. results.tsv, which the
        loop rewrites after every trial, so that it is usually ahead of the head, is written where it is what the loop
        wrote last, or every line of it is also in the new text or an earlier version. An index entry is changed where
        it is an earlier version, so what a person staged stays staged.

        Args:
            head: the commit that the branch is at.
            results: what results.tsv should hold; None for the text in `head`.
            earlier: gives the versions that may be replaced; asked only when something does not agree.

        Returns:
            The files that a person changed, left as they are.

        Raises:
            HaltError: the disk is full, or git failed.
        """
        skipped = list[str]()
        source = self._objects.file(head, self._file_name)
        recorded = self._objects.file(head, RESULTS_FILE)
        if source is not None and not self._project_source(source.sha, earlier):
            skipped.append(self._file_name)
        if results is None and recorded is not None:
            results = self._objects.read("blob", recorded.sha)
        if results is not None and not self._project_results(results, recorded.sha if recorded else None, earlier):
            skipped.append(RESULTS_FILE)
        entries = {self._file_name: source, RESULTS_FILE: recorded}
        wanted = {name: f"{entry.mode.decode()},{entry.sha}" if entry else "" for name, entry in entries.items()}
        self._project_index(wanted, earlier)
        return skipped

    def _project_source(self, sha: str, earlier: Callable[[], Versions]) -> bool:
        path = self._repo.path / self._file_name
        there = _regular_file(path)
        if there is None:
            return False
        name = object_name("blob", there)
        if name == sha:
            return True
        if not _is_blank(there) and name not in earlier().source:
            return False
        atomic_write_bytes(path, self._objects.read("blob", sha), flush=False)
        return True

    def _project_results(self, results: bytes, recorded: str | None, earlier: Callable[[], Versions]) -> bool:
        path = self._repo.path / RESULTS_FILE
        there = _regular_file(path) if os.path.lexists(path) else b""
        if there is None:
            return False
        if there == results:
            return True
        written = self._written.read_text("utf-8", "replace").split() if self._written.exists() else []
        ours = _is_blank(there) or object_name("blob", there) in written
        if not ours and self._foreign_lines(there, results, recorded, earlier):
            return False
        # Both names, noted before the file changes: killed here, either is the loop's.
        self._note(object_name("blob", there), object_name("blob", results))
        atomic_write_bytes(path, results, flush=False)
        return True

    def _note(self, *names: str) -> None:
        """Note which texts of results.tsv are the loop's; written over what is there, which is always as long."""
        with disk_errors(self._written):
            descriptor = os.open(self._written, os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW, 0o666)
            try:
                os.pwrite(descriptor, "".join(f"{name}\n" for name in names).encode(), 0)
            finally:
                os.close(descriptor)

    def _foreign_lines(
        self, there: bytes, results: bytes, recorded: str | None, earlier: Callable[[], Versions]
    ) -> set[bytes]:
        """Lines of results.tsv that only a person can have written."""
        foreign = set(there.splitlines()) - set(results.splitlines())
        if foreign and recorded is not None:
            foreign -= set(self._objects.read("blob", recorded).splitlines())
        if foreign:
            for sha in earlier().results - {None, recorded}:
                foreign -= set(self._objects.read("blob", str(sha)).splitlines())
        return foreign

    def _project_index(self, wanted: dict[str, str], earlier: Callable[[], Versions]) -> None:
        """Change what the index has of the files to mode and blob as wanted; empty: to no entry."""
        index = identity(self._repo.git_dir / "index")
        if index is not None and (index, wanted) == self._agreed:
            return
        staged = self._staged(wanted)
        changes = list[str]()
        for name, entry in wanted.items():
            now = staged.get(name)
            if (now or "") == entry.partition(",")[2]:
                continue
            known = earlier().source if name == self._file_name else earlier().results
            if now in known:
                changes += ["--cacheinfo", f"{entry},{name}"] if entry else ["--force-remove", name]
        agrees = staged == {name: entry.partition(",")[2] for name, entry in wanted.items() if entry}
        self._agreed = (index, wanted) if agrees else None
        if changes:
            # A person's own git may hold the index for hours (an open commit editor). The next start tries again.
            self._repo.run("update-index", "--add", *changes)

    def _staged(self, names: Iterable[str]) -> dict[str, str]:
        """The blob that each file has in the index; `conflict` during a merge. Files without an entry are left out."""
        listed = self._repo.need("ls-files", "--stage", "-z", "--", *names).text
        staged: dict[str, str] = {}
        for line in filter(None, listed.split("\0")):
            (_, sha, stage), name = line.partition("\t")[0].split(), line.partition("\t")[2]
            staged[name] = sha if stage == "0" else "conflict"
        return staged


def _regular_file(path: Path) -> bytes | None:
    """A file's content; None when it is missing or anything but a regular file (links are not followed)."""
    try:
        return path.read_bytes() if S_ISREG(path.lstat().st_mode) else None
    except FileNotFoundError:
        return None


def _is_blank(data: bytes) -> bool:
    """Whether this is nobody's work: nothing, or the zeros that power loss leaves of a file that was not flushed."""
    return not data.strip(b"\0")
