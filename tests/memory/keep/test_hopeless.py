"""The rule for hopeless trainings: what it must never do, whatever the curves."""

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memory.exports.results_tsv import render_results_tsv
from memory.keep.curves import STOPPED_IN_A_ROW, KnownCurves
from memory.keep.hopeless import (
    CHECKPOINTS,
    PAIRS_NEEDED,
    PAIRS_WITH_INCUMBENT,
    CurveComparison,
    Losses,
    LossesByCheckpoint,
    Trace,
    Yardstick,
    compare,
    expected_deficit,
    margins,
)
from memory.keep.near_misses import near_misses
from memory.lineage.lessons import lesson_for
from memory.records import Campaign, Curve, MeasurementState, Phase, Trial, stopped_at
from memory.statistics.noise import Noise
from memory.statistics.pairs import PairSpread
from memory.store import Store
from rails.status import Status
from tests.support.rows import CampaignRecords as Records
from tests.support.rows import make_campaign, make_measurement, make_trial, write_trial

STEPS = 100
RECOVERY = st.floats(-0.5, 0.5)
CURVE = st.lists(st.floats(0.5, 9.0), min_size=STEPS, max_size=STEPS)


def trace(losses: list[float], every: int = 1) -> Trace:
    """A training of 100 steps that reports every few, each time the mean since the report before."""
    chunks = [losses[start : start + every] for start in range(0, STEPS, every)]
    return Trace(((every * i + len(chunk)) / STEPS, sum(chunk) / len(chunk)) for i, chunk in enumerate(chunks))


def flat(loss: float) -> Losses:
    return Losses(loss, loss)


def known(recoveries: list[float], parent: str = "p") -> list[CurveComparison]:
    """Finished trials that made up so much from every checkpoint."""
    every = [(recovery,) * len(CHECKPOINTS) for recovery in recoveries]
    return [
        CurveComparison(trial_id=f"t{i}", program=f"{parent}{i}", parent_trial_id=parent, recoveries=row)
        for i, row in enumerate(every)
    ]


def first_stop(yardstick: Yardstick, losses: LossesByCheckpoint) -> int:
    """The number of the checkpoint at which the rule stops; one past the last when it does not."""
    found = (i for i, loss in enumerate(losses) if loss is not None and yardstick.judge(i, loss))
    return next(found, len(CHECKPOINTS))


def yardstick(incumbent: LossesByCheckpoint, recoveries: list[float], noise: float = 0.01) -> Yardstick:
    found = margins(known(recoveries), "p", noise)
    return Yardstick(incumbent=incumbent, on_seed=True, margins=found, pairs=len(recoveries))


@given(CURVE, st.sampled_from([1, 2, 5]))
def test_a_loss_does_not_depend_on_how_often_a_training_reports(losses: list[float], every: int) -> None:
    # At 40 and 80 % all ends of the quarters lie on a report, however sparse.
    dense, sparse = trace(losses), trace(losses, every)
    for checkpoint in (0.4, 0.8):
        assert sparse.losses_at(checkpoint) == pytest.approx(dense.losses_at(checkpoint))
    third, last = losses[20:30], losses[30:40]
    assert dense.losses_at(0.4) == pytest.approx((sum(third) / 10, sum(last) / 10))


def test_a_checkpoint_that_was_not_reached_has_no_loss() -> None:
    young = Trace([(0.1, 5.0), (0.2, 4.0), (0.2, 1.0), (0.15, 1.0)])
    assert young.losses_at(0.2) == pytest.approx((4.0, 4.0))
    assert young.losses()[1:] == (None,) * (len(CHECKPOINTS) - 1)


def test_one_report_of_a_long_step_stands_for_all_of_it() -> None:
    assert Trace([(0.5, 5.0)]).losses()[0] == pytest.approx((5.0, 5.0))


@given(CURVE, st.lists(RECOVERY, min_size=PAIRS_NEEDED, max_size=20))
def test_a_curve_that_is_no_worse_than_the_incumbents_is_never_stopped(
    losses: list[float], recoveries: list[float]
) -> None:
    rule = yardstick(trace(losses).losses(), recoveries, noise=0.0)
    assert first_stop(rule, trace(losses).losses()) == len(CHECKPOINTS)
    better = [0.9 * loss for loss in losses]
    assert first_stop(rule, trace(better).losses()) == len(CHECKPOINTS)


@given(*[st.floats(0.5, 9.0)] * 4, st.floats(0.0, 2.0), st.lists(RECOVERY, min_size=PAIRS_NEEDED, max_size=20))
def test_a_worse_loss_is_never_less_hopeless(
    reference: float, other: float, before: float, latest: float, more: float, recoveries: list[float]
) -> None:
    rule = yardstick((Losses(reference, other),) * len(CHECKPOINTS), recoveries)
    if rule.judge(0, Losses(before, latest)) is not None:
        assert rule.judge(0, Losses(before, latest + more)) is not None


def test_a_deficit_that_shrinks_is_expected_to_go_on_shrinking() -> None:
    reference = Losses(5.0, 4.0)
    assert expected_deficit(Losses(6.0, 4.4), reference) == pytest.approx(0.05), "20 %, then 10 %"
    for before in (4.0, 5.0, 5.5):
        assert expected_deficit(Losses(before, 4.4), reference) == pytest.approx(0.1), "it has not shrunk"
    assert expected_deficit(Losses(6.0, 3.6), reference) == pytest.approx(-0.1), "it is none"


@given(st.lists(RECOVERY, min_size=PAIRS_NEEDED, max_size=20), st.data())
def test_a_greater_recovery_never_makes_it_stricter(recoveries: list[float], data: st.DataObject) -> None:
    index = data.draw(st.integers(0, len(recoveries) - 1))
    greater = recoveries.copy()
    greater[index] += data.draw(st.floats(0.0, 0.5))
    before, after = margins(known(recoveries), "p", 0.01), margins(known(greater), "p", 0.01)
    assert all(a is not None and b is not None and a >= b for a, b in zip(after, before, strict=True))


@given(st.lists(RECOVERY, min_size=PAIRS_NEEDED, max_size=30), st.floats(0.0, 0.1))
def test_what_two_programs_made_up_could_be_made_up_again(recoveries: list[float], noise: float) -> None:
    found = margins(known(recoveries), "p", noise)
    assert all(margin is not None and margin >= max(0.0, sorted(recoveries)[-2]) + noise for margin in found)


@given(st.lists(st.floats(-0.5, 0.02), min_size=PAIRS_NEEDED, max_size=60), st.integers(1, 5), st.floats(0.1, 1e6))
def test_one_program_that_claims_a_recovery_changes_little_however_often_it_runs(
    honest: list[float], runs: int, claim: float
) -> None:
    lie = CurveComparison(trial_id="x", program="liar", parent_trial_id="p", recoveries=(claim,) * len(CHECKPOINTS))
    found = margins([*known(honest), *[lie] * runs], "p", 0.0)[0]
    greatest = max(0.0, *honest)
    assert found is not None
    assert found <= 3.0 * greatest
    without = margins(known(honest), "p", 0.0)[0] or 0.0
    assert found >= without / 2


def test_of_hundred_claims_five_count_for_nothing() -> None:
    honest = known([0.01, -0.01] * 48)
    lies = known([9.0] * 4, parent="liars")
    found = margins([*honest, *[replace(lie, parent_trial_id="p") for lie in lies]], "p", 0.0)[0]
    assert found == pytest.approx(margins(known([0.01, -0.01] * 50), "p", 0.0)[0], rel=0.1)


def test_an_earlier_incumbent_that_lied_does_not_switch_the_rule_off_for_those_after_it() -> None:
    honest = known([0.01, -0.01] * 6)
    against_the_liar = known([5.0 + recovery for recovery in (0.01, -0.01, 0.0, 0.02, -0.02, 0.01)], parent="liar")
    found = margins([*against_the_liar, *honest], "p", 0.0)[0]
    assert found is not None and found < 0.05


@given(st.lists(st.lists(RECOVERY, min_size=13, max_size=13), min_size=PAIRS_NEEDED, max_size=15))
def test_the_margin_is_what_was_made_up_from_anywhere(rows: list[list[float]]) -> None:
    comparisons = [
        CurveComparison(trial_id="t", program=f"k{i}", parent_trial_id="p", recoveries=tuple(row))
        for i, row in enumerate(rows)
    ]
    found = [margin for margin in margins(comparisons, "p", 0.01) if margin is not None]
    assert len(set(found)) == 1
    assert found[0] >= max(0.0, *(sorted(column)[-2] for column in zip(*rows, strict=True)))
    assert len(found) == len(CHECKPOINTS)


def test_fewer_known_curves_make_the_margin_wider() -> None:
    few, many = (margins(known([0.02, 0.0] * n), "p", 0.0)[0] or 0.0 for n in (5, 20))
    assert few > many > 0.02


def test_nothing_is_stopped_while_too_little_is_known() -> None:
    off = (None,) * len(CHECKPOINTS)
    assert margins(known([0.0] * (PAIRS_NEEDED - 1)), "p", 0.01) == off
    assert None not in margins(known([0.0] * PAIRS_NEEDED), "p", 0.01)
    others = known([0.0] * 50, parent="an earlier incumbent")
    own = known([0.0] * PAIRS_WITH_INCUMBENT)
    assert margins([*others, *own[1:]], "p", 0.01) == off
    assert None not in margins([*others, *own], "p", 0.01)
    unreached = [replace(one, recoveries=off) for one in known([0.0] * 50)]
    assert margins(unreached, "p", 0.01) == off


def test_an_incumbent_that_lies_about_its_losses_switches_the_rule_off() -> None:
    """Its first rivals run to their end: beaten by little in the metric, by far in the claimed loss."""
    honest, lying = trace([4.0] * STEPS).losses(), trace([0.01] * STEPS).losses()
    campaign = make_campaign()
    rivals = [compare(make_trial(campaign, seq, parent_trial_id="liar"), honest, lying, 0.01) for seq in (8, 9)]
    found = margins([*known([0.0] * 50, parent="honest"), *rivals], "liar", 0.01)
    rule = Yardstick(incumbent=lying, on_seed=True, margins=found, pairs=52)
    assert first_stop(rule, honest) == len(CHECKPOINTS)
    nonsense = Yardstick(incumbent=(flat(-1.0),) * len(CHECKPOINTS), on_seed=True, margins=found, pairs=52)
    assert first_stop(nonsense, honest) == len(CHECKPOINTS)


def test_the_verdict_says_what_was_known() -> None:
    rule = yardstick(trace([4.0] * STEPS).losses(), [0.02] * 12)
    assert rule.judge(4, flat(4.1)) is None
    verdict = rule.judge(4, Losses(5.5, 5.0))
    assert verdict is not None
    assert verdict.reason.startswith(
        "hopeless at 40 %: its loss was 25.0 % above the incumbent's on the same seed, "
        "16.7 % if that goes on shrinking, and no more than "
    )
    assert "the incumbent's, and" in replace(verdict, on_seed=False, expected_deficit=0.25).reason
    assert "12 trials known" in verdict.reason
    assert verdict.evidence["deficit"] == pytest.approx(0.25)
    assert verdict.evidence["rule"] == "early_stop"


# Over the store


def stopped_trial(campaign: Campaign, seq: int) -> Trial:
    """A trial as the loop leaves it when its training was hopeless."""
    return make_trial(
        campaign,
        seq,
        phase=Phase.DECIDED,
        status=Status.DISCARD,
        reason="hopeless at 40 %: too far behind",
        decision={"action": "discard", "checkpoint": 0.4},
        parent_trial_id=f"{campaign.campaign_id}-00000",
        edit={"kind": "knob", "knob": "depth", "value": 7},
        edit_key="depth=7",
        decided_at=campaign.created_at,
    )


SEED_EFFECT = 0.2
"""How much further every program's loss and score are on each next seed, where seeds have something in common."""


def measured_trial(campaign: Campaign, records: Records, seq: int, loss: float, score: float) -> Trial:
    """A decided trial with one measurement per seed and a flat curve of 100 steps."""
    baseline = seq == 0
    trial = make_trial(campaign, seq, phase=Phase.DECIDED, reason="r", metric=score, decided_at=campaign.created_at)
    status = Status.BASELINE if baseline else Status.DISCARD
    parent = None if baseline else f"{campaign.campaign_id}-00000"
    trial = trial.model_copy(update={"status": status, "parent_trial_id": parent, "n_measurements": 1})
    for seed in range(3 if baseline else 1):
        measured_on_seed(trial, records, seed, loss, score + 0.001 * seed)
    return trial


def measured_on_seed(trial: Trial, records: Records, seed: int, loss: float, score: float) -> None:
    done = make_measurement(trial, seed, score)
    records.measurements.append(done)
    records.curves.append(
        Curve(
            measurement_id=done.measurement_id,
            trial_id=trial.trial_id,
            step=list(range(1, STEPS + 1)),
            tokens=[0] * STEPS,
            elapsed_s=[0.0] * STEPS,
            loss=[loss] * STEPS,
        )
    )


def filled_store(path: Path, trials: int) -> tuple[Store, Campaign]:
    """A campaign of a baseline and finished trials that are 1 % behind all along and 1 % worse in the end."""
    campaign = make_campaign()
    records = Records(campaign)
    store = Store.open(path)
    store.add_campaign(campaign)
    for seq in range(trials + 1):
        scale = 1.0 if seq == 0 else 1.01
        write_trial(store, records, measured_trial(campaign, records, seq, 4.0 * scale, 1.7 * scale))
    return store, campaign


def paired_store(path: Path) -> tuple[Store, Campaign]:
    """Seeds far apart, on which all programs are alike: the baseline has three of them, most trials the first two."""
    campaign = make_campaign()
    records = Records(campaign)
    store = Store.open(path)
    store.add_campaign(campaign)
    for seq in range(PAIRS_NEEDED + 1):
        scale, seeds = (1.0, 3) if seq == 0 else (1.01 + 0.0001 * seq, 2)
        trial = measured_trial(campaign, records, seq, 4.0 * scale, 1.7 * scale)
        records.measurements.clear()
        records.curves.clear()
        for seed in range(seeds):
            level = (1.0 + SEED_EFFECT * seed) * scale
            measured_on_seed(trial, records, seed, 4.0 * level, 1.7 * level)
        write_trial(store, records, trial)
    return store, campaign


def by_steps(step: int, tokens: int, elapsed_s: float) -> float:
    return step / STEPS


def test_the_store_gives_a_yardstick_when_it_knows_enough(tmp_path: Path) -> None:
    for trials in (PAIRS_NEEDED - 1, PAIRS_NEEDED):
        store, campaign = filled_store(tmp_path / f"{trials}.duckdb", trials)
        with store:
            found = KnownCurves(store, by_steps).yardstick(campaign, f"{campaign.campaign_id}-00000", 0)
            assert (found is not None) == (trials == PAIRS_NEEDED)
    assert found is not None
    assert found.pairs == PAIRS_NEEDED
    assert [*found.incumbent] == [flat(4.0)] * len(CHECKPOINTS) and not found.on_seed
    assert found.judge(0, flat(4.5)) is not None
    assert found.judge(0, flat(4.005)) is None


def test_where_seeds_have_something_in_common_a_curve_is_held_against_that_of_its_own_seed(tmp_path: Path) -> None:
    store, campaign = paired_store(tmp_path / "s.duckdb")
    incumbent = f"{campaign.campaign_id}-00000"
    with store:
        curves = KnownCurves(store, by_steps)
        for seed in range(3):
            found = curves.yardstick(campaign, incumbent, seed)
            assert found is not None and found.on_seed
            own = 4.0 * (1.0 + SEED_EFFECT * seed)
            assert found.incumbent[0] == pytest.approx(flat(own))
            assert found.judge(0, flat(own * 1.05)) is not None and found.judge(0, flat(own * 1.005)) is None
        elsewhere = curves.yardstick(campaign, incumbent, 3)
    assert elsewhere is not None and not elsewhere.on_seed
    mean = 4.0 * (1.0 + SEED_EFFECT)
    assert elsewhere.incumbent[0] == pytest.approx(flat(mean))
    assert elsewhere.judge(0, flat(mean * 1.05)) is None, "from seed to seed it varies by 20 %"


def test_where_seeds_have_nothing_in_common_it_is_held_against_the_mean(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, campaign = paired_store(tmp_path / "s.duckdb")
    sd = store.store_noise(campaign.campaign_id).sd or 0.0
    monkeypatch.setattr(Store, "store_pairs", lambda self, campaign_id: [PairSpread(1, sd**2, sd**2, 0.0)] * 10)
    with store:
        found = KnownCurves(store, by_steps).yardstick(campaign, f"{campaign.campaign_id}-00000", 0)
    assert found is not None and not found.on_seed


def test_the_noise_of_a_metric_that_multiplies_is_relative_as_it_stands(tmp_path: Path) -> None:
    margins: list[float] = []
    for scale in ("linear", "log"):
        task = {"metric": {"name": "m", "direction": "minimize", "scale": scale}}
        campaign = make_campaign().model_copy(update={"task": task})
        records = Records(campaign)
        with Store.open(tmp_path / f"{scale}.duckdb") as store:
            store.add_campaign(campaign)
            for seq in range(PAIRS_NEEDED + 1):
                write_trial(store, records, measured_trial(campaign, records, seq, 4.0, 0.01))
            found = KnownCurves(store, by_steps).yardstick(campaign, f"{campaign.campaign_id}-00000", 3)
        assert found is not None
        margins.append(found.margins[0] or 0.0)
    assert margins[1] == pytest.approx(margins[0], rel=0.2)


def test_without_known_noise_nothing_is_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store, campaign = filled_store(tmp_path / "s.duckdb", PAIRS_NEEDED)
    monkeypatch.setattr(Store, "store_noise", lambda self, campaign_id: Noise(sd=None, df=0))
    with store:
        assert KnownCurves(store, by_steps).yardstick(campaign, f"{campaign.campaign_id}-00000", 0) is None


def test_curves_of_another_machine_say_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store, campaign = filled_store(tmp_path / "s.duckdb", PAIRS_NEEDED)
    monkeypatch.setattr(Store, "store_noise", lambda self, campaign_id: Noise(sd=0.001, df=2))
    incumbent = f"{campaign.campaign_id}-00000"
    with store:
        curves = KnownCurves(store, by_steps)
        assert curves.yardstick(campaign, incumbent, 0) is not None
        moved = store.update_campaign(campaign.campaign_id, hardware_fingerprint="gpu-8")
        assert curves.comparisons(moved, paired=False) == []
        assert curves.yardstick(moved, incumbent, 0) is None
        back = store.update_campaign(campaign.campaign_id, hardware_fingerprint=campaign.hardware_fingerprint)
        assert curves.yardstick(back, incumbent, 0) is not None


def test_a_clock_that_is_put_back_does_not_change_which_training_was_first(tmp_path: Path) -> None:
    store, campaign = filled_store(tmp_path / "s.duckdb", 1)
    with store:
        trial = store.trials(campaign.campaign_id)[1]
        before = KnownCurves(store, by_steps).comparisons(campaign, paired=True)
        again = make_measurement(trial, 1, 1.2, started_at=trial.created_at - timedelta(days=1))
        blank = {"state": MeasurementState.RUNNING, "score": None, "finished_at": None}
        store.open_measurement(again.model_copy(update=blank))
        store.finish_measurement(again, None)
        assert KnownCurves(store, by_steps).comparisons(campaign, paired=True) == before != []


def test_after_many_stopped_in_a_row_one_runs_to_its_end(tmp_path: Path) -> None:
    store, campaign = filled_store(tmp_path / "s.duckdb", PAIRS_NEEDED)
    incumbent = f"{campaign.campaign_id}-00000"
    with store:
        curves = KnownCurves(store, by_steps)
        for seq in range(PAIRS_NEEDED + 1, PAIRS_NEEDED + 1 + STOPPED_IN_A_ROW):
            assert curves.yardstick(campaign, incumbent, 0) is not None
            write_trial(store, Records(campaign), stopped_trial(campaign, seq))
        assert curves.yardstick(campaign, incumbent, 0) is None


def test_readers_tell_a_stopped_trial_from_a_failure_and_from_a_finished_one() -> None:
    trial = stopped_trial(make_campaign(), 3)
    assert stopped_at(trial) == "hopeless at 40 %"
    assert stopped_at(trial.model_copy(update={"metric": 1.7, "n_measurements": 1})) is None
    assert lesson_for(trial) == "depth=7 does not help: hopeless at 40 %; leave it"
    assert near_misses([trial], Noise(sd=0.01, df=2)) == []
    assert render_results_tsv([trial]).splitlines()[1].split("\t")[1:] == [
        "",
        "",
        "discard",
        "depth=7: hopeless at 40 %: too far behind",
    ]
