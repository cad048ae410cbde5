"""The text that a trial may read on this machine: file by file, as bytes without blanks, for a search.

Whatever is text is read, whole up to `MOST_BYTES`, whether it is Python or not; so are archives of Python code,
compressed documents, and the compiled Python files whose source is gone. Passed over is what holds no text of a
corpus, or not enough to pay for the reading:

* compiled code of other languages, pictures, fonts (known by name, or by a NUL near the beginning), except the
  interpreter's own libraries: modules that are frozen into them keep their documentation;
* sources and data of other languages, when the corpus has no file of such a name;
* a compiled file beside its source, which says the same;
* what is no file of the disk: `/dev`, `/proc`, `/sys`.
"""

import gzip
import os
import zipfile
import zlib
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

MOST_BYTES = 32 << 20
"""Of a file, or of all that an archive holds."""
HEAD_BYTES = 8192
BLANKS = b" \t\r\f\v"
NO_DISK = ("/dev", "/proc", "/sys")
NO_TEXT = """
.a .avif .bc .bin .bz2 .class .debug .dll .dylib .exe .gif .ico .jar .jmod .jpeg .jpg .jsa .lib .mo .o .otf .pdf .png
.pyd .so .sym .ttf .webp .woff .woff2 .xz .zst
"""
OTHER_LANGUAGES = """
.afm .c .cc .cjs .cmake .cpp .css .csv .cts .cu .cuh .cxx .dat .el .f .f90 .go .h .hh .hpp .hxx .inl .java .js .json
.jsonl .lua .map .mjs .mts .pc .php .pl .pm .proto .rb .rs .s .scss .svg .tcl .ts .tsx .xml .yaml .yml
"""
ARCHIVES = frozenset((".egg", ".pyz", ".whl", ".zip"))
TEXT_IN_ARCHIVES = (".md", ".py", ".pyi", ".rst", ".txt")


@dataclass(frozen=True, slots=True, kw_only=True)
class InSight:
    """What a trial may read of this machine.

    Attributes:
        readable: files and folders, with everything below them.
        hidden: files and folders below those that it may not read all the same, resolved.
    """

    readable: tuple[Path, ...] = ()
    hidden: frozenset[Path] = frozenset()


NOTHING = InSight()


def texts_in_sight(in_sight: InSight, suffixes: Collection[str]) -> Iterator[tuple[str, bytes]]:
    """Every file with text in it, and that text without blanks; what cannot be read is passed over.

    Args:
        in_sight: what a trial may read.
        suffixes: of the corpus' files, in lower case with their dots: files of these names are always looked at.
    """
    passed_over = {*NO_TEXT.split(), *OTHER_LANGUAGES.split()} - {*suffixes}
    closed = {str(path) for path in in_sight.hidden}
    for root in _roots(in_sight.readable):
        for path in _files(root, closed):
            suffix = os.path.splitext(path)[1].lower()
            if suffix in passed_over or (suffix == ".pyc" and _has_source(path)):
                continue
            text = _text(path, suffix)
            if text:
                yield path, text.translate(None, BLANKS)


def _roots(readable: Collection[Path]) -> list[str]:
    """The readable places that lie in no other, each once."""
    resolved = dict.fromkeys(path.resolve() for path in readable)
    outermost = [path for path in resolved if not any(parent in resolved for parent in path.parents)]
    return [str(path) for path in outermost if not str(path).startswith(NO_DISK)]


def _files(path: str, closed: Collection[str]) -> Iterator[str]:
    """The regular files below a path, or the path itself; links are passed over: what they lead to lies elsewhere."""
    if path in closed:
        return
    if not os.path.isdir(path):
        if os.path.isfile(path):
            yield path
        return
    folders = [path]
    while folders:
        try:
            entries = list(os.scandir(folders.pop()))
        except OSError:
            continue
        for entry in entries:
            if entry.path in closed:
                continue
            if entry.is_dir(follow_symlinks=False):
                folders.append(entry.path)
            elif entry.is_file(follow_symlinks=False):
                yield entry.path


def _has_source(compiled: str) -> bool:
    """Whether the source that a compiled file in `__pycache__` was made from is there."""
    folder, name = os.path.split(compiled)
    stem = name.split(".", 1)[0]
    return os.path.basename(folder) == "__pycache__" and os.path.isfile(
        os.path.join(os.path.dirname(folder), f"{stem}.py")
    )


def _text(path: str, suffix: str) -> bytes:
    """What is to be searched of a file, empty when it cannot be read or holds no text."""
    try:
        if suffix in ARCHIVES:
            return b"\n".join(_members(path))
        if suffix == ".gz":
            with gzip.open(path) as file:
                text = file.read(MOST_BYTES)
            return b"" if b"\0" in text[:HEAD_BYTES] else text
        with open(path, "rb", buffering=0) as file:
            head = file.read(HEAD_BYTES)
            if b"\0" in head and suffix != ".pyc" and "python" not in os.path.basename(path):
                return b""
            return head + file.read(MOST_BYTES - HEAD_BYTES) if len(head) == HEAD_BYTES else head
    except (OSError, EOFError, zlib.error, zipfile.BadZipFile, NotImplementedError, RuntimeError, ValueError):
        return b""


def _members(path: str) -> Iterator[bytes]:
    """The text files of an archive."""
    left = MOST_BYTES
    with zipfile.ZipFile(path) as archive:
        for member in archive.infolist():
            if member.filename.endswith(TEXT_IN_ARCHIVES) and member.file_size <= left:
                left -= member.file_size
                yield archive.read(member)
