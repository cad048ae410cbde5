"""What a night came to, and how it is known."""

from dataclasses import astuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memory.figures.campaign import result_of
from memory.figures.reading import TABLES, read_report_data
from memory.keep.comparable import evidence_of
from memory.keep.comparison import compare
from memory.reader import Reader
from memory.statistics.noise import Noise
from rails.status import Status
from tests.support.many_trials import publish_campaigns
from tests.support.report_data import FINAL, Night, data_of, many_trials_data
from tests.support.rows import JSON_VALUES, make_records


def kept() -> Night:
    night = Night([2.0, 2.02, 1.98])
    night.add(Status.KEEP, [1.94, 1.96], gain=0.025, gain_low=0.01, gain_high=0.04)
    return night


def test_a_result_on_fresh_seeds_comes_before_the_estimate_of_the_search() -> None:
    result = result_of(kept().data(final=FINAL))
    assert result.kind == "fresh" and result.trial == 1
    assert result.told is result.fresh and result.fresh is not None and result.search is not None
    assert (result.fresh.gain, result.fresh.margin, result.fresh.proven) == (0.02, pytest.approx(0.014), True)
    assert result.test is not None and not result.test.proven


def test_without_fresh_seeds_the_gain_is_that_of_all_measurements_of_the_search() -> None:
    result = result_of(kept().data())
    assert result.kind == "search" and result.fresh is None and result.search is not None
    data = kept().data()
    ours, theirs = (data.scores(trial) for trial in (kept().best, data.trials[0]))
    found = compare(evidence_of(data.campaign, data.noise, ours, theirs))
    assert found.gain_low is not None and found.gain_high is not None
    assert (len(ours), len(theirs)) == (2, 3)
    assert result.search.gain == found.gain == pytest.approx((2.0 - 1.95) / 2.0, rel=0.1)
    assert result.search.margin == pytest.approx((found.gain_high - found.gain_low) / 2)


def test_a_final_that_is_not_done_or_is_of_another_trial_is_no_result() -> None:
    assert result_of(kept().data(final={**FINAL, "state": "running"})).kind == "search"
    assert result_of(kept().data(final={**FINAL, "incumbent": 7})).kind == "search"
    assert result_of(kept().data(final={**FINAL, "val": None, "test": None, "state": "failed"})).kind == "search"


def test_measurements_on_fresh_seeds_are_no_part_of_the_search() -> None:
    night = kept()
    before = result_of(night.data()).search
    night.finals(night.best, [1.0, 1.0])
    assert result_of(night.data()).search == before
    assert night.data().noise == kept().data().noise


def test_nothing_kept_and_nothing_measured() -> None:
    night = Night([2.0, 2.02])
    night.add(Status.DISCARD, [2.01])
    assert result_of(night.data()).kind == "nothing"
    night.trials.clear()
    night.measurements.clear()
    assert result_of(night.data()).kind == "unmeasured"


def test_a_log_that_only_states_its_baseline_is_compared_with_what_it_states() -> None:
    night = Night([2.0])
    night.measurements.clear()
    night.add(Status.KEEP, [1.9])
    assert result_of(night.data()).search is None, "our own loop measures, it does not state"
    found = result_of(night.data(source="their.jsonl")).search
    assert found is not None and found.gain == pytest.approx(0.05) and found.gain_low is None


def test_draws_of_one_program_in_several_trials_count_together_and_a_seed_once() -> None:
    night = Night([2.0])
    first = night.add(Status.KEEP, [1.80], program_key="same")
    night.add(Status.DISCARD, [1.90], program_key="same")  # seed 1000 again: no new information
    data = night.data(incumbent_trial_id=first.trial_id)
    assert data.scores(first) == ((0, 1.80),)
    night.measurements[-1] = night.measurements[-1].model_copy(update={"seed": 7})
    assert [metric for _, metric in night.data().scores(first)] == [1.80, 1.90]


def test_confirmed_keeps_are_those_whose_interval_is_above_zero() -> None:
    night = Night([2.0, 2.02, 1.98])
    night.add(Status.KEEP, [1.9], gain=0.05, gain_low=0.01, gain_high=0.09)
    night.add(Status.KEEP, [1.89], gain=0.005, gain_low=-0.03, gain_high=0.04)
    data = night.data()
    assert data.confirmed == {1}
    assert data.analysis.unconfirmed_keeps == [2]


def test_a_snapshot_gives_the_same_data_as_the_records(tmp_path_factory: pytest.TempPathFactory) -> None:
    records = make_records(40, seed=3)
    directory = publish_campaigns(tmp_path_factory.mktemp("night") / "snapshot", records)
    with Reader.open(directory, TABLES) as reader:
        read = read_report_data(reader, reader.campaign(records.campaign.campaign_id))
    made = data_of(records)
    assert (read.campaign, read.trials) == (made.campaign, made.trials)
    assert sorted(read.measurements, key=lambda m: m.measurement_id) == sorted(
        made.measurements, key=lambda m: m.measurement_id
    )
    assert astuple(read.calls) == pytest.approx(astuple(made.calls))
    assert read.seconds_by_part == pytest.approx(made.seconds_by_part)
    assert read.seconds_by_part and read.calls.requests == 40
    assert read.own_noise.df == made.own_noise.df and read.own_noise.sd == pytest.approx(made.own_noise.sd)
    found, wanted = result_of(read).search, result_of(made).search
    assert found is not None and wanted is not None and astuple(found) == pytest.approx(astuple(wanted))


@given(final=st.dictionaries(st.sampled_from(sorted(FINAL)), JSON_VALUES))
def test_whatever_a_log_has_for_a_result_is_read_or_left_out(final: dict[str, object]) -> None:
    result = result_of(kept().data(final={**final, "state": "done", "incumbent": 1}))
    assert result.kind in {"fresh", "search"}


def test_the_noise_of_an_empty_campaign_is_not_known() -> None:
    assert many_trials_data(0).own_noise != Noise(sd=None, df=0), "three baseline seeds"
    assert Night([2.0]).data().own_noise == Noise(sd=None, df=0)
