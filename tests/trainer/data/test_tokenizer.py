"""The tokenizer keeps bytes exactly, is learned the same way every time, and has no magic strings."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rails.errors import UserError
from tests.support.examples import examples
from trainer.data.tokenizer import Tokenizer

TEXTS = [
    f"def function_{index}(argument):\n    return argument + {index}  # naïve café 日本語 🙂\n\n" * 3
    for index in range(40)
]
TOKENIZERS = {size: Tokenizer.train(TEXTS, size) for size in (256, 320)}

texts = st.one_of(
    st.text(max_size=200),
    st.lists(
        st.sampled_from(
            ["def ", "\n    ", "\r\n", "\t", " ", "<|bos|>", "é", "日本", "🙂", "'ll", "12345", "\0", "\ufeff", "_x"]
        )
    ).map("".join),
)


@settings(deadline=None, max_examples=examples(200))
@given(text=texts, size=st.sampled_from(sorted(TOKENIZERS)))
def test_any_text_survives_and_its_bytes_add_up(text: str, size: int) -> None:
    tokenizer = TOKENIZERS[size]
    ids = tokenizer.encode(text)
    assert tokenizer.decode(ids) == text
    assert int(tokenizer.token_bytes()[ids].sum()) == len(text.encode())
    assert tokenizer.bos_id not in ids
    assert all(0 <= token < size for token in ids)


@settings(deadline=None, max_examples=examples(30))
@given(batch=st.lists(texts, max_size=8))
def test_encoding_together_is_encoding_alone(batch: list[str]) -> None:
    tokenizer = TOKENIZERS[320]
    assert list(tokenizer.encode_all(batch)) == [(text, tokenizer.encode(text)) for text in batch]


def test_256_is_bytes_and_bos() -> None:
    tokenizer = TOKENIZERS[256]
    table = tokenizer.token_bytes()
    assert table.dtype == np.int32
    assert table.tolist() == [1] * 255 + [0]
    assert tokenizer.bos_id == 255
    assert len(tokenizer.encode("naïve 🙂")) == len("naïve 🙂".encode())


def test_every_id_above_is_a_merge() -> None:
    tokenizer = TOKENIZERS[320]
    table = tokenizer.token_bytes()
    assert table.shape == (320,)
    assert table[319] == 0
    assert (table[255:319] >= 2).all()
    assert len(tokenizer.encode(TEXTS[0])) < len(TEXTS[0].encode()) / 2


def test_the_same_text_gives_the_same_tokenizer(tmp_path: Path) -> None:
    TOKENIZERS[320].save(tmp_path / "one.json")
    Tokenizer.train(iter(TEXTS), 320).save(tmp_path / "two.json")
    assert (tmp_path / "one.json").read_bytes() == (tmp_path / "two.json").read_bytes()


def test_save_and_load(tmp_path: Path) -> None:
    path = tmp_path / "tokenizer.json"
    TOKENIZERS[320].save(path)
    loaded = Tokenizer.load(path, 320)
    assert loaded.encode(TEXTS[3]) == TOKENIZERS[320].encode(TEXTS[3])
    assert loaded.decode([loaded.bos_id, *loaded.encode("abc")]) == "abc"
    path.write_text("{}")
    with pytest.raises(UserError, match="not a tokenizer"):
        Tokenizer.load(path, 320)


def test_a_short_text_leaves_ids_over() -> None:
    tokenizer = Tokenizer.train(["abab abab"], 1000)
    assert tokenizer.used_ids < 1000
    assert tokenizer.token_bytes().shape == (1000,)
    assert tokenizer.bos_id == 999


@pytest.mark.parametrize("size", [-1, 0, 255, 1 << 21])
def test_an_impossible_size_is_refused(size: int) -> None:
    with pytest.raises(UserError, match="vocabulary"):
        Tokenizer.train(TEXTS, size)


def test_a_later_fork_is_quiet() -> None:
    code = (
        "import os; from trainer.data.tokenizer import Tokenizer\n"
        "list(Tokenizer.train(['ab ab ' * 99] * 50, 300).encode_all(['ab'] * 99))\n"
        "os._exit(0) if os.fork() == 0 else os.wait()"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stderr == ""
