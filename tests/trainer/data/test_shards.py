"""Shards on disk: what was written is read, damage is noticed, and scoring rows lose no byte."""

import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rails.errors import UserError
from tests.support.examples import examples
from trainer.data.shards import (
    META_NAME,
    TOKEN_BYTES_NAME,
    SplitWriter,
    load_eval_set,
    open_documents,
    read_meta,
    token_dtype,
    write_meta,
)


def write(
    folder: Path, documents: list[list[int]], vocab_size: int = 300, split: Literal["train", "val"] = "train"
) -> None:
    with SplitWriter(folder, split, vocab_size) as writer:
        for ids in documents:
            writer.add(ids)
        writer.close()
    np.where(np.arange(vocab_size) < vocab_size - 1, 2, 0).astype(np.int32).tofile(folder / TOKEN_BYTES_NAME)
    write_meta(folder, {"vocab_size": vocab_size, "bos_id": vocab_size - 1})


def test_documents_round_trip(tmp_path: Path) -> None:
    write(tmp_path, [[1, 2, 3], [], [298] * 5])
    documents = open_documents(tmp_path)
    assert [document.tolist() for document in documents] == [[1, 2, 3], [], [298] * 5]
    assert documents.tokens.dtype == np.uint16
    assert documents.bos_id == 299
    with pytest.raises(IndexError):
        documents[3]
    with pytest.raises(ValueError, match="read-only"):
        documents.tokens[0] = 1


@pytest.mark.parametrize(("vocab_size", "dtype"), [(256, np.uint16), (65535, np.uint16), (65536, np.uint32)])
def test_the_type_holds_every_id(tmp_path: Path, vocab_size: int, dtype: type) -> None:
    assert token_dtype(vocab_size) is dtype
    write(tmp_path, [[vocab_size - 2, 0]], vocab_size)
    assert open_documents(tmp_path)[0].tolist() == [vocab_size - 2, 0]


def flip(path: Path) -> None:
    raw = bytearray(path.read_bytes())
    raw[len(raw) // 2] ^= 1
    path.write_bytes(raw)


@pytest.mark.parametrize(
    ("name", "spoil", "noticed_by_size"),
    [
        ("train.tokens.bin", flip, False),
        ("train.offsets.bin", flip, False),
        ("train.tokens.bin", lambda path: path.write_bytes(b""), True),
        ("train.offsets.bin", lambda path: path.unlink(), True),
        (META_NAME, flip, True),
        (META_NAME, lambda path: path.write_text("[]"), True),
        (META_NAME, lambda path: path.write_text(path.read_text().replace("299", "298")), True),
        (META_NAME, lambda path: path.unlink(), True),
    ],
)
def test_damage_is_noticed(tmp_path: Path, name: str, spoil: Callable[[Path], object], noticed_by_size: bool) -> None:
    write(tmp_path, [[1, 2, 3]])
    read_meta(tmp_path, hashes=True)
    spoil(tmp_path / name)
    with pytest.raises(UserError, match="damaged"):
        read_meta(tmp_path, hashes=True)
    if noticed_by_size:
        with pytest.raises(UserError, match="damaged"):
            open_documents(tmp_path)


def test_a_split_that_is_not_there(tmp_path: Path) -> None:
    write(tmp_path, [[1]])
    with pytest.raises(UserError, match="damaged"):
        open_documents(tmp_path, "val")
    with pytest.raises(UserError, match="damaged"):
        open_documents(tmp_path / "nowhere")


@settings(deadline=None, max_examples=examples(60))
@given(
    lengths=st.lists(st.integers(0, 50), min_size=1, max_size=12).filter(any),
    seq_len=st.integers(1, 20),
    most=st.integers(1, 300),
)
def test_scoring_rows_hold_the_whole_split_in_order(lengths: list[int], seq_len: int, most: int) -> None:
    numbers = iter(range(10_000))
    documents = [[next(numbers) % 299 for _ in range(length)] for length in lengths]
    flat = [token for document in documents for token in document]
    with tempfile.TemporaryDirectory() as folder:
        write(Path(folder), documents, split="val")
        everything = load_eval_set(Path(folder), "val", seq_len, 10**9)
        some = load_eval_set(Path(folder), "val", seq_len, most)
    assert everything.rows.dtype == everything.token_bytes.dtype == np.int32
    assert everything.rows.shape[1] == seq_len + 1
    assert (everything.rows[:, 0] == 299).all()
    targets = everything.rows[:, 1:].ravel()
    assert targets[targets != 299].tolist() == flat
    assert everything.total_bytes == 2 * len(flat)
    assert np.array_equal(some.rows, everything.rows[: max(1, most // seq_len)])


def test_the_trial_process_imports_nothing_heavy() -> None:
    code = (
        "import sys, trainer.data.packing, trainer.data.shards;"
        "print(sorted({'torch', 'pyarrow', 'tokenizers', 'pydantic', 'trainer.data.prepare'} & set(sys.modules)))"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"
