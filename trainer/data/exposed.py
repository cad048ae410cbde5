"""Which documents of a corpus stand in other files that every trial may read: those are never held back.

A trial may read the interpreter and its libraries, and libraries copy from each other: `typing_extensions.py` holds a
third of the lines of the standard library's `typing.py`. A program that looks its answers up there would be better at
such a document without having learned anything. So a document of whose distinctive lines more than `MOST_SHARED` are
found in readable files outside the corpus is *exposed*: it trains, and another is held back in its place.

A line is distinctive when it is long enough to be no idiom and stands in this document of the corpus alone; blanks do
not count. A few per cent are shared by chance, since all Python code has some lines in common; a share above that is a
common origin. What is found in this way is a copy, whole or in lines; a retelling is not, nor a text wrapped otherwise.

The search takes seconds, and its finding is pinned under the hash of the text: the same text keeps its splits while
packages come and go, else no campaign could go on after a `pip install`.
"""

import json
import os
import tempfile
import zlib
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from trainer.data.corpus import Document, FileCorpus
from trainer.data.held_back import hidden_paths
from trainer.data.in_sight import BLANKS, InSight, texts_in_sight
from trainer.data.progress import Meter, ProgressCallback

MOST_SHARED = 0.03
"""Of the distinctive lines of a document that is held back."""
LEAST_LINE_BYTES = 20
"""Of a distinctive line, without its blanks."""
AHEAD = 4
"""A search looks at this many times the bytes that are to be held back, as some of it will turn out to be exposed."""
MOST_SEARCHED_BYTES = 64 << 20
"""Of text whose every distinctive line is looked for; of more text, a sample of the lines that is as large."""
RULE = {"most_shared": MOST_SHARED, "least_line_bytes": LEAST_LINE_BYTES, "format": 1}


@dataclass(frozen=True, slots=True, kw_only=True)
class Exposure:
    """One document as it was found: its fingerprint, how much of it stands elsewhere, and where most of that does."""

    mark: str
    document: str
    lines: int
    found: int
    where: str


def spare_exposed(
    corpus: FileCorpus,
    in_sight: InSight,
    pins: Iterable[Path],
    *,
    stdlib: bool,
    progress: ProgressCallback | None = None,
) -> tuple[FileCorpus, tuple[Exposure, ...]]:
    """The corpus with its exposed documents in the training split, and what was found of them.

    Args:
        corpus: as it was scanned.
        in_sight: what a trial may read; where that is nothing, only what is pinned counts.
        pins: folders that keep what was found: the first that knows this text is believed, those before it are told.
        stdlib: whether the corpus is the running Python's standard library.
        progress: told how far it is.

    Raises:
        OSError: the finding cannot be written.
    """
    found, untold = None, list[Path]()
    for folder in pins:
        if (found := _pinned(folder, corpus)) is not None:
            break
        untold.append(folder)
    if found is None and not in_sight.readable:
        return corpus, ()
    if found is None:
        found = find_exposed(corpus, in_sight, stdlib=stdlib, progress=progress)
    for folder in untold:
        pin(folder, corpus, found)
    return corpus.sparing(_marks(found)), found


def find_exposed(
    corpus: FileCorpus, in_sight: InSight, *, stdlib: bool, progress: ProgressCallback | None = None
) -> tuple[Exposure, ...]:
    """Search what a trial may read for the documents that would be held back, until none of those is exposed."""
    left_out = {*corpus.files, *hidden_paths(corpus.files, stdlib=stdlib)}
    in_sight = replace(in_sight, hidden=in_sight.hidden | left_out)  # the corpus itself, and what would be hidden
    suffixes = {path.suffix.lower() for path in corpus.files}
    found: list[Exposure] = []
    searched: set[bytes] = set()
    while any(document.mark not in searched for document in corpus.sparing(_marks(found)).held_back):
        documents = _next(corpus, searched)
        searched.update(document.mark for document in documents)
        meter = Meter(progress, "looking for held-back text in what trials may read", unit="files")
        found += _exposed(documents, _Lines(corpus, documents, progress), texts_in_sight(in_sight, suffixes), meter)
    return tuple(sorted(found, key=lambda each: each.mark))


def pin(folder: Path, corpus: FileCorpus, found: Iterable[Exposure]) -> None:
    """Keep what was found, or, of a text that was made up and stands nowhere else, that nothing was.

    Raises:
        OSError: it cannot be written.
    """
    path = _pin_path(folder, corpus)
    path.parent.mkdir(parents=True, exist_ok=True)
    content = {"rule": RULE, "text_sha256": corpus.text_sha256, "exposed": [asdict(each) for each in found]}
    with tempfile.NamedTemporaryFile("w", dir=path.parent, delete=False, encoding="utf-8") as file:
        try:
            json.dump(content, file, indent=1)
            file.flush()
            os.fsync(file.fileno())
            os.replace(file.name, path)
        except BaseException:
            with suppress(OSError):
                os.unlink(file.name)
            raise


def _marks(found: Iterable[Exposure]) -> frozenset[bytes]:
    return frozenset(bytes.fromhex(each.mark) for each in found)


def _pin_path(folder: Path, corpus: FileCorpus) -> Path:
    return folder / "exposed" / f"{corpus.text_sha256[:16]}.json"


def _pinned(folder: Path, corpus: FileCorpus) -> tuple[Exposure, ...] | None:
    """What was found of this text before; None when nobody searched for it by the present rule."""
    try:
        content = json.loads(_pin_path(folder, corpus).read_bytes())
        if content["rule"] != RULE or content["text_sha256"] != corpus.text_sha256:
            return None
        return tuple(Exposure(**each) for each in content["exposed"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _next(corpus: FileCorpus, searched: Collection[bytes]) -> list[Document]:
    """The documents to search for next, in the order in which they would be held back."""
    wanted = AHEAD * sum(document.size for document in corpus.held_back)
    chosen: list[Document] = []
    for document in corpus.documents:
        if wanted <= 0:
            break
        if document.mark not in searched:
            chosen.append(document)
            wanted -= document.size
    return chosen


class _Lines:
    """The distinctive lines of some documents: which to look for, whose they are, and how many each document has."""

    def __init__(self, corpus: FileCorpus, documents: list[Document], progress: ProgressCallback | None) -> None:
        self.every = 1 + sum(document.size for document in documents) // MOST_SEARCHED_BYTES
        owner: dict[bytes, int] = {}
        common: set[bytes] = set()
        meter = Meter(progress, "looking for distinctive lines", corpus.total_bytes, "bytes")
        for index, document in enumerate(documents):
            for line in self._of(document):
                if owner.setdefault(line, index) != index:
                    common.add(line)
            meter.add(document.size)
        chosen = {document.mark for document in documents}
        for document in corpus.documents:
            if document.mark not in chosen:
                common |= owner.keys() & self._of(document)
                meter.add(document.size)
        meter.finish()
        self.owner = {line: index for line, index in owner.items() if line not in common}
        self.counts = Counter(self.owner.values())

    def _of(self, document: Document) -> set[bytes]:
        lines = document.read().encode().translate(None, BLANKS).split(b"\n")
        long = {line for line in lines if len(line) >= LEAST_LINE_BYTES}
        return long if self.every == 1 else {line for line in long if zlib.crc32(line) % self.every == 0}


def _exposed(
    documents: list[Document],
    lines: _Lines,
    texts: Iterable[tuple[str, bytes]],
    meter: Meter,
) -> list[Exposure]:
    """Those of `documents` that are exposed by the texts of these files."""
    left, places = set(lines.owner), [Counter[str]() for _ in documents]
    for path, text in texts:
        hits = left.intersection(text.split(b"\n"))
        for line in hits:
            places[lines.owner[line]][path] += 1
        left -= hits
        meter.add()
    meter.finish()
    return [
        _exposure(document, lines.counts[index], places[index])
        for index, document in enumerate(documents)
        if places[index].total() > MOST_SHARED * lines.counts[index]
    ]


def _exposure(document: Document, lines: int, places: Mapping[str, int]) -> Exposure:
    where = max(places, key=lambda place: places[place])
    name = str(document.path) + (f" from byte {document.offset}" if document.offset else "")
    return Exposure(mark=document.mark.hex(), document=name, lines=lines, found=sum(places.values()), where=where)
