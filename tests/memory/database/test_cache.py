"""What the store remembers of its rows is what its tables say, after any writes and after a rollback."""

import random
from pathlib import Path

import pytest

from memory.database.queries import Queries
from memory.records import Event, EventKind, MeasurementState, Trial
from memory.store import Store
from rails.errors import HaltError
from tests.support.rows import (
    START,
    CampaignRecords,
    make_campaign,
    make_measurement,
    make_records,
    write_records,
    write_trial,
)
from tests.support.variants import first


def assert_remembered(store: Store, records: CampaignRecords) -> None:
    """Everything that is asked of memory equals what is asked of the tables."""
    campaign_id = records.campaign.campaign_id
    assert store.campaigns() == Queries.campaigns(store)
    assert store.campaign(campaign_id) == Queries.campaign(store, campaign_id)
    assert store.trials(campaign_id) == Queries.trials(store, campaign_id)
    assert store.lessons(campaign_id) == Queries.lessons(store, campaign_id)
    assert store.noise(campaign_id) == Queries.noise(store, campaign_id)
    assert store.peak_bytes(campaign_id) == Queries.peak_bytes(store, campaign_id)
    assert store.tried_programs(campaign_id) == Queries.tried_programs(store, campaign_id)
    for trial in store.trials(campaign_id)[-3:]:
        assert store.trial_by_seq(campaign_id, trial.seq) == trial == Queries.trial(store, trial.trial_id)
        assert store.measurements(trial.trial_id) == Queries.measurements(store, trial.trial_id)
        assert store.calls(trial.trial_id) == Queries.calls(store, trial.trial_id)
        assert store.verdicts(trial.trial_id) == Queries.verdicts(store, trial.trial_id)
        for done in store.measurements(trial.trial_id):
            assert store.curve(done.measurement_id) == Queries.curve(store, done.measurement_id)
        block = trial.lineage_sha256 or ""
        assert store.lineage_block(block) == Queries.lineage_block(store, block)
    assert store.trial_by_seq(campaign_id, 10_000) is None


def measure_again(store: Store, trial: Trial, index: int, score: float) -> None:
    done = make_measurement(trial, index, score, peak_rss_bytes=index * 2**20)
    store.open_measurement(
        done.model_copy(update={"state": MeasurementState.RUNNING, "score": None, "peak_rss_bytes": None})
    )
    store.finish_measurement(done, None)


@pytest.mark.system
@pytest.mark.parametrize("seed", first(1, range(4)))
def test_memory_and_tables_agree_after_every_trial(tmp_path: Path, seed: int) -> None:
    records, rng = make_records(24, seed, prompt_chars=10), random.Random(seed)
    with Store.open(tmp_path / "store.duckdb") as store:
        store.add_campaign(records.campaign.model_copy(update={"incumbent_trial_id": None}))
        for trial in records.trials:
            write_trial(store, records, trial)
            assert_remembered(store, records)
            if rng.random() < 0.5:
                earlier = rng.choice(records.trials[: trial.seq + 1])
                measure_again(store, earlier, 10 + trial.seq, 1.7 + rng.random())
                if earlier.metric is not None:
                    store.update_trial(earlier.trial_id, metric=earlier.metric + 0.01, n_measurements=7)
                assert_remembered(store, records)
    with Store.open(tmp_path / "store.duckdb") as store:
        assert_remembered(store, records)


def test_a_program_that_two_trials_measured_tells_of_noise(tmp_path: Path) -> None:
    records = make_records(3, prompt_chars=10)
    finished = [trial for trial in records.trials if trial.metric is not None][-2:]
    with Store.open(tmp_path / "store.duckdb") as store:
        write_records(store, records)
        before = store.noise(records.campaign.campaign_id)
        one, other = finished
        measure_again(store, other, 7, 1.9)
        store.update_trial(other.trial_id, program_key=one.program_key)
        assert store.noise(records.campaign.campaign_id) != before
        assert_remembered(store, records)
        store.update_trial(other.trial_id, program_key="another")
        store.update_campaign(records.campaign.campaign_id, hardware_fingerprint="cpu-64")
        assert_remembered(store, records)


def test_what_is_rolled_back_is_forgotten(tmp_path: Path) -> None:
    records = make_records(4, prompt_chars=10)
    *earlier, last = records.trials
    with Store.open(tmp_path / "store.duckdb") as store:
        store.add_campaign(records.campaign.model_copy(update={"incumbent_trial_id": None}))
        for trial in earlier:
            write_trial(store, records, trial)
        assert_remembered(store, records)
        event = Event(campaign_id=records.campaign.campaign_id, kind=EventKind.PAUSED, text="x", created_at=START)
        with pytest.raises(ZeroDivisionError), store.transaction():
            write_trial(store, records, last)
            store.add_event(event)
            assert len(store.trials(records.campaign.campaign_id)) == len(records.trials)
            assert store.row_count("events") == 1
            raise ZeroDivisionError
        assert len(store.trials(records.campaign.campaign_id)) == len(earlier)
        assert store.row_count("events") == 0
        assert_remembered(store, records)
        write_trial(store, records, last)
        store.add_event(event)
        assert store.events(records.campaign.campaign_id) == [event]
        assert_remembered(store, records)


def test_a_trial_costs_the_same_few_statements_however_long_the_night(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A statement takes DuckDB a millisecond or two, so their number is what a step costs."""
    records = make_records(40, prompt_chars=10)
    asked: list[str] = []
    fetch = Queries._fetch  # pyright: ignore[reportPrivateUsage]

    def counted(queries: Queries, sql: str, values: tuple[object, ...] = ()) -> list[tuple[object, ...]]:
        asked.append(sql)
        return fetch(queries, sql, values)

    monkeypatch.setattr(Queries, "_fetch", counted)
    with Store.open(tmp_path / "store.duckdb") as store:
        store.add_campaign(records.campaign.model_copy(update={"incumbent_trial_id": None}))
        write_trial(store, records, records.trials[0])
        store.noise(records.campaign.campaign_id)
        counts: list[int] = []
        for trial in records.trials[1:]:
            asked.clear()
            write_trial(store, records, trial)
            counts.append(len([sql for sql in asked if sql.startswith("SELECT")]))
    assert max(counts[4:]) <= 1, counts


def test_a_record_under_a_taken_key_of_another_trial_is_refused(tmp_path: Path) -> None:
    records = make_records(2, prompt_chars=10)
    with Store.open(tmp_path / "store.duckdb") as store:
        write_records(store, records)
        taken = store.measurements(records.trials[0].trial_id)[0]
        running = {"state": MeasurementState.RUNNING, "score": None, "trial_id": records.trials[1].trial_id}
        with pytest.raises(HaltError, match="other content is stored in measurements"):
            store.open_measurement(taken.model_copy(update=running))
        other = make_campaign("other", minutes=5)
        store.add_campaign(other)
        with pytest.raises(HaltError, match="other content is stored in trials"):
            store.open_trial(records.trials[1].model_copy(update={"campaign_id": other.campaign_id}))
        assert_remembered(store, records)
