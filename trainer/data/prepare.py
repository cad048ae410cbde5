"""Frozen data: a corpus becomes a tokenizer, training shards, and held-back text that no trial can read.

    python -m trainer.data.prepare --corpus stdlib --vocab 2048

The result is cached under a key of the corpus' content and the settings, so preparing twice costs one reading of the
corpus. See `trainer.data.corpus` for what is a document and how the splits are pinned, and `trainer.data.exposed` for
what is never held back. (From the command line nothing is searched; what was found before is kept to.)
"""

import argparse
import errno
import hashlib
import importlib.metadata
import json
import shutil
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from itertools import takewhile
from pathlib import Path
from typing import cast

from rails.errors import NightshiftError, UserError
from trainer.data.cache import building, default_cache, entry_path, private_dir, train_dir, wrong_with
from trainer.data.corpus import HELD_BACK, Corpus, FileCorpus, scan_folder, scan_stdlib
from trainer.data.download import DISK_FULL
from trainer.data.exposed import Exposure, spare_exposed
from trainer.data.held_back import hidden_paths
from trainer.data.in_sight import NOTHING, InSight
from trainer.data.progress import Meter, PrepareProgress, ProgressCallback
from trainer.data.shards import SPLITS, TOKEN_BYTES_NAME, Split, SplitWriter, meta_int, read_meta, write_meta
from trainer.data.tokenizer import LARGEST_VOCAB, PATTERN, SMALLEST_VOCAB, Tokenizer

FORMAT = 2
"""Raised whenever the same corpus and settings would give other files."""
TOKENIZER_TEXT_BYTES = 256 << 20
"""The tokenizer learns from this much training text at most; more changes its merges no longer."""
LEAST_TRAIN_BYTES, LEAST_HELD_BYTES = 10_000, 1_000
TOKENIZER_NAME = "tokenizer.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class DataSpec:
    """What to prepare."""

    corpus: str = "stdlib"
    """`stdlib`, a folder of text, or `parquet:` and a folder or http(s) address of shards with a `text` column."""
    vocab_size: int = 2048
    """Everything counted: 256 is bytes and BOS."""
    shards: int = 0
    """Parquet only: shards in all, the pinned one included; 0 is all of a folder, an address needs a number."""
    val_shard: int | None = None
    """Parquet at an address only: the pinned shard's index, when it is not the last."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PreparedData:
    """What was prepared, and where. Sizes are of the text (`_bytes`, UTF-8) and of its tokens without BOS."""

    train_dir: Path
    """For `shards.open_documents`; holds nothing of the held-back text."""
    private_dir: Path
    """For `shards.load_eval_set`; mode 0700."""
    key: str
    """SHA-256 of the corpus' content, the settings and the format: equal keys, equal files."""
    corpus_sha256: str
    """Bits per byte of different corpora cannot be compared."""
    corpus: str
    vocab_size: int
    used_ids: int
    bos_id: int
    train_documents: int
    train_tokens: int
    train_bytes: int
    val_documents: int
    val_tokens: int
    val_bytes: int
    test_documents: int
    test_tokens: int
    test_bytes: int
    skipped: Mapping[str, int]
    """Why files or rows were left out, and how many."""
    exposed: int
    """How many documents train because they stand elsewhere for trials to read; `meta.json` names them."""
    hidden: tuple[Path, ...]
    """Files and folders of this machine that hold held-back text, or versions of it: no trial may read them."""
    cached: bool
    seconds: float


def _check(spec: DataSpec) -> None:
    if not SMALLEST_VOCAB <= spec.vocab_size <= LARGEST_VOCAB:
        raise UserError(
            f"a vocabulary of {spec.vocab_size} is not possible",
            where="vocab_size",
            fix=f"choose {SMALLEST_VOCAB} (bytes only) to {LARGEST_VOCAB}; 2048 suits a few megabytes of text",
        )
    if spec.shards < 0 or (spec.val_shard or 0) < 0:
        raise UserError("the number of shards cannot be negative", where="shards", fix="use 0 for all of a folder")


def _open(spec: DataSpec, cache: Path, progress: ProgressCallback | None) -> Corpus:
    if spec.corpus == "stdlib":
        return scan_stdlib(progress)
    kind, colon, source = spec.corpus.partition(":")
    if colon and kind == "parquet":
        from trainer.data.parquet import (
            open_parquet,  # pyarrow takes a quarter of a second that other corpora need not pay
        )

        return open_parquet(source, shards=spec.shards, val_shard=spec.val_shard, cache=cache, progress=progress)
    return scan_folder(Path(spec.corpus).expanduser(), progress)


def _key(corpus: Corpus, spec: DataSpec) -> str:
    settings = {
        "format": FORMAT,
        "corpus": corpus.sha256,
        "vocab_size": spec.vocab_size,
        "pattern": PATTERN,
        "held_back": HELD_BACK,
        "tokenizer_text": TOKENIZER_TEXT_BYTES,
        "tokenizers": importlib.metadata.version("tokenizers"),
    }
    return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()


def _learn(corpus: Corpus, vocab_size: int, progress: ProgressCallback | None) -> Tokenizer:
    meter = Meter(progress, "learning the vocabulary", min(corpus.total_bytes, TOKENIZER_TEXT_BYTES), "bytes")
    seen = 0

    def counted(text: str) -> bool:
        nonlocal seen
        size = len(text.encode())
        seen += size
        meter.add(size)
        return seen <= TOKENIZER_TEXT_BYTES

    tokenizer = Tokenizer.train(takewhile(counted, corpus.texts("train")), vocab_size)
    meter.finish()
    return tokenizer


def _write_split(corpus: Corpus, split: Split, tokenizer: Tokenizer, folder: Path, meter: Meter) -> dict[str, int]:
    """Encode one split into `folder`; its sizes by the names of `PreparedData`."""
    size = 0
    with SplitWriter(folder, split, tokenizer.vocab_size) as writer:
        for text, ids in tokenizer.encode_all(corpus.texts(split)):
            writer.add(ids)
            text_bytes = len(text.encode())
            size += text_bytes
            meter.add(text_bytes)
        documents, tokens = writer.close()
    least = LEAST_TRAIN_BYTES if split == "train" else LEAST_HELD_BYTES
    if size < least:
        exposed = len(corpus.exposed) if isinstance(corpus, FileCorpus) else 0
        name = {"train": "training", "val": "validation", "test": "test"}[split]
        raise UserError(
            f"too little text for a {name} split: {size} bytes in {documents} documents, at least {least} are needed"
            + (f"; {exposed} documents stand elsewhere for trials to read, and are not held back" if exposed else ""),
            where=corpus.label,
            fix="add text: a hundred documents or a megabyte is a beginning",
        )
    return {f"{split}_documents": documents, f"{split}_tokens": tokens, f"{split}_bytes": size}


def _require_room(corpus: Corpus, cache: Path) -> None:
    # A token is two bytes on disk and seldom less than two bytes of text.
    needed, free = corpus.total_bytes + (1 << 20), shutil.disk_usage(cache).free
    if free < needed:
        raise UserError(
            f"the disk is too full: {needed >> 20} MiB are needed and {free >> 20} MiB are free",
            where=str(cache),
            fix="free some space, or set XDG_CACHE_HOME to another disk",
        )


def _build(
    corpus: Corpus,
    exposed: tuple[Exposure, ...],
    spec: DataSpec,
    key: str,
    entry: Path,
    progress: ProgressCallback | None,
) -> None:
    with building(entry, key) as built:
        _require_room(corpus, built)
        tokenizer = _learn(corpus, spec.vocab_size, progress)
        meter = Meter(progress, "encoding", corpus.total_bytes, "bytes")
        sizes: dict[Split, dict[str, int]] = {}
        for split in SPLITS:
            folder = train_dir(built) if split == "train" else private_dir(built)
            sizes[split] = _write_split(corpus, split, tokenizer, folder, meter)
        meter.finish()
        tokenizer.save(private_dir(built) / TOKENIZER_NAME)
        tokenizer.token_bytes().tofile(private_dir(built) / TOKEN_BYTES_NAME)
        common: dict[str, object] = {
            "key": key,
            "corpus_sha256": corpus.sha256,
            "vocab_size": tokenizer.vocab_size,
            "used_ids": tokenizer.used_ids,
            "bos_id": tokenizer.bos_id,
        }
        write_meta(train_dir(built), {**common, **sizes["train"]})
        left_out = {"skipped": dict(corpus.skipped), "exposed": [asdict(each) for each in exposed]}
        write_meta(private_dir(built), {**common, **sizes["val"], **sizes["test"], **left_out})


def _load(entry: Path, spec: DataSpec, hidden: tuple[Path, ...], *, cached: bool, since: float) -> PreparedData:
    train, private = read_meta(train_dir(entry)), read_meta(private_dir(entry))
    sizes = {
        f"{split}_{what}": meta_int(train if split == "train" else private, f"{split}_{what}")
        for split in SPLITS
        for what in ("documents", "tokens", "bytes")
    }
    return PreparedData(
        train_dir=train_dir(entry),
        private_dir=private_dir(entry),
        key=str(train["key"]),
        corpus_sha256=str(train["corpus_sha256"]),
        corpus=spec.corpus,
        vocab_size=meta_int(train, "vocab_size"),
        used_ids=meta_int(train, "used_ids"),
        bos_id=meta_int(train, "bos_id"),
        skipped=cast("dict[str, int]", private["skipped"]),
        exposed=len(cast("list[object]", private["exposed"])),
        hidden=hidden,
        cached=cached,
        seconds=time.monotonic() - since,
        **sizes,
    )


def prepare(
    spec: DataSpec,
    cache: Path | None = None,
    progress: ProgressCallback | None = None,
    in_sight: InSight = NOTHING,
    pins: Path | None = None,
) -> PreparedData:
    """Prepare a corpus, or find it prepared.

    Safe at any moment: a killed run leaves nothing that a later one trusts, two runs at once do not disturb each other,
    and an entry that was damaged on disk is noticed and made anew.

    Args:
        spec: what to prepare. A relative folder is taken from the working directory.
        cache: where prepared data and downloads are kept; `default_cache()` when None.
        progress: told how far it is; downloads and large corpora take minutes.
        in_sight: what trials may read: a document that stands there is not held back. Shards are not searched for.
        pins: a folder beside the cache that keeps what was found there, and is believed first: a campaign's own, so
            that its text stays the same on another machine.

    Raises:
        UserError: the corpus is missing, unusable or too small, a server does not answer, or the disk is full.
    """
    since = time.monotonic()
    _check(spec)
    stdlib = spec.corpus == "stdlib"
    cache = (cache or default_cache()).resolve()
    try:
        cache.mkdir(parents=True, exist_ok=True)
        corpus, exposed = _open(spec, cache, progress), ()
        if isinstance(corpus, FileCorpus):
            folders = (cache,) if pins is None else (pins, cache)
            corpus, exposed = spare_exposed(corpus, in_sight, folders, stdlib=stdlib, progress=progress)
        key = _key(corpus, spec)
        entry = entry_path(cache, key)
        cached = entry.exists() and wrong_with(entry, key) is None
        if not cached:
            _build(corpus, exposed, spec, key, entry, progress)
        hidden = hidden_paths(corpus.held_back_files, stdlib=stdlib)
    except OSError as error:
        full = error.errno in DISK_FULL or error.errno == errno.EFBIG
        raise UserError(
            "the disk is full" if full else f"the prepared data cannot be written or read: {error}",
            where=str(cache),
            fix="free some space, or set XDG_CACHE_HOME to another disk" if full else "check its permissions",
        ) from error
    return _load(entry, spec, hidden, cached=cached, since=since)


def _lines(data: PreparedData) -> Iterator[str]:
    yield f"{data.corpus}: {'found prepared' if data.cached else 'prepared'} in {data.seconds:.1f} s"
    for split in SPLITS:
        documents, tokens, size = (getattr(data, f"{split}_{what}") for what in ("documents", "tokens", "bytes"))
        yield f"  {split:<5} {documents:>9,} documents {size:>14,} bytes {tokens:>13,} tokens"
    skipped = ", ".join(f"{count:,} {reason}" for reason, count in data.skipped.items()) or "nothing"
    yield f"  vocabulary {data.vocab_size:,} ({data.used_ids:,} in use), BOS is {data.bos_id}; left out: {skipped}"
    if data.exposed:
        yield f"  {data.exposed:,} documents stand elsewhere for every trial to read: they train, others are held back"
    yield f"  corpus {data.corpus_sha256}"
    yield f"  train   {data.train_dir}"
    yield f"  private {data.private_dir}"


class _Printer:
    """Progress on stderr: a line for each stage, and one every two seconds in between."""

    def __init__(self) -> None:
        self._stage, self._next = "", 0.0

    def __call__(self, report: PrepareProgress) -> None:
        now = time.monotonic()
        if report.stage != self._stage or now >= self._next:
            self._stage, self._next = report.stage, now + 2.0
            part = f": {report.done:,} of {report.total:,} {report.unit}" if report.done and report.total else ""
            print(f"{report.stage}{part}", file=sys.stderr)


def main(arguments: list[str] | None = None) -> int:
    """Prepare data from the command line and print what was made. Returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m trainer.data.prepare", description="Prepare data for training.")
    parser.add_argument("--corpus", default="stdlib", help="stdlib, a folder of text, or parquet:FOLDER-OR-ADDRESS")
    parser.add_argument("--vocab", type=int, default=2048, help="vocabulary size, everything counted (256: bytes)")
    parser.add_argument("--shards", type=int, default=0, help="Parquet shards in all; the last is held back")
    parser.add_argument("--val-shard", type=int, help="index of the shard held back, when it is not the last")
    parser.add_argument("--cache", type=Path, help="default: $XDG_CACHE_HOME/nightshift")
    given = parser.parse_args(arguments)
    spec = DataSpec(corpus=given.corpus, vocab_size=given.vocab, shards=given.shards, val_shard=given.val_shard)
    try:
        data = prepare(spec, given.cache, _Printer())
    except NightshiftError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    print("\n".join(_lines(data)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
