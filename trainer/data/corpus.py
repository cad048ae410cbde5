"""Text on this machine as a corpus: the running Python's standard library, or any folder of text.

A document's split follows from its text, not its name or place, so what was held back stays held back when files come
and go. (Where chance held back too little, in a corpus of a few documents, some more are held back. So are others in
the place of documents that stand elsewhere on the machine for every trial to read: see `trainer.data.exposed`.) The
text is compared after collapsing white space: a copy of a validation document under another name, or with another
indentation, is the same document and never reaches the training split.
"""

import hashlib
import os
import sysconfig
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from io import BufferedReader
from pathlib import Path
from typing import Literal, Protocol

from rails.errors import UserError
from trainer.data.progress import Meter, ProgressCallback
from trainer.data.shards import Split

HELD_BACK = 0.04
"""The share of the validation split, and again of the test split."""
LONG_FILE_BYTES, BLOCK_BYTES = 256 * 1024, 8 * 1024
"""A file longer than the first (a book, a dump) is cut at line ends into documents of about the second."""
SNIFF_BYTES = 8192
LEFT_OUT_OF_STDLIB = frozenset(
    {"test", "tests", "idle_test", "encodings", "site-packages", "dist-packages", "__pycache__", "pydoc_data"}
)
"""Directories of the standard library that hold no library code, or are missing from many distributions."""

SkipReason = Literal["binary", "duplicate", "empty", "link", "not_utf8", "unreadable"]


class Corpus(Protocol):
    """Text in three splits that share no document."""

    @property
    def label(self) -> str:
        """What it is, for a person."""
        ...

    @property
    def sha256(self) -> str:
        """Hash of the content: equal only for the same documents in the same splits."""
        ...

    @property
    def skipped(self) -> Mapping[str, int]:
        """Why things were left out, and how many."""
        ...

    @property
    def total_bytes(self) -> int:
        """The size of all text; for Parquet an upper bound."""
        ...

    @property
    def held_back_files(self) -> tuple[Path, ...]:
        """The files that validation and test documents come from, their copies in the corpus included."""
        ...

    def texts(self, split: Split) -> Iterator[str]:
        """The documents of one split, always in the same order; may be asked for again."""
        ...


def fingerprint(text: str) -> bytes:
    """SHA-256 of a text with every run of white space collapsed: what makes two documents the same."""
    return hashlib.sha256(" ".join(text.split()).encode()).digest()


def share(mark: bytes) -> float:
    """A fingerprint as a number in [0, 1), evenly spread."""
    return int.from_bytes(mark[:8], "big") / 2**64


@dataclass(frozen=True, slots=True)
class Document:
    """Where a document lies, so that a folder larger than memory can be prepared."""

    path: Path
    offset: int
    size: int
    sha256: bytes
    mark: bytes

    def read(self) -> str:
        """The document's text.

        Raises:
            UserError: the file is no longer what was scanned, or cannot be read any more.
        """
        try:
            with self.path.open("rb") as file:
                file.seek(self.offset)
                raw = file.read(self.size)
        except OSError as error:
            raise UserError(f"cannot be read any more: {error}", where=str(self.path), fix="run it again") from error
        if hashlib.sha256(raw).digest() != self.sha256:
            raise UserError("the file changed while it was being prepared", where=str(self.path), fix="run it again")
        return raw.decode()


def _split(documents: Sequence[Document], exposed: Collection[bytes] = ()) -> dict[Split, list[Document]]:
    """Split documents in the order of their fingerprints: the lowest are validation, the next test, the rest training.

    Each of the first two ends at a fixed fingerprint, or later if it does not have half of its share of the bytes yet.
    Exposed documents train; what they would have been held back for, the next ones are.
    """
    splits: dict[Split, list[Document]] = {"train": [], "val": [], "test": []}
    least = HELD_BACK / 2 * sum(document.size for document in documents)
    wanted: dict[Split, float] = {"val": least, "test": least}
    if exposed:
        plain = _split(documents)
        wanted = {split: sum(document.size for document in plain[split]) for split in wanted}
    held: Counter[Split] = Counter()
    for document in documents:
        position = share(document.mark)
        split: Split = "train"
        if document.mark in exposed:
            pass
        elif position < HELD_BACK or held["val"] < wanted["val"]:
            split = "val"
        elif position < 2 * HELD_BACK or held["test"] < wanted["test"]:
            split = "test"
        held[split] += document.size
        splits[split].append(document)
    return splits


class FileCorpus:
    """Documents in files, found by `scan_folder` or `scan_stdlib`.

    Attributes:
        documents: all of them, in the order of their fingerprints.
        exposed: fingerprints of those that are never held back.
        held_back: those of the validation and the test split.
        text_sha256: hash of all text, whatever its splits.
    """

    def __init__(
        self,
        label: str,
        documents: list[Document],
        skipped: Mapping[str, int],
        copies: Mapping[bytes, set[Path]],
        exposed: frozenset[bytes] = frozenset(),
    ) -> None:
        self.label, self.skipped, self.documents = label, skipped, documents
        self._copies, self.exposed = copies, exposed
        self._splits = _split(documents, exposed)
        self.held_back = [document for split in ("val", "test") for document in self._splits[split]]
        self.held_back_files = tuple(sorted(self._files(self.held_back)))
        self.text_sha256 = hashlib.sha256(b"".join(document.sha256 for document in documents)).hexdigest()
        told = "".join(mark.hex() for mark in sorted(exposed))
        self.sha256 = hashlib.sha256((self.text_sha256 + told).encode()).hexdigest() if told else self.text_sha256
        self.total_bytes = sum(document.size for document in documents)

    @property
    def files(self) -> set[Path]:
        """Every file that a document comes from, copies included."""
        return self._files(self.documents)

    def _files(self, documents: Sequence[Document]) -> set[Path]:
        return {path for document in documents for path in (document.path, *self._copies.get(document.mark, ()))}

    def sparing(self, exposed: frozenset[bytes]) -> "FileCorpus":
        """The same text with these documents, given by their fingerprints, in the training split."""
        return FileCorpus(self.label, self.documents, self.skipped, self._copies, exposed)

    def texts(self, split: Split) -> Iterator[str]:
        """The documents of one split in the order of their fingerprints. Raises UserError when a file has changed."""
        for document in self._splits[split]:
            yield document.read()


def _cut(file: BufferedReader, size: int) -> Iterator[tuple[int, bytes]]:
    """A file as (offset, bytes) of its documents: itself, or blocks that end with a line, or at least a character."""
    if size <= LONG_FILE_BYTES:
        yield 0, file.read()
        return
    offset = 0
    while block := file.read(BLOCK_BYTES):
        block += file.readline(BLOCK_BYTES)
        if not block.endswith(b"\n") and file.peek(1):
            last = max((at for at in range(len(block) - 4, len(block)) if block[at] & 0xC0 != 0x80), default=len(block))
            block = block[:last]
            file.seek(offset + last)
        yield offset, block
        offset += len(block)


def _documents_of(path: Path) -> list[Document] | SkipReason:
    documents: list[Document] = []
    try:
        with path.open("rb") as file:
            if b"\0" in file.read(SNIFF_BYTES):
                return "binary"
            file.seek(0)
            for offset, raw in _cut(file, os.fstat(file.fileno()).st_size):
                text = raw.decode()
                if text and not text.isspace():
                    sha256 = hashlib.sha256(raw).digest()
                    documents.append(Document(path, offset, len(raw), sha256, fingerprint(text)))
    except UnicodeDecodeError:
        return "not_utf8"
    except OSError:
        return "unreadable"
    return documents or "empty"


def _files(root: Path, wanted: Callable[[Path], bool], skipped: Counter[str]) -> Iterator[Path]:
    for folder, subfolders, names in os.walk(root):
        here = Path(folder)
        subfolders[:] = [name for name in subfolders if wanted(here / name)]
        for path in (here / name for name in names if wanted(here / name)):
            if path.is_symlink():
                skipped["link"] += 1
            elif path.is_file():
                yield path


def _scan(root: Path, label: str, wanted: Callable[[Path], bool], progress: ProgressCallback | None) -> FileCorpus:
    skipped: Counter[str] = Counter()
    found: dict[bytes, Document] = {}
    copies: dict[bytes, set[Path]] = {}
    meter = Meter(progress, f"reading {label}", unit="files")
    for path in _files(root, wanted, skipped):
        documents = _documents_of(path)
        if isinstance(documents, str):
            skipped[documents] += 1
            continue
        for document in documents:
            other = found.setdefault(document.mark, document)
            if other is not document:
                skipped["duplicate"] += 1
                copies.setdefault(document.mark, {other.path}).add(path)
                found[document.mark] = min(other, document, key=lambda each: each.sha256)
        meter.add()
    meter.finish()
    return FileCorpus(label, [found[mark] for mark in sorted(found)], dict(sorted(skipped.items())), copies)


def scan_stdlib(progress: ProgressCallback | None = None) -> FileCorpus:
    """The library code of the running Python: its `.py` files but tests, tables, generated prose and configuration.

    Raises:
        UserError: this Python has no standard library as files.
    """
    root = Path(sysconfig.get_paths()["stdlib"]).resolve()

    def wanted(path: Path) -> bool:
        if path.is_dir():
            # config-3.11-x86_64-linux-gnu and its like describe one build
            return path.name not in LEFT_OUT_OF_STDLIB and not path.name.startswith("config-")
        return path.suffix == ".py" and not path.name.startswith("_sysconfigdata")

    corpus = _scan(root, "the Python standard library", wanted, progress)
    if not corpus.total_bytes:
        raise UserError("this Python keeps no standard library as files", where=str(root), fix="name a folder of text")
    return corpus


def scan_folder(root: Path, progress: ProgressCallback | None = None) -> FileCorpus:
    """All text files under `root`: UTF-8 without NUL; hidden names and symbolic links are passed over.

    Raises:
        UserError: the folder is missing, is no folder, or holds no text.
    """
    if not root.is_dir():
        what = "is no folder" if root.exists() else "does not exist"
        raise UserError(f"the corpus {what}", where=str(root), fix='name a folder of text files, or "stdlib"')
    root = root.resolve()
    corpus = _scan(root, str(root), lambda path: not path.name.startswith("."), progress)
    if not corpus.total_bytes:
        passed = ", ".join(f"{count} {reason}" for reason, count in corpus.skipped.items()) or "it is empty"
        raise UserError(f"the corpus holds no text ({passed})", where=str(root), fix="put UTF-8 text files there")
    return corpus
