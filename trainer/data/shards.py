"""Prepared tokens on disk: what `prepare` writes, training maps into memory and scoring reads.

A directory holds, for each split, `<split>.tokens.bin` (uint16, or uint32 when the vocabulary needs it; documents one
after another, without BOS) and `<split>.offsets.bin` (int64 `[documents + 1]`), and one sealed `meta.json` naming
every file with its size and SHA-256. Numpy only: the trial process imports this module.

Shapes: N tokens, D documents, T sequence length, V vocabulary size, R rows.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Literal, cast

import numpy as np
from numpy.typing import NDArray

from rails.errors import UserError

Split = Literal["train", "val", "test"]
Tokens = NDArray[np.uint16] | NDArray[np.uint32]
Fragment = tuple[int, int]

META_NAME = "meta.json"
TOKEN_BYTES_NAME = "token_bytes.bin"
SPLITS: tuple[Split, ...] = ("train", "val", "test")


@dataclass(frozen=True, slots=True)
class Documents:
    """The tokenised documents of one split. Document `i` is `tokens[offsets[i]:offsets[i + 1]]`; none holds a BOS."""

    tokens: Tokens
    """`[N]`, memory-mapped when they come from disk."""
    offsets: NDArray[np.int64]
    """`[D + 1]`, from 0 to N, never falling."""
    bos_id: int
    """The token that begins every document, and every fragment of one, in a row."""

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __getitem__(self, index: int) -> Tokens:
        """The tokens of document `index`, counted from 0."""
        if not 0 <= index < len(self):
            raise IndexError(index)
        return self.tokens[self.offsets[index] : self.offsets[index + 1]]


@dataclass(frozen=True, slots=True)
class EvalSet:
    """What scoring asks the model, and how many bytes each answer stands for."""

    rows: NDArray[np.int32]
    """`[R, T + 1]`; inputs are `rows[:, :-1]`, targets `rows[:, 1:]`; every row begins with BOS."""
    token_bytes: NDArray[np.int32]
    """`[V]` UTF-8 bytes of each token; 0 for BOS and for ids that no text can produce."""

    @property
    def total_bytes(self) -> int:
        """The UTF-8 bytes that the targets stand for: the denominator of bits per byte."""
        return int(self.token_bytes[self.rows[:, 1:]].sum(dtype=np.int64))


def token_dtype(vocab_size: int) -> type[np.uint16] | type[np.uint32]:
    """The narrowest type on disk that holds every id of a vocabulary of this size."""
    return np.uint16 if vocab_size <= 65535 else np.uint32


def write_row(row: NDArray[np.integer], tokens: Tokens, fragments: Sequence[Fragment], bos_id: int) -> None:
    """Fill `row` in place with BOS and tokens of each `(start, length)` fragment; slots left over become BOS."""
    at = 0
    for start, length in fragments:
        row[at] = bos_id
        at += length + 1
        row[at - length : at] = tokens[start : start + length]
    row[at:] = bos_id


class SplitWriter:
    """Writes one split document by document, so that a corpus larger than memory can be prepared."""

    def __init__(self, directory: Path, split: Split, vocab_size: int) -> None:
        self._dtype = token_dtype(vocab_size)
        self._tokens: BinaryIO = (directory / f"{split}.tokens.bin").open("wb")
        self._offsets_path = directory / f"{split}.offsets.bin"
        self._ends: list[int] = [0]

    def add(self, ids: Sequence[int]) -> None:
        """Append one document. Raises OSError (disk full) like any write."""
        self._tokens.write(np.asarray(ids, dtype=self._dtype).tobytes())
        self._ends.append(self._ends[-1] + len(ids))

    def close(self) -> tuple[int, int]:
        """Finish both files and return (documents, tokens)."""
        self._tokens.close()
        self._offsets_path.write_bytes(np.asarray(self._ends, dtype=np.int64).tobytes())
        return len(self._ends) - 1, self._ends[-1]

    def __enter__(self) -> "SplitWriter":
        return self

    def __exit__(self, *_: object) -> None:
        self._tokens.close()


def _seal(values: Mapping[str, object]) -> str:
    unsealed = {name: value for name, value in values.items() if name != "seal"}
    return hashlib.sha256(json.dumps(unsealed, sort_keys=True).encode()).hexdigest()


def _file_sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_meta(directory: Path, values: Mapping[str, object]) -> None:
    """Write `meta.json`: `values`, size and SHA-256 of every other file in the directory, and a seal over all of it."""
    paths = sorted(path for path in directory.iterdir() if path.name != META_NAME)
    files = {path.name: {"size": path.stat().st_size, "sha256": _file_sha256(path)} for path in paths}
    meta: dict[str, object] = {**values, "files": files}
    meta["seal"] = _seal(meta)
    (directory / META_NAME).write_text(json.dumps(meta, sort_keys=True, indent=1) + "\n", encoding="utf-8")


def _damaged(directory: Path, what: str) -> UserError:
    return UserError(f"the prepared data is damaged: {what}", where=str(directory), fix="run again: it is made anew")


def read_meta(directory: Path, *, hashes: bool = False) -> dict[str, object]:
    """Read and check `meta.json`: its seal, and every named file's size.

    Args:
        directory: a directory that `write_meta` finished.
        hashes: also check the SHA-256 of every file.

    Raises:
        UserError: something is missing, of another size, or has another hash.
    """
    try:
        meta = cast("dict[str, object]", json.loads((directory / META_NAME).read_bytes()))
        if meta["seal"] != _seal(meta):
            raise _damaged(directory, f"{META_NAME} does not match its seal")
        for name, expected in cast("dict[str, dict[str, object]]", meta["files"]).items():
            path = directory / name
            if path.stat().st_size != expected["size"]:
                raise _damaged(directory, f"{name} has another size than recorded")
            if hashes and _file_sha256(path) != expected["sha256"]:
                raise _damaged(directory, f"{name} has another hash than recorded")
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise _damaged(directory, f"{type(error).__name__}: {error}") from error
    return meta


def meta_int(meta: Mapping[str, object], name: str) -> int:
    """The whole number `name` of a meta record. Raises UserError when it is not one."""
    value = meta.get(name)
    if not isinstance(value, int):
        raise UserError(f"{META_NAME} has no number {name!r}", fix="run again: the data is made anew")
    return value


def split_names(split: Split) -> tuple[str, str, str]:
    """The files that hold one split: the record, the tokens and the offsets."""
    return META_NAME, f"{split}.tokens.bin", f"{split}.offsets.bin"


def open_documents(directory: Path, split: Split = "train") -> Documents:
    """Map one split into memory. Sizes are checked, contents are not: `prepare` did that.

    Raises:
        UserError: the directory is not what `prepare` made.
    """
    read_meta(directory)
    try:
        with ExitStack() as stack:
            return map_documents([stack.enter_context((directory / name).open("rb")) for name in split_names(split)])
    except OSError as error:
        raise _damaged(directory, f"split {split!r}: {error}") from error


def map_documents(files: Sequence[BinaryIO]) -> Documents:
    """The documents in open files, given in the order of `split_names`; the files may be closed afterwards.

    Raises:
        UserError: they are not what `prepare` made.
    """
    meta_file, tokens_file, offsets_file = files
    try:
        meta = cast("dict[str, object]", json.load(meta_file))
        dtype = token_dtype(meta_int(meta, "vocab_size"))
        # A plain array over the map: slicing np.memmap itself costs microseconds, and packing slices per fragment.
        tokens = np.asarray(np.memmap(tokens_file, dtype=dtype, mode="r"))
        offsets = np.frombuffer(offsets_file.read(), dtype=np.int64)
    except (OSError, ValueError) as error:
        raise UserError(f"the prepared data is damaged: {error}", fix="run again: it is made anew") from error
    return Documents(cast("Tokens", tokens), offsets, meta_int(meta, "bos_id"))


def load_token_bytes(private_dir: Path) -> NDArray[np.int32]:
    """The byte table: int32 `[V]`, UTF-8 bytes of each token, 0 for BOS. Raises UserError when it is not there."""
    try:
        return np.fromfile(private_dir / TOKEN_BYTES_NAME, dtype=np.int32)
    except OSError as error:
        raise _damaged(private_dir, str(error)) from error


def sequential_rows(documents: Documents, seq_len: int) -> list[list[Fragment]]:
    """Cut the documents, in order, into rows of `seq_len + 1` slots; every fragment is preceded by BOS."""
    rows: list[list[Fragment]] = []
    room = 0
    for start, end in zip(documents.offsets[:-1].tolist(), documents.offsets[1:].tolist(), strict=True):
        at = start
        while at < end:
            if room < 2:
                rows.append([])
                room = seq_len + 1
            length = min(end - at, room - 1)
            rows[-1].append((at, length))
            at += length
            room -= length + 1
    return rows


def load_eval_set(private_dir: Path, split: Literal["val", "test"], seq_len: int, max_tokens: int) -> EvalSet:
    """The split in order as rows to score, the same for every trial.

    Every row begins with BOS; the slots after the last document are BOS, worth 0 bytes, so no byte is lost and none is
    made up.

    Args:
        private_dir: `PreparedData.private_dir`.
        split: which held-back text.
        seq_len: T.
        max_tokens: at most this many targets (whole rows, at least one row).

    Raises:
        UserError: the directory is not what `prepare` made.
    """
    documents = open_documents(private_dir, split)
    fragments = sequential_rows(documents, seq_len)[: max(1, max_tokens // seq_len)]
    rows = np.empty((len(fragments), seq_len + 1), dtype=np.int32)
    for row, parts in zip(rows, fragments, strict=True):
        write_row(row, documents.tokens, parts, documents.bos_id)
    return EvalSet(rows, load_token_bytes(private_dir))
