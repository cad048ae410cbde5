"""Parquet shards with a `text` column, in a folder or downloaded, as a corpus.

One shard, the last by default, is pinned: half of its documents are the validation split, half the test split, and no
document of it, nor a copy that differs in white space alone, is trained on.
"""

import hashlib
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from rails.errors import UserError
from trainer.data.corpus import fingerprint, share
from trainer.data.download import Remote, download_all
from trainer.data.progress import Meter, ProgressCallback
from trainer.data.shards import Split

COLUMN = "text"
SHARD_NAME = "shard_{index:05d}.parquet"
READ_ROWS = 1024
_INDEX = re.compile(r"\{index(?::0?(\d+)d)?\}")


def wrong_with(path: Path) -> str | None:
    """What is wrong with a Parquet file as far as its size and footer tell, or None."""
    try:
        pq.read_metadata(path)
    except (OSError, pa.ArrowException) as error:
        return f"not a whole Parquet file: {error}"
    return None


def _check_column(path: Path) -> None:
    wrong = wrong_with(path)
    if wrong is not None:
        raise UserError(wrong, where=str(path), fix="delete the file and run again, or write it anew")
    schema = pq.read_schema(path)
    kinds = {field.name: field.type for field in schema}
    if COLUMN not in kinds or not (pa.types.is_string(kinds[COLUMN]) or pa.types.is_large_string(kinds[COLUMN])):
        found = ", ".join(f"{name} ({kind})" for name, kind in kinds.items())
        raise UserError(
            f"no text column: the shard needs a column {COLUMN!r} of strings and has {found}",
            where=str(path),
            fix="name shards with such a column, or rename it",
        )


def _text_bytes(path: Path) -> int:
    """About how much text a shard holds: exact but for strings that are stored once and used often."""
    metadata = pq.read_metadata(path)
    groups = [metadata.row_group(index) for index in range(metadata.num_row_groups)]
    columns = [group.column(index) for group in groups for index in range(group.num_columns)]
    return sum(column.total_uncompressed_size for column in columns if column.path_in_schema == COLUMN)


def _read_raw(path: Path) -> Iterator[bytes]:
    try:
        with pq.ParquetFile(path) as file:
            for batch in file.iter_batches(batch_size=READ_ROWS, columns=[COLUMN]):
                column = batch.column(0)
                # As bytes: one string that is no UTF-8 must not spoil its whole batch.
                kind = pa.large_binary() if pa.types.is_large_string(column.type) else pa.binary()
                for raw in column.cast(kind).to_pylist():
                    yield raw or b""
    except (OSError, pa.ArrowException) as error:
        raise UserError(f"the shard is damaged: {error}", where=str(path), fix="delete it and run again") from error


def _read_texts(path: Path, skipped: Counter[str]) -> Iterator[str]:
    for raw in _read_raw(path):
        try:
            text = raw.decode()
        except UnicodeDecodeError:
            skipped["not_utf8"] += 1
            continue
        if text and not text.isspace():
            yield text
        else:
            skipped["empty"] += 1


class ParquetCorpus:
    """Shards on this machine: `train` to learn from, `pinned` held back."""

    def __init__(
        self, label: str, train: Sequence[Path], pinned: Path, progress: ProgressCallback | None = None
    ) -> None:
        self.label = label
        self.held_back_files = (pinned,)
        self._train = train
        self.total_bytes = 0
        content = hashlib.sha256()
        shards = [*train, pinned]
        meter = Meter(progress, "checking shards", len(shards), "shards")
        for path in shards:
            _check_column(path)
            with path.open("rb") as file:
                content.update(hashlib.file_digest(file, "sha256").digest())
            self.total_bytes += _text_bytes(path)
            meter.add()
        self.sha256 = content.hexdigest()
        self._skipped_held: Counter[str] = Counter()
        self._skipped_train: Counter[str] = Counter()
        self._held: dict[bytes, str] = {}
        for text in _read_texts(pinned, self._skipped_held):
            if self._held.setdefault(fingerprint(text), text) is not text:
                self._skipped_held["duplicate"] += 1
        meter.finish()

    @property
    def skipped(self) -> dict[str, int]:
        """Why rows were left out, and how many; those of the training shards once they have been read to the end."""
        return dict(sorted((self._skipped_held + self._skipped_train).items()))

    def texts(self, split: Split) -> Iterator[str]:
        """The documents of one split, in the order of the shards."""
        if split == "train":
            yield from self._train_texts()
            return
        for mark, text in self._held.items():
            if (share(mark) < 0.5) == (split == "val"):
                yield text

    def _train_texts(self) -> Iterator[str]:
        skipped: Counter[str] = Counter()
        seen = set(self._held)
        for path in self._train:
            for text in _read_texts(path, skipped):
                mark = fingerprint(text)
                if mark in seen:
                    skipped["duplicate"] += 1
                else:
                    seen.add(mark)
                    yield text
        self._skipped_train = skipped


def _folder_shards(folder: Path, shards: int) -> list[Path]:
    """The Parquet files of a folder in the order of their names; the last is always among those used."""
    paths = sorted(path for path in folder.glob("*.parquet") if path.is_file())
    if shards and shards > len(paths):
        raise UserError(f"{shards} shards were asked for and there are {len(paths)}", where=str(folder), fix="use 0")
    return [*paths[: shards - 1], paths[-1]] if shards else paths


def _shard_url(address: str, index: int) -> str:
    """The address of shard `index`. Replaced by hand: str.format would let an address read attributes."""
    address = address if _INDEX.search(address) else f"{address.rstrip('/')}/{SHARD_NAME}"
    return _INDEX.sub(lambda match: f"{index:0{match[1] or 0}d}", address)


def _fetch(address: str, indices: Sequence[int], cache: Path, progress: ProgressCallback | None) -> list[Path]:
    folder = cache / "shards" / hashlib.sha256(address.encode()).hexdigest()[:16]
    folder.mkdir(parents=True, exist_ok=True)
    remotes = [Remote(_shard_url(address, index), folder / SHARD_NAME.format(index=index)) for index in indices]
    download_all(remotes, wrong_with, progress)
    return [remote.path for remote in remotes]


def open_parquet(
    source: str,
    *,
    shards: int,
    val_shard: int | None,
    cache: Path,
    progress: ProgressCallback | None = None,
) -> ParquetCorpus:
    """The shards of a folder or an address as a corpus.

    Args:
        source: a folder, or an http(s) address: of the shards' folder, or with the shard's name in it as a pattern
            such as `shard_{index:05d}.parquet`. On the Hugging Face hub it has `/resolve/REVISION/` in it: a commit
            stays what it is, a branch does not.
        shards: how many shards in all, the pinned one included; 0 means all of a folder.
        val_shard: the index of the pinned shard at an address when it is not the last, `shards - 1`.
        cache: downloaded shards go under it.
        progress: told of downloads and checks.

    Raises:
        UserError: too few shards, an unreachable server, a file that is no Parquet or has no text column.
        OSError: the disk is full, or a file cannot be read.
    """
    if source.startswith(("http://", "https://")):
        pinned = shards - 1 if val_shard is None else val_shard
        if shards < 2:
            raise UserError("an address needs a number of shards, at least 2", where="shards", fix="set shards = 2")
        train = [index for index in range(shards) if index != pinned][: shards - 1]
        paths = _fetch(source, [*train, pinned], cache, progress)
    else:
        folder = Path(source).expanduser()
        if not folder.is_dir():
            raise UserError("there is no such folder of shards", where=str(folder), fix="correct the corpus path")
        paths = _folder_shards(folder, shards)
    if len(paths) < 2:
        raise UserError(
            f"found {len(paths)} Parquet shards; one is held back, so at least 2 are needed",
            where=source,
            fix="add shards, or split the file",
        )
    return ParquetCorpus(f"parquet:{source}", paths[:-1], paths[-1], progress)
