"""Packing: every token a target once an epoch, no padding, BOS wherever a fragment begins."""

from itertools import islice
from unittest.mock import patch

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from tests.support.examples import examples
from trainer.data.packing import pack
from trainer.data.shards import Documents

BOS = 0


def numbered(lengths: list[int]) -> Documents:
    """Documents whose tokens are 1, 2, 3 …, so that a token tells where it comes from."""
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    return Documents(np.arange(1, offsets[-1] + 1, dtype=np.uint32), offsets, BOS)


def whole_rows(documents: Documents, rows: int, seq_len: int, seed: int, tokens: int) -> NDArray[np.int64]:
    """Rows of T + 1 from enough batches to hold `tokens` targets that are no BOS."""
    found: list[NDArray[np.int64]] = []
    count = 0
    for inputs, targets in pack(documents, rows, seq_len, seed):
        assert inputs.shape == targets.shape == (rows, seq_len)
        assert inputs.dtype == targets.dtype == np.int64
        assert np.array_equal(inputs[:, 1:], targets[:, :-1])
        found.append(np.concatenate([inputs[:, :1], targets], axis=1))
        count += int((targets != BOS).sum())
        if count >= tokens:
            break
    return np.concatenate(found)


def fragments(row: list[int]) -> list[list[int]]:
    parts: list[list[int]] = []
    for token in row:
        if token == BOS:
            parts.append([])
        else:
            parts[-1].append(token)
    return parts


lengths_strategy = st.lists(st.integers(0, 60), min_size=1, max_size=25).filter(any)


@settings(deadline=None, max_examples=examples(150))
@given(
    lengths=lengths_strategy,
    rows=st.integers(1, 4),
    seq_len=st.integers(1, 40),
    seed=st.integers(0, 2**40),
    window=st.sampled_from([1, 3, 4096]),
)
def test_every_token_is_a_target_exactly_once_an_epoch(
    lengths: list[int], rows: int, seq_len: int, seed: int, window: int
) -> None:
    documents = numbered(lengths)
    total = len(documents.tokens)
    with patch("trainer.data.packing.WINDOW", window):
        packed = whole_rows(documents, rows, seq_len, seed, 3 * total)
    document_of = np.searchsorted(documents.offsets, np.arange(total), side="right")
    for row in packed.tolist():
        assert row[0] == BOS
        parts = fragments(row)
        assert all(parts[:-1]), "an empty fragment is only allowed where the row ends"
        for part in filter(None, parts):
            assert part == list(range(part[0], part[0] + len(part)))
            assert document_of[part[0] - 1] == document_of[part[-1] - 1], "a document's end without BOS"
    targets = packed[:, 1:].ravel()
    stream = targets[targets != BOS]
    for epoch in range(3):
        assert np.array_equal(np.sort(stream[epoch * total : (epoch + 1) * total]), documents.tokens)


@settings(deadline=None, max_examples=examples(30))
@given(lengths=lengths_strategy, seed=st.integers(0, 2**32))
def test_the_same_seed_gives_the_same_batches(lengths: list[int], seed: int) -> None:
    documents = numbered(lengths)
    for one, other in islice(zip(pack(documents, 2, 16, seed), pack(documents, 2, 16, seed), strict=True), 20):
        assert np.array_equal(one[0], other[0])
        assert np.array_equal(one[1], other[1])


def test_seeds_and_epochs_differ() -> None:
    documents = numbered([100] * 40)
    total = len(documents.tokens)
    one = whole_rows(documents, 4, 32, 1, 2 * total)
    other = whole_rows(documents, 4, 32, 2, total)
    assert not np.array_equal(one[: len(other)], other)
    stream = one[:, 1:].ravel()
    stream = stream[stream != BOS]
    assert not np.array_equal(stream[:total], stream[total : 2 * total])


def test_a_batch_is_not_one_file() -> None:
    documents = numbered([2000] * 50)
    inputs, _ = next(pack(documents, 8, 64, 0))
    assert len({(row[1] - 1) // 2000 for row in inputs.tolist()}) >= 5


def test_pieces_that_fit_together_are_not_split() -> None:
    documents = numbered([20, 11] * 50)  # BOS + 20 + BOS + 11 fills a row of 33
    for row in whole_rows(documents, 4, 32, 3, len(documents.tokens)).tolist()[:50]:
        assert sorted(len(part) for part in fragments(row)) == [11, 20]


def test_a_document_shorter_than_a_row_is_packed_over_epochs() -> None:
    packed = whole_rows(numbered([3]), 2, 10, 0, 30)
    assert packed[0].tolist() == [0, 1, 2, 3, 0, 1, 2, 3, 0, 1, 2]


def test_batches_are_fresh_and_contiguous() -> None:
    batches = pack(numbered([50] * 10), 2, 8, 0)
    inputs, targets = next(batches)
    kept = inputs.copy()
    next(batches)
    assert np.array_equal(inputs, kept)
    assert inputs.flags.c_contiguous and targets.flags.c_contiguous


@pytest.mark.parametrize(("rows", "seq_len", "seed"), [(0, 8, 0), (1, 0, 0), (1, 8, -1)])
def test_numbers_out_of_range_are_refused_at_once(rows: int, seq_len: int, seed: int) -> None:
    with pytest.raises(ValueError, match="at least"):
        pack(numbered([5]), rows, seq_len, seed)


def test_nothing_to_pack_is_refused_at_once() -> None:
    with pytest.raises(ValueError, match="no token"):
        pack(numbered([0, 0]), 1, 8, 0)


def test_text_comes_at_the_same_time_whatever_the_length_of_a_row() -> None:
    documents = numbered([700 + number for number in range(200)])

    def seen_early(seq_len: int, seed: int) -> set[int]:
        packed = whole_rows(documents, 1, seq_len, seed, len(documents.tokens) // 10)
        return set(packed[packed != BOS].tolist())

    first = seen_early(32, 1)
    assert len(first & seen_early(64, 1)) > 0.4 * len(first)
    assert len(first & seen_early(64, 2)) < 0.2 * len(first)
