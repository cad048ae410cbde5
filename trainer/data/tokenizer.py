"""Byte-level BPE, learned from the training text alone.

Bytes are kept exactly: there is no normaliser, so decoding gives back every text, and the byte lengths of a text's
tokens add up to its UTF-8 length, which is what makes bits per byte comparable across vocabularies.

Ids: `vocab_size` counts everything. 255 ids are single bytes: all but 0xFF, which UTF-8 never uses; BOS takes its
place as the last id, `vocab_size - 1`. So `vocab_size=256` is bytes and BOS, and every id more is one learned merge.
BOS is no string: text that happens to read "<|bos|>" is text.

Byte-level BPE: Radford et al. 2019 (GPT-2); the pre-tokenisation pattern is GPT-4's with numbers cut to two digits, as
nanochat does for small vocabularies.
"""

import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
import tokenizers
from numpy.typing import NDArray
from tokenizers import decoders, models, pre_tokenizers, trainers

from rails.errors import UserError

SMALLEST_VOCAB, LARGEST_VOCAB = 256, 1 << 20
PATTERN = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,2}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
BATCH_CHARACTERS = 1 << 20
"""Texts encoded at once: enough for every core, little enough for memory (each token costs about 100 bytes there)."""
_BYTE_FF = "ÿ"  # the character that byte-level BPE writes for byte 0xFF


class Tokenizer:
    """Text to ids and back. Make one with `train` or `load`."""

    def __init__(self, inner: tokenizers.Tokenizer, vocab_size: int) -> None:
        self._inner = inner
        self.vocab_size = vocab_size
        self.bos_id = vocab_size - 1

    @classmethod
    def train(cls, texts: Iterable[str], vocab_size: int) -> "Tokenizer":
        """Learn merges from `texts`; the same texts in the same order always give the same tokenizer.

        A short text may run out of pairs seen twice before the vocabulary is full: the ids left over never occur.

        Raises:
            UserError: `vocab_size` is out of range.
        """
        if not SMALLEST_VOCAB <= vocab_size <= LARGEST_VOCAB:
            raise UserError(
                f"a vocabulary of {vocab_size} is not possible",
                where="vocab_size",
                fix=f"choose {SMALLEST_VOCAB} (bytes only) to {LARGEST_VOCAB}; 2048 suits a few megabytes of text",
            )
        _allow_forks()
        inner = tokenizers.Tokenizer(models.BPE())
        inner.pre_tokenizer = pre_tokenizers.Sequence(  # pyright: ignore[reportAttributeAccessIssue] # a property
            [
                pre_tokenizers.Split(tokenizers.Regex(PATTERN), "isolated"),
                pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
            ]
        )
        inner.decoder = decoders.ByteLevel()  # pyright: ignore[reportAttributeAccessIssue] # a property
        trainer = trainers.BpeTrainer(
            vocab_size=vocab_size - 1,
            min_frequency=2,
            initial_alphabet=sorted(set(pre_tokenizers.ByteLevel.alphabet()) - {_BYTE_FF}),
            show_progress=False,
        )
        inner.train_from_iterator(texts, trainer)
        return cls(inner, vocab_size)

    @classmethod
    def load(cls, path: Path, vocab_size: int) -> "Tokenizer":
        """Read what `save` wrote. Raises UserError when it is not a tokenizer."""
        _allow_forks()
        try:
            return cls(tokenizers.Tokenizer.from_str(path.read_text(encoding="utf-8")), vocab_size)
        except Exception as error:  # the library raises nothing narrower
            raise UserError(f"not a tokenizer: {error}", where=str(path), fix="run prepare again") from error

    def save(self, path: Path) -> None:
        """Write the tokenizer as the library's JSON."""
        path.write_text(self._inner.to_str(), encoding="utf-8")

    @property
    def used_ids(self) -> int:
        """How many ids can occur, BOS included; less than `vocab_size` only when the training text was short."""
        return self._inner.get_vocab_size() + 1

    def encode(self, text: str) -> list[int]:
        """The ids of `text`, without BOS."""
        return self._inner.encode(text).ids

    def encode_all(self, texts: Iterable[str]) -> Iterator[tuple[str, list[int]]]:
        """Each text with its ids, in order; encoded in batches, on all cores."""
        for batch in _batched(texts):
            for text, encoding in zip(batch, self._inner.encode_batch_fast(batch), strict=True):
                yield text, encoding.ids

    def decode(self, ids: Sequence[int]) -> str:
        """The text of `ids`; BOS is left out, bytes that are no UTF-8 become U+FFFD."""
        return self._inner.decode(list(ids), skip_special_tokens=False)

    def token_bytes(self) -> NDArray[np.int32]:
        """The UTF-8 bytes that each id stands for, int32 `[vocab_size]`; 0 for BOS and for ids that never occur."""
        table = np.zeros(self.vocab_size, dtype=np.int32)
        for token, index in self._inner.get_vocab().items():
            table[index] = len(token)  # byte-level: one character a byte
        return table


def _allow_forks() -> None:
    """Keep the library, up to 0.22, from writing a warning to stderr whenever this process forks a child later on.

    It fears a deadlock in a child that goes on to tokenise; ours start another program at once.
    """
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "true")


def _batched(texts: Iterable[str]) -> Iterator[list[str]]:
    batch: list[str] = []
    characters = 0
    for text in texts:
        batch.append(text)
        characters += len(text)
        if characters >= BATCH_CHARACTERS:
            yield batch
            batch, characters = [], 0
    if batch:
        yield batch
