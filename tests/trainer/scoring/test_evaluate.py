import math
from collections.abc import Generator

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from rails.errors import TrialError
from rails.status import Status
from trainer.scoring.evaluate import Tally, counting_threads, token_costs


@pytest.fixture(autouse=True, scope="module")
def _one_thread() -> Generator[None]:
    with counting_threads(1):
        yield


def honest_costs(logits: NDArray[np.float32], targets: NDArray[np.int32]) -> NDArray[np.float64]:
    """The same in the plainest float64."""
    x = logits.astype(np.float64)
    x -= x.max(axis=-1, keepdims=True)
    return np.log(np.exp(x).sum(axis=-1)) - x[np.arange(len(targets)), targets]


def logits_and_targets(seed: int, scale: float) -> tuple[NDArray[np.float32], NDArray[np.int32]]:
    rng = np.random.default_rng(seed)
    return (rng.normal(size=(7, 50)) * scale).astype(np.float32), rng.integers(0, 50, 7).astype(np.int32)


@settings(deadline=None)
@given(st.integers(0, 1000), st.sampled_from([0.0, 0.1, 1.0, 30.0]))
def test_costs_are_a_log_softmax(seed: int, scale: float) -> None:
    logits, targets = logits_and_targets(seed, scale)
    expected = honest_costs(logits, targets)
    np.testing.assert_allclose(token_costs(logits, targets), expected, rtol=1e-5, atol=1e-5)


@settings(deadline=None)
@given(st.integers(0, 1000), st.sampled_from([1e3, 1e6, 1e9, 1e30, -1e30]))
def test_a_constant_added_to_all_logits_buys_nothing(seed: int, constant: float) -> None:
    logits, targets = logits_and_targets(seed, 1.0)
    shifted = logits + np.float32(constant)
    expected = honest_costs(shifted, targets)  # adding has cost the model its own digits; that is its own affair
    np.testing.assert_allclose(token_costs(shifted, targets), expected, rtol=1e-5, atol=1e-5)
    assert token_costs(np.full((7, 50), constant, np.float32), targets) == pytest.approx(math.log(50))


def test_bits_per_byte() -> None:
    tally = Tally(np.asarray([0, 1, 3, 4], np.int32))
    tally.add(np.zeros((2, 3, 4), np.float32), np.asarray([[1, 2, 0], [3, 0, 0]], np.int32))
    score = tally.score(1.5, 0.1)
    assert (score.total_bytes, score.scored_tokens, score.score_s) == (8, 3, 1.5)
    assert score.total_nats == pytest.approx(3 * math.log(4))
    assert score.val_bpb == pytest.approx(3 * 2 / 8)


def test_the_order_of_batches_does_not_matter_and_certainty_costs_nothing() -> None:
    tally = Tally(np.ones(4, np.int32))
    logits = np.full((1, 2, 4), -np.inf, np.float32)
    logits[0, :, 2] = 5.0
    tally.add(logits, np.asarray([[2, 2]], np.int32))
    assert tally.score(0.0, 0.0).val_bpb == 0.0


@pytest.mark.parametrize("poison", [math.nan, math.inf])
def test_logits_that_are_no_distribution_are_disqualified(poison: float) -> None:
    logits = np.zeros((2, 3, 4), np.float32)
    logits[1, 2, 0] = poison
    with pytest.raises(TrialError, match="token 2 of row 1 would cost nan nats") as caught:
        Tally(np.ones(4, np.int32)).add(logits, np.ones((2, 3), np.int32))
    assert caught.value.status is Status.DISQUALIFIED


def test_an_impossible_target_is_disqualified_only_when_it_counts() -> None:
    never_bos = np.zeros((1, 2, 4), np.float32)
    never_bos[..., 0] = -np.inf
    tally = Tally(np.asarray([0, 1, 1, 1], np.int32))
    tally.add(never_bos, np.asarray([[1, 0]], np.int32))
    assert tally.score(0.0, 0.0).total_nats == pytest.approx(math.log(3))
    with pytest.raises(TrialError, match="would cost inf nats"):
        Tally(np.ones(4, np.int32)).add(never_bos, np.asarray([[1, 0]], np.int32))


def test_nothing_to_score_is_an_error_not_a_perfect_score() -> None:
    tally = Tally(np.zeros(4, np.int32))
    tally.add(np.zeros((1, 2, 4), np.float32), np.zeros((1, 2), np.int32))
    with pytest.raises(ValueError, match="nothing to score"):
        tally.score(0.0, 0.0)


def test_the_number_of_threads_is_given_back() -> None:
    before = torch.get_num_threads()
    with pytest.raises(KeyError), counting_threads(before + 1):
        assert torch.get_num_threads() == before + 1
        raise KeyError
    assert torch.get_num_threads() == before
