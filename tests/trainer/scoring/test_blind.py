"""Blind scoring: what nobody was shown, nobody can have passed on; honest gains pass, leaks of any channel do not."""

from typing import ClassVar

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.answering_models import BATCH, BOS, LENGTH, VOCAB, Honest, Tokens, made_up_text, probe, score
from trainer.data.shards import EvalSet
from trainer.scoring.blind import (
    BLIND_ROWS,
    CUTS_A_ROW,
    LEAST_ROWS,
    Costs,
    HeldBack,
    mean_costs,
    reserve,
)
from trainer.scoring.blindness import compare_blind
from trainer.scoring.report import ProbeError

LONG = 200


class Telling(Honest):
    """What the first process is asked, every later one knows: by a channel that no probe knows of."""

    told: ClassVar[dict[bytes, int]] = {}

    def answer(self, tokens: Tokens) -> np.ndarray:
        logits = super().answer(tokens)
        scored = -(-(LONG - LONG // 4) // BATCH)
        for row, row_TV in zip(tokens, logits, strict=True):
            for t, following in enumerate(row[1:].tolist()):
                prefix = row[: t + 1].tobytes()
                if len(self.asked) <= scored:
                    self.told.setdefault(prefix, following)
                if (known := self.told.get(prefix)) is not None:
                    row_TV[t, known] += 20.0
        return logits


@pytest.fixture(autouse=True)
def nothing_told() -> None:
    Telling.told.clear()


@settings(deadline=None)
@given(st.integers(1, 300), st.integers(3, 40), st.integers(0, 10_000))
def test_every_row_is_shown_or_blind_and_the_places_are_in_order(rows: int, length: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    whole = EvalSet(rng.integers(0, 4, (rows, length + 1)).astype(np.int32), np.asarray([0, 1, 2, 0], np.int32))
    text = reserve(whole, b"a secret")
    both = np.concatenate([text.shown.rows, text.blind.rows])
    assert sorted(map(tuple, both.tolist())) == sorted(map(tuple, whole.rows.tolist()))
    assert len(text.blind.rows) in {0, *range(LEAST_ROWS, BLIND_ROWS + 1)}
    assert 4 * len(text.blind.rows) <= rows
    order = list(zip(text.cuts.rows.tolist(), text.cuts.positions.tolist(), strict=True))
    assert order == sorted(set(order))
    assert all(whole.token_bytes[text.blind.rows[row, t + 1]] > 0 for row, t in order)
    last = {row: t for row, t in order}
    assert [(row, t) == (row, last[row]) for row, t in order] == text.unseen.tolist()
    counts = np.bincount(text.cuts.rows) if order else np.zeros(0)
    assert (counts <= CUTS_A_ROW).all()


def test_the_same_secret_sets_the_same_rows_apart_and_another_one_others() -> None:
    one, same, other = (reserve(made_up_text(LONG), secret) for secret in (b"a", b"a", b"b"))
    assert np.array_equal(one.blind.rows, same.blind.rows)
    assert np.array_equal(one.cuts.positions, same.cuts.positions)
    assert not np.array_equal(one.blind.rows, other.blind.rows)


def test_no_blind_row_is_ever_shown_beyond_its_cut() -> None:
    asked: list[Honest] = []

    def make() -> Honest:
        asked.append(Honest())
        return asked[-1]

    whole = made_up_text(LONG)
    probe(make, eval_set=whole, whole_blind=True)
    text = reserve(whole, b"secret")
    last = dict(zip(text.cuts.rows.tolist(), text.cuts.positions.tolist(), strict=True))
    prefixes = {row[:6].tobytes(): index for index, row in enumerate(text.blind.rows)}
    seen = dict[int, int]()
    for row in (row for model in asked for batch in model.asked for row in batch):
        if (index := prefixes.get(row[:6].tobytes())) is not None:
            real = row == text.blind.rows[index, :-1]
            shown = LENGTH if real.all() else int(np.argmin(real))
            assert seen.get(index, 0) < shown <= last[index] + 1, "from left to right, and no further than the last"
            seen[index] = shown
    assert len(seen) > BLIND_ROWS // 2


def test_answers_that_a_hidden_channel_gives_are_found_though_every_probe_passes() -> None:
    with pytest.raises(ProbeError, match="it knows text that it was not to know: its answers were better by") as caught:
        probe(Telling, eval_set=made_up_text(LONG))
    report = caught.value.report
    assert report.cuts_over == report.order_over == report.replay_over == 0
    assert report.blindness.blind.too_large and report.blindness.unseen.too_large


def test_what_an_earlier_trial_was_shown_helps_nowhere_after_the_last_cut() -> None:
    """It knows all shown rows, and of the blind ones all that was ever asked about: the unseen places show it."""
    whole = made_up_text(LONG)
    text = reserve(whole, b"secret")
    costs = costs_of(text, lambda rows, t: np.full(t.shape, 0.01))
    costs.blind[text.unseen] = 3.0
    found = compare_blind(text, costs, [], VOCAB)
    assert found.unseen.too_large
    assert not compare_blind(text, costs_of(text, lambda rows, t: 3.0 + 0.0 * t), [], VOCAB).unseen.too_large


def costs_of(text: HeldBack, nats: object) -> Costs:
    """Made-up costs, as a function of rows and positions, with a little noise."""
    rng = np.random.default_rng(1)
    shape = len(text.sample), text.shown.rows.shape[1] - 1
    shown = nats(np.arange(shape[0])[:, None], np.arange(shape[1])[None, :] + np.zeros(shape))  # type: ignore[operator]
    blind = nats(text.cuts.rows, text.cuts.positions.astype(float))  # type: ignore[operator]
    return Costs(
        (shown + rng.exponential(0.5, shape)).astype(np.float32),
        (blind + rng.exponential(0.5, len(text.cuts))).astype(np.float32),
    )


def test_wild_answers_on_blind_places_hide_nothing() -> None:
    """A few absurd costs blow the blind spread up; they are clipped, and the spread of the shown places stands."""
    text = reserve(made_up_text(400), b"secret")
    leaking = costs_of(text, lambda rows, t: np.where(np.random.default_rng(3).random(t.shape) < 0.3, 0.0, 3.0))
    for share in (0.0, 0.02, 0.1, 0.3):
        blind = np.full(len(text.cuts), 3.0, np.float32) + np.random.default_rng(2).exponential(0.5, len(text.cuts))
        wild = np.random.default_rng(4).random(len(blind)) < share
        found = compare_blind(text, Costs(leaking.shown, np.where(wild, 1e6, blind).astype(np.float32)), [], VOCAB)
        assert found.blind.too_large, share


def test_an_honest_gain_passes_whatever_it_is() -> None:
    whole = made_up_text(LONG)
    reference = score(Honest(seed=3), whole)
    for seed in range(20):
        report = probe(
            lambda seed=seed: Honest(seed=seed), eval_set=whole, whole_blind=True, references=(reference.costs,)
        )
        assert not report.blindness.blind.too_large


def test_short_texts_have_no_blind_rows_and_are_scored_whole() -> None:
    report = probe(Honest, eval_set=made_up_text(4 * LEAST_ROWS - 1))
    assert report.blindness.blind.places == 0
    assert report.to_json()["blindness"]["blind"]["errors"] == 0.0


def test_the_mean_of_costs_is_over_the_measurements_that_were_asked_most() -> None:
    one = Costs(np.asarray([[1.0, np.nan]], np.float32), np.asarray([4.0, 2.0], np.float32))
    other = Costs(np.asarray([[3.0, np.nan]], np.float32), np.asarray([2.0, 4.0], np.float32))
    quick = Costs(np.asarray([[9.0, np.nan]], np.float32), np.asarray([np.nan, 9.0], np.float32))
    found = mean_costs([quick, one, quick, other])
    assert found is not None
    np.testing.assert_array_equal(found.shown, [[2.0, np.nan]])
    np.testing.assert_array_equal(found.blind, [3.0, 3.0])
    assert mean_costs([]) is None


def test_a_lucky_seed_of_the_incumbent_accuses_nobody() -> None:
    """Of the incumbent one seed was asked about all blind places; that it trained better than the others is no gap."""
    text = reserve(made_up_text(400), b"secret")

    def trained(cost: float, *, whole: bool) -> Costs:
        noise = np.random.default_rng(int(100 * cost))
        found = costs_of(text, lambda rows, t: cost + 0.1 * noise.standard_normal(t.shape))
        found.blind[~text.chosen(whole)] = np.nan
        return found

    incumbent = mean_costs([trained(3.0, whole=True), *(trained(cost, whole=False) for cost in (3.2, 3.25, 3.3))])
    assert incumbent is not None
    candidate = trained(3.1, whole=True)
    assert not compare_blind(text, candidate, [incumbent], VOCAB).blind.too_large


def test_costs_of_another_cutting_are_not_compared_with() -> None:
    text = reserve(made_up_text(LONG), b"secret")
    costs = costs_of(text, lambda rows, t: 3.0 + 0.0 * t)
    other = Costs(costs.shown[:, 1:], costs.blind)
    assert not compare_blind(text, costs, [other], VOCAB).paired
    assert compare_blind(text, costs, [costs], VOCAB).paired
    assert BOS < VOCAB


def test_an_incumbent_that_answers_badly_where_it_is_blind_gives_nobody_room() -> None:
    text = reserve(made_up_text(400), b"secret")
    baseline = costs_of(text, lambda rows, t: 1.5 + 0.0 * t)
    pretending = Costs(baseline.shown, baseline.blind + np.float32(2.0))
    leaking = costs_of(text, lambda rows, t: np.where(np.random.default_rng(3).random(t.shape) < 0.5, 0.0, 1.5))
    leaking.blind[:] = baseline.blind
    assert not compare_blind(text, leaking, [pretending], VOCAB).blind.too_large
    assert compare_blind(text, leaking, [pretending, baseline], VOCAB).blind.too_large
