"""The probes against models in memory: honest ones pass whatever the device rounds, and every cheat is told apart."""

import math
from collections import Counter
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rails.errors import TrialError
from rails.status import Status
from tests.support.answering_models import (
    BATCH,
    BOS,
    LENGTH,
    VOCAB,
    BatchStatistics,
    Honest,
    Learning,
    Memorising,
    Noisy,
    Peeking,
    PeekingAtHardTokens,
    Rounding,
    made_up_text,
    probe,
    score,
    whole,
)
from tests.support.variants import first
from trainer.data.shards import EvalSet
from trainer.scoring.blind import reserve
from trainer.scoring.cuts import draw_cuts, foreign_suffixes, rounds, secret_rng
from trainer.scoring.effects import compare
from trainer.scoring.probes import Depth, Probing, Sitting
from trainer.scoring.report import CAP_NATS, FLOOR_NATS, ProbeError, calibrated_tolerance
from trainer.scoring.witness import DEEP_CUTS, Witness


def failure(make: Callable[[], Honest], cuts: int = 128, **options: object) -> ProbeError:
    with pytest.raises(ProbeError) as caught:
        probe(make, cuts=cuts, **options)  # type: ignore[arg-type]
    assert caught.value.status is Status.DISQUALIFIED
    return caught.value


# Cuts


@given(st.integers(1, 50), st.integers(3, 30), st.integers(0, 2000), st.integers(0, 10_000))
def test_cuts_are_different_places_before_a_counted_token(rows: int, length: int, count: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    table = rng.integers(0, 4, (rows, length + 1)).astype(np.int32)
    eval_set = EvalSet(table, np.asarray([0, 1, 2, 0], np.int32))
    cuts = draw_cuts(eval_set, count, rng)
    places = list(zip(cuts.rows.tolist(), cuts.positions.tolist(), strict=True))
    assert len(set(places)) == len(places)
    assert all(0 <= t <= length - 2 and table[row, t + 1] in {1, 2} for row, t in places)
    available = int(np.isin(table[:, 1:length], [1, 2]).sum())
    assert len(places) == min(count, available)


def test_cuts_are_spread_over_rows_and_positions() -> None:
    eval_set = made_up_text(200)
    cuts = draw_cuts(eval_set, 2000, secret_rng())
    assert len(set(cuts.rows.tolist())) > 190
    assert set(cuts.positions.tolist()) == set(range(LENGTH - 1))
    assert list(cuts.rows[:50]) != sorted(cuts.rows[:50])


def test_nobody_can_guess_the_cuts() -> None:
    eval_set = made_up_text()
    one, other = (draw_cuts(eval_set, 100, secret_rng()) for _ in range(2))
    assert set(zip(one.rows, one.positions, strict=True)) != set(zip(other.rows, other.positions, strict=True))


@pytest.mark.parametrize("rows", [1, 2, 40])
def test_a_foreign_suffix_keeps_the_past_and_changes_the_next_token(rows: int) -> None:
    eval_set = made_up_text(rows)
    cuts = draw_cuts(eval_set, 500, secret_rng())
    for row, t, asked in zip(cuts.rows, cuts.positions, foreign_suffixes(eval_set, cuts, secret_rng()), strict=True):
        real = eval_set.rows[row, :-1]
        assert np.array_equal(asked[: t + 1], real[: t + 1])
        assert asked[t + 1] != real[t + 1]
        assert 0 <= asked.min() <= asked.max() < VOCAB


def test_text_of_one_token_is_refused_instead_of_tried_for_ever() -> None:
    eval_set = EvalSet(np.zeros((3, 9), np.int32), np.ones(2, np.int32))
    with pytest.raises(ValueError, match="text of one token"):
        foreign_suffixes(eval_set, draw_cuts(eval_set, 4, secret_rng()), secret_rng())


def test_the_replica_is_shown_nothing_that_gives_away_a_later_cut() -> None:
    """Each row from left to right and once a batch, and no piece of real text after a cut."""
    asked: list[Honest] = []

    def replica() -> Honest:
        asked.append(Honest())
        return asked[0]

    eval_set = made_up_text(20)
    probe(Honest, cuts=DEEP_CUTS, eval_set=eval_set, make_replica=replica)
    prefixes = {eval_set.rows[row, :6].tobytes(): row for row in range(20)}
    seen = dict[int, int]()
    foreign_batches = [batch for batch in asked[0].asked if not _all_real(batch, eval_set)]
    for batch in foreign_batches:
        rows = [prefixes[row[:6].tobytes()] for row in batch if row[:6].tobytes() in prefixes]
        assert len(rows) == len(set(rows))
        for row in batch:
            if (index := prefixes.get(row[:6].tobytes())) is not None:
                real = int(np.argmin(row == eval_set.rows[index, :-1]))
                assert real > seen.get(index, 0)
                seen[index] = real
    assert len(seen) == 20
    assert not any(_all_real(batch, eval_set) for batch in asked[0].asked[: len(foreign_batches)])


def _all_real(batch: np.ndarray, eval_set: EvalSet) -> bool:
    return all((row == eval_set.rows[:, :-1]).all(axis=1).any() for row in batch)


def test_rounds_take_each_row_from_left_to_right() -> None:
    cuts = draw_cuts(made_up_text(), 300, secret_rng())
    found = rounds(cuts, secret_rng())
    assert sorted(np.concatenate(found).tolist()) == list(range(len(cuts)))
    last = Counter[int]()
    for chosen in found:
        assert len(set(cuts.rows[chosen].tolist())) == len(chosen)
        for row, t in zip(cuts.rows[chosen].tolist(), cuts.positions[chosen].tolist(), strict=True):
            assert t + 1 > last[row]
            last[row] = t + 1
    assert rounds(cuts.take(slice(0)), secret_rng()) == []


# Honest models


@pytest.mark.parametrize("make", [Honest, Rounding])
@pytest.mark.parametrize("cuts", first(1, [128, DEEP_CUTS], rest=pytest.mark.system))
def test_honest_models_pass_twenty_times_out_of_twenty(make: Callable[[], Honest], cuts: int) -> None:
    for _ in range(20):
        report = probe(make, cuts=cuts)
        assert report.cuts == min(cuts, report.cuts_drawn)
        assert (report.cuts_over, report.order_over, report.replay_over) == (0, 0, 0)
        assert abs(report.lean_bpb) < 1e-3


def test_an_honest_model_shows_no_effect_at_all_where_nothing_rounds() -> None:
    report = probe(Honest)
    assert (report.suffix_nats, report.order_nats, report.replay_nats, report.lean_nats) == (0.0, 0.0, 0.0, 0.0)
    shown = reserve(made_up_text(), b"secret").shown
    assert report.cuts_drawn == int((shown.rows[:, 1:LENGTH] != BOS).sum())


def test_tokens_held_impossible_are_no_effect() -> None:
    class Certain(Honest):
        def answer(self, tokens: np.ndarray) -> np.ndarray:
            logits = super().answer(tokens)
            logits[..., BOS] = -np.inf
            return logits

    assert probe(Certain).suffix_nats == 0.0


@pytest.mark.parametrize("rows", [1, 2, BATCH, BATCH + 1])
def test_short_texts_can_be_probed_too(rows: int) -> None:
    report = probe(Honest, cuts=DEEP_CUTS, eval_set=made_up_text(rows))
    assert report.cuts == report.cuts_drawn <= rows * (LENGTH - 1)
    assert "looks ahead" in str(failure(Peeking, eval_set=made_up_text(rows)))


# Cheats


def test_looking_ahead_is_told_with_its_size_and_its_worth() -> None:
    error = failure(Peeking)
    assert " cuts its answer changed with the text that follows, by up to" in error.what
    assert "nats (0.001 allowed), worth about" in error.what
    assert error.report.order_over == error.report.replay_over == 0
    assert error.report.lean_bpb > 1.0


@pytest.mark.parametrize("make", [PeekingAtHardTokens, Memorising])
def test_looking_ahead_cannot_be_hidden(make: Callable[[], Honest]) -> None:
    assert failure(make).report.cuts_over > 5


def test_looking_ahead_a_little_everywhere_is_found_below_the_tolerance() -> None:
    """The divergence of a small lean is of second order, what it is worth of first: 0.1 nats each for 0.004."""

    def make() -> Honest:
        return Peeking(lean=0.1)

    error = failure(make, cuts=DEEP_CUTS, tolerance_nats=CAP_NATS)
    assert error.report.cuts_over == 0
    assert "looks ahead a little everywhere" in error.what
    assert error.report.lean_nats > 0.05


@pytest.mark.parametrize("make", [Learning, Noisy])
def test_answers_that_change_while_scored_are_told_by_the_replay(make: Callable[[], Honest]) -> None:
    error = failure(make)
    assert error.what.startswith("it learns while it is scored or answers at random: its first batch, asked again")
    assert error.report.replay_nats > FLOOR_NATS


def test_learning_behind_a_memory_is_found_by_the_replica() -> None:
    class Hiding(Learning):
        """Repeats its first answers when asked again, so that the replay finds nothing."""

        def answer(self, tokens: np.ndarray) -> np.ndarray:
            self.known = getattr(self, "known", dict[bytes, np.ndarray]())
            if tokens.tobytes() not in self.known:
                self.known[tokens.tobytes()] = super().answer(tokens)
            return self.known[tokens.tobytes()]

    error = failure(Hiding)
    assert error.report.replay_over == 0
    assert "in other company and order" in error.what


def test_statistics_over_the_batch_are_told_by_the_order() -> None:
    error = failure(BatchStatistics)
    assert "its answers depend on more than the row: in other company and order they changed at" in error.what
    assert error.report.replay_over == 0


def test_a_model_outside_its_saved_state_is_told_so() -> None:
    error = failure(Honest, make_replica=lambda: Honest(seed=1))
    assert "keeps part of the model outside its saved state" in error.what
    assert error.report.order_over == error.report.order_places > 0


@pytest.mark.parametrize("poison", [math.nan, math.inf])
def test_a_replica_that_answers_no_distribution_has_an_infinite_effect(poison: float) -> None:
    class Poisoned(Honest):
        def answer(self, tokens: np.ndarray) -> np.ndarray:
            return np.full((*tokens.shape, VOCAB), poison, np.float32)

    error = failure(Honest, make_replica=Poisoned)
    assert error.report.order_nats == math.inf
    assert error.report.to_json()["order_nats"] is None
    assert error.report.to_json()["suffix_nats"] is None


@pytest.mark.system
def test_a_model_that_cheats_at_a_share_of_places_is_missed_as_often_as_stated() -> None:
    """(1 - f)^K: about a third of the time with f = 5 % and K = 20 cuts, and hardly ever with 120."""
    eval_set, runs, cheat = made_up_text(60), 200, Peeking(share=0.05)
    counted = eval_set.token_bytes[eval_set.rows[:, 1:LENGTH]] > 0
    share = float(cheat.peeks(eval_set.rows[:, :-1])[counted].mean())
    missed = Counter[int]()
    for _ in range(runs):
        witness = score(cheat, eval_set)
        for cuts in (20, 120):
            sitting = Sitting("val", witness, Depth(cuts=cuts))
            probing = Probing([sitting], tolerance_nats=FLOOR_NATS, limit_s=60.0)
            found = probing._suffix(cheat, sitting)  # pyright: ignore[reportPrivateUsage]
            missed[cuts] += found.over(FLOOR_NATS) == 0
    expected = (1 - share) ** 20
    assert 0.25 < expected < 0.5
    assert abs(missed[20] / runs - expected) < 4 * math.sqrt(expected * (1 - expected) / runs)
    assert missed[120] <= 5 + 2 * runs * (1 - share) ** 120


# Effects and tolerance


@settings(deadline=None)
@given(st.integers(0, 1000), st.sampled_from([0.01, 1.0, 50.0]))
def test_the_effect_is_the_divergence(seed: int, scale: float) -> None:
    rng = np.random.default_rng(seed)
    a, b = ((rng.normal(size=(5, 9)) * scale).astype(np.float32) for _ in range(2))
    targets = rng.integers(0, 9, 5)
    p, q = (np.exp(x.astype(float)) / np.exp(x.astype(float)).sum(axis=1, keepdims=True) for x in (a, b))
    with np.errstate(divide="ignore"):
        expected = np.where(p > 0, p * (np.log(p) - np.log(q)), 0).sum(axis=1)
    found = compare(a, b, targets)
    np.testing.assert_allclose(found.nats, expected, rtol=1e-6, atol=1e-9)
    np.testing.assert_allclose(found.lean_nats, np.log(p / q)[np.arange(5), targets], rtol=1e-6, atol=1e-9)
    assert compare(a + np.float32(3), a, targets).largest_nats < 1e-9, "adding a constant changes nothing"


def test_ruling_out_what_was_thought_possible_is_without_bound() -> None:
    sure = np.asarray([[0.0, -np.inf]], np.float32)
    open_ = np.zeros((1, 2), np.float32)
    assert compare(open_, sure, np.asarray([0])).nats == math.inf
    assert compare(sure, open_, np.asarray([0])).nats == pytest.approx(math.log(2))
    assert compare(sure, sure, np.asarray([0])).nats == 0.0


def test_work_in_pieces_gives_the_same() -> None:
    rng = np.random.default_rng(0)
    a, b = (rng.normal(size=(7, 400_000)).astype(np.float32) for _ in range(2))
    targets = np.arange(7)
    whole, parts = compare(a, b, targets), [compare(a[k : k + 1], b[k : k + 1], targets[k : k + 1]) for k in range(7)]
    np.testing.assert_array_equal(whole.nats, [part.largest_nats for part in parts])


def test_the_tolerance_follows_the_baseline_between_floor_and_cap() -> None:
    def of(suffix: float | None, order: float | None = 0.0, replay: float | None = 0.0) -> dict[str, float | None]:
        return {"suffix_nats": suffix, "order_nats": order, "replay_nats": replay}

    assert calibrated_tolerance([]) == CAP_NATS
    assert calibrated_tolerance([of(1e-9)]) == FLOOR_NATS
    assert calibrated_tolerance([of(1e-9), of(0.0, 4e-4)]) == pytest.approx(4e-3)
    assert calibrated_tolerance([of(0.0, 0.0, 0.01)]) == CAP_NATS
    assert calibrated_tolerance([of(None)]) == CAP_NATS


def test_a_coarse_device_is_tolerated_when_the_baseline_showed_it() -> None:
    class Coarse(Honest):
        """Like bfloat16: eight bits of a logit, and another last bit in another batch."""

        def answer(self, tokens: np.ndarray) -> np.ndarray:
            logits = 4 * super().answer(tokens)
            rng = np.random.default_rng(int(tokens.sum()))
            return logits * (1 + rng.choice([-1, 0, 1], logits.shape) * 2.0**-8).astype(np.float32)

    baseline = probe(Coarse, cuts=DEEP_CUTS, tolerance_nats=CAP_NATS)
    tolerance = calibrated_tolerance([baseline.to_json()])
    assert tolerance > FLOOR_NATS
    for _ in range(20):
        assert probe(Coarse, tolerance_nats=tolerance).cuts_over == 0
    assert "looks ahead" in failure(Peeking, tolerance_nats=tolerance).what


# Conduct


def test_the_scored_process_is_gone_before_its_replica_begins() -> None:
    events = list[str]()
    eval_set = made_up_text()
    witness = score(Honest(), eval_set)

    class Context:
        def __enter__(self) -> Honest:
            events.append("replica")
            return Honest()

        def __exit__(self, *_: object) -> None:
            events.append("replica closed")

    sitting = Sitting("val", witness, Depth(cuts=8))
    probing = Probing([sitting], tolerance_nats=1e-3, limit_s=60.0)
    probing.run(Honest(), lambda: events.append("closed"), Context)
    assert events == ["closed", "replica", "replica closed"]


def test_probing_ends_in_time() -> None:
    witness = score(Honest(), made_up_text())
    probing = Probing([Sitting("val", witness, Depth(cuts=8))], tolerance_nats=1e-3, limit_s=0.0)
    with pytest.raises(TrialError, match="not probed within 0 s") as caught:
        probing.run(Honest(), lambda: None, lambda: pytest.fail("no replica is needed any more"))
    assert caught.value.status is Status.EVAL_BUDGET_OVERRUN


def test_the_replica_is_asked_in_batches_of_another_size() -> None:
    replica = Honest()
    probe(Honest, make_replica=lambda: replica)
    assert max(len(batch) for batch in replica.asked) == BATCH - 1


def test_only_the_secret_places_are_kept() -> None:
    witness = Witness(whole(made_up_text()), BATCH, VOCAB)
    assert witness.cut_logits.shape == (len(witness.cuts), VOCAB)
    assert len(witness.first) == BATCH * LENGTH
    assert witness.first.rows.max() < BATCH


def test_a_report_is_ready_for_the_store() -> None:
    report = replace(probe(Honest), lean_bpb=math.inf)
    assert report.to_json()["lean_bpb"] is None
    assert report.to_json()["cuts"] == 128
