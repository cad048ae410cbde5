"""Readers see what the store has, while it is written, and can do nothing but read."""

import os
import shutil
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from memory.database.rows import NUMBERED_TABLES, TRIAL_TABLES
from memory.publish import BLOCK, SEGMENT, Publisher, cover, publish
from memory.reader import VIEWS, Reader
from memory.records import MeasurementState
from memory.snapshot.manifest import MANIFEST
from memory.store import Store
from rails.errors import UserError
from tests.support.rows import (
    CampaignRecords,
    campaigns_of_records,
    make_measurement,
    make_records,
    write_records,
    write_trial,
)


@pytest.fixture(scope="module")
def night(tmp_path_factory: pytest.TempPathFactory):
    folder = tmp_path_factory.mktemp("night")
    records = make_records(30, seed=3)
    with Store.open(folder / "store.duckdb") as store:
        write_records(store, records)
        publish(store, folder / "snapshot")
        with Reader.open(folder / "snapshot") as reader:
            yield records, store, reader


def assert_same(reader: Reader, store: Store) -> None:
    assert reader.campaigns() == store.campaigns()
    for campaign in store.campaigns():
        campaign_id = campaign.campaign_id
        assert reader.trials(campaign_id) == store.trials(campaign_id)
        assert reader.campaign_measurements(campaign_id) == store.campaign_measurements(campaign_id)
        assert reader.lessons(campaign_id) == store.lessons(campaign_id)
        assert reader.tried_programs(campaign_id) == store.tried_programs(campaign_id)
        assert reader.noise(campaign_id) == store.noise(campaign_id)
        for trial in store.trials(campaign_id):
            assert reader.calls(trial.trial_id) == store.calls(trial.trial_id)
            assert reader.verdicts(trial.trial_id) == store.verdicts(trial.trial_id)
            assert reader.spans(trial.trial_id) == store.spans(trial.trial_id)
            assert reader.lineage_block(trial.lineage_sha256 or "") == store.lineage_block(trial.lineage_sha256 or "")
            for done in store.measurements(trial.trial_id):
                assert reader.curve(done.measurement_id) == store.curve(done.measurement_id)


def test_reader_equals_store(tmp_path: Path):
    @settings(max_examples=4, deadline=None)
    @given(campaigns_of_records(max_trials=18), st.sets(st.integers(0, 20)))
    def check(records: CampaignRecords, publications: set[int]):
        path = tmp_path / "store.duckdb"
        path.unlink(missing_ok=True)
        shutil.rmtree(tmp_path / "snapshot", ignore_errors=True)
        with Store.open(path) as store:
            store.add_campaign(records.campaign.model_copy(update={"incumbent_trial_id": None}))
            for trial in records.trials:
                write_trial(store, records, trial)
                if trial.seq in publications:
                    publish(store, tmp_path / "snapshot")
            publish(store, tmp_path / "snapshot")
            with Reader.open(tmp_path / "snapshot") as reader:
                assert_same(reader, store)

    check()


def test_whoever_publishes_again_and_again_sees_that_its_snapshot_is_gone_or_another_s(tmp_path: Path):
    records, snapshot = make_records(20, prompt_chars=10), tmp_path / "snapshot"
    with Store.open(tmp_path / "store.duckdb") as store:
        publisher = Publisher(store, snapshot)
        store.add_campaign(records.campaign.model_copy(update={"incumbent_trial_id": None}))
        for trial in records.trials:
            write_trial(store, records, trial)
            publisher.publish()
            if trial.seq == 17:
                shutil.rmtree(snapshot)
            elif trial.seq == 18:
                (snapshot / "manifest.json").write_text("{}")
        publisher.publish()
        with Reader.open(snapshot) as reader:
            assert_same(reader, store)


@pytest.mark.system
def test_segments_become_blocks_and_late_changes_are_seen(tmp_path: Path):
    records = make_records(BLOCK + SEGMENT, prompt_chars=10)
    snapshot = tmp_path / "snapshot"
    with Store.open(tmp_path / "store.duckdb") as store:
        store.add_campaign(records.campaign.model_copy(update={"incumbent_trial_id": None}))
        for trial in records.trials:
            if trial.seq % 12 == 0:
                write_trial(store, records, trial)
                publish(store, snapshot)
            else:
                store.open_trial(trial)
        publish(store, snapshot)
        untouched = {path.name for path in snapshot.glob("calls-*-000000-128-*.parquet")}
        best = records.trials[0]
        late = make_measurement(best, 7, 1.75)
        store.open_measurement(late.model_copy(update={"state": MeasurementState.RUNNING, "score": None}))
        store.finish_measurement(late, None)
        store.update_trial(best.trial_id, n_measurements=4, metric=1.76)
        publish(store, snapshot)
        assert untouched
        assert untouched == {path.name for path in snapshot.glob("calls-*-000000-128-*.parquet")}
        with Reader.open(snapshot) as reader:
            assert_same(reader, store)
    with Store.open(tmp_path / "store.duckdb") as store:
        publish(store, snapshot)
        publish(store, snapshot)
        with Reader.open(snapshot) as reader:
            assert_same(reader, store)
        assert not [path for path in snapshot.iterdir() if path.name.startswith("calls") and path.name in untouched]


@given(st.integers(0, 2000))
def test_ranges_cover_every_number_once(count: int):
    covered = [number for start, size in cover(count) for number in range(start, start + size)]
    assert covered == list(range(len(covered)))
    assert count <= len(covered) < count + SEGMENT


def test_publishing_writes_only_what_changed(tmp_path: Path):
    records = make_records(40, prompt_chars=10)
    with Store.open(tmp_path / "store.duckdb") as store:
        write_records(store, records)
        publish(store, tmp_path / "snapshot")
        for changed, wanted in ((records.trials[-1], ["tail"]), (records.trials[3], ["tail", "trials"])):
            before = {path.name for path in (tmp_path / "snapshot").iterdir()}
            store.update_trial(changed.trial_id, lesson="x")
            publish(store, tmp_path / "snapshot")
            after = {path.name for path in (tmp_path / "snapshot").iterdir()}
            assert sorted(name.split("-")[0] for name in after - before) == wanted


@pytest.mark.slow
def test_publishing_a_trial_asks_the_store_nothing_and_the_files_stay_few(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """Each statement takes a millisecond or two; only a segment that is full is written by one for each table."""
    records = make_records(BLOCK + 3 * SEGMENT, prompt_chars=10)
    snapshot = tmp_path / "snapshot"
    statements: list[str] = []
    fetch = Store._fetch  # pyright: ignore[reportPrivateUsage]

    def noted(store: Store, sql: str, values: tuple[object, ...] = ()) -> list[tuple[object, ...]]:
        statements.append(sql)
        return fetch(store, sql, values)

    monkeypatch.setattr(Store, "_fetch", noted, raising=False)
    with Store.open(tmp_path / "store.duckdb") as store:
        store.add_campaign(records.campaign.model_copy(update={"incumbent_trial_id": None}))
        counts: list[int] = []
        files: list[int] = []
        for trial in records.trials:
            write_trial(store, records, trial)
            statements.clear()
            publish(store, snapshot)
            counts.append(len(statements))
            files.append(len(list(snapshot.iterdir())))
        with Reader.open(snapshot) as reader:
            assert_same(reader, store)
    assert sum(count == 0 for count in counts) > 0.85 * len(counts)
    assert max(counts[-SEGMENT:]) <= max(counts[SEGMENT : 3 * SEGMENT])
    blocks = len(TRIAL_TABLES) + len(NUMBERED_TABLES)
    assert max(files[-BLOCK:]) <= 2 * blocks * (2 + BLOCK // SEGMENT) + 3


@pytest.mark.system
def test_the_tail_is_read_again_after_a_restart_and_a_rollback(tmp_path: Path):
    records = make_records(SEGMENT + 5, prompt_chars=10)
    *earlier, last = records.trials
    snapshot = tmp_path / "snapshot"
    with Store.open(tmp_path / "store.duckdb") as store:
        store.add_campaign(records.campaign.model_copy(update={"incumbent_trial_id": None}))
        for trial in earlier:
            write_trial(store, records, trial)
        publish(store, snapshot)
    with Store.open(tmp_path / "store.duckdb") as store:
        publish(store, snapshot)
        with pytest.raises(ZeroDivisionError), store.transaction():
            write_trial(store, records, last)
            raise ZeroDivisionError
        publish(store, snapshot)
        with Reader.open(snapshot) as reader:
            assert_same(reader, store)
        write_trial(store, records, last)
        other = make_records(3, tag="other", prompt_chars=10)
        publish(store, snapshot)
        write_records(store, other)
        publish(store, snapshot)
        store.update_trial(last.trial_id, lesson="late")
        publish(store, snapshot)
        with Reader.open(snapshot) as reader:
            assert_same(reader, store)
            assert reader.trial(last.trial_id).lesson == "late"


def test_a_reader_survives_files_that_go_while_it_opens(tmp_path: Path):
    records = make_records(3)
    snapshot = tmp_path / "snapshot"
    with Store.open(tmp_path / "store.duckdb") as store:
        write_records(store, records)
        publish(store, snapshot)
        (snapshot / MANIFEST).rename(tmp_path / "old")
        for name in ("a", "b"):
            store.update_trial(records.trials[1].trial_id, lesson=name)
            publish(store, snapshot)
        with Reader.open(snapshot) as reader:
            assert reader.trial(records.trials[1].trial_id).lesson == "b"
        for path in snapshot.glob("tail-*"):
            path.write_text("half a ta")
        with pytest.raises(UserError, match="damaged"):
            Reader.open(snapshot)
        for path in snapshot.glob("tail-*"):
            path.unlink()
        with pytest.raises(UserError, match="damaged"):
            Reader.open(snapshot)


@pytest.mark.parametrize(
    "content", [None, "", "{}", '{"schema": 99, "session": "", "revision": 0, "previous": [], "parts": []}']
)
def test_a_missing_damaged_or_newer_snapshot_is_a_sentence(tmp_path: Path, content: str | None):
    if content is not None:
        (tmp_path / MANIFEST).write_text(content)
    with pytest.raises(UserError, match="snapshot"):
        Reader.open(tmp_path)


def test_an_empty_store_can_be_published_and_read(tmp_path: Path):
    with Store.open(tmp_path / "store.duckdb") as store:
        publish(store, tmp_path / "snapshot")
    with Reader.open(tmp_path / "snapshot") as reader:
        assert reader.latest_campaign() is None
        assert all(reader.query(f"SELECT * FROM {view}").rows == [] for view in VIEWS)


FORBIDDEN = [
    "DELETE FROM trials",
    "DELETE FROM raw.trials",
    "WITH gone AS (DELETE FROM raw.trials RETURNING *) SELECT * FROM gone",
    "DROP VIEW trials",
    "CREATE TABLE t AS SELECT 1",
    "COPY raw.trials TO '{folder}/out.csv'",
    "COPY (SELECT 1) TO '{folder}/out.parquet' (FORMAT parquet)",
    "EXPORT DATABASE '{folder}/out'",
    "ATTACH '{folder}/out.duckdb'",
    "SELECT * FROM read_csv('/etc/hostname')",
    "SELECT * FROM read_text('/etc/hostname')",
    "SELECT * FROM '/etc/hostname'",
    "SELECT * FROM glob('/*')",
    "SET enable_external_access = true",
    "PRAGMA enable_profiling",
    "INSTALL httpfs",
    "LOAD httpfs",
    "BEGIN",
    "COMMIT",
    "SELECT 1; DELETE FROM raw.trials",
    "EXPLAIN ANALYZE DELETE FROM raw.trials",
    "",
    "SELEC 1",
]


@pytest.mark.parametrize("sql", FORBIDDEN)
def test_a_query_cannot_write(sql: str, night: tuple[CampaignRecords, Store, Reader], tmp_path: Path):
    records, _, reader = night
    with pytest.raises(UserError):
        reader.query(sql.replace("{folder}", str(tmp_path)))
    assert os.listdir(tmp_path) == []
    assert reader.query("SELECT count(*) FROM trials").rows == [[len(records.trials)]]


def test_answers_are_plain_values(night: tuple[CampaignRecords, Store, Reader]):
    reader = night[2]
    result = reader.query(
        "SELECT 1 AS a, 1.5 AS b, 'x' AS c, NULL AS d, true AS e, [1, 2] AS f, {'k': 1} AS g,"
        " TIMESTAMP '2026-01-02 03:04:05' AS h, 'nan'::DOUBLE AS i, INTERVAL 90 SECOND AS j, sum(2) AS k,"
        " '\\x01'::BLOB AS l, DATE '2026-01-02' AS m, uuid() IS NULL AS n"
    )
    assert result.columns == list("abcdefghijklmn")
    assert result.rows == [
        [
            1,
            1.5,
            "x",
            None,
            True,
            [1, 2],
            {"k": 1},
            "2026-01-02T03:04:05+00:00",
            None,
            90.0,
            2,
            "01",
            "2026-01-02",
            False,
        ]
    ]


def test_the_reader_does_not_follow_and_the_store_goes_on(tmp_path: Path):
    records = make_records(2)
    with Store.open(tmp_path / "store.duckdb") as store:
        store.add_campaign(records.campaign.model_copy(update={"incumbent_trial_id": None}))
        write_trial(store, records, records.trials[0])
        publish(store, tmp_path / "snapshot")
        with Reader.open(tmp_path / "snapshot") as reader:
            write_trial(store, records, records.trials[1])
            publish(store, tmp_path / "snapshot")
            assert len(reader.trials(records.campaign.campaign_id)) == 1
            with Reader.open(tmp_path / "snapshot") as later:
                assert len(later.trials(records.campaign.campaign_id)) == 2
