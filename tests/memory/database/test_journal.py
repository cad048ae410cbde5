"""The journal: what a loop wrote is in the tables for whoever asks, whatever happened in between."""

import random
import shutil
from dataclasses import replace
from pathlib import Path

import duckdb
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from memory.database.inspection import log_path
from memory.database.journal import Entry, fold, merged, read_entries, write_entries
from memory.database.migrations.runner import migrate
from memory.database.opening import examine
from memory.database.rows import ALL_TABLES, TRIALS
from memory.publish import publish
from memory.records import MeasurementState, Phase
from memory.rescue.restore import build, damage_of, exchange
from memory.store import Store
from rails.errors import HaltError
from tests.support.examples import examples
from tests.support.old_stores import rows_of
from tests.support.rows import CampaignRecords, make_measurement, make_records, write_trial
from tests.support.variants import first, firsts


def written(store: Store, records: CampaignRecords, seed: int) -> None:
    """All trials, with changes of earlier rows in between."""
    chance = random.Random(seed)
    store.add_campaign(records.campaign.model_copy(update={"incumbent_trial_id": None}))
    for trial in records.trials:
        write_trial(store, records, trial)
        earlier = chance.choice(records.trials[: trial.seq + 1])
        if chance.random() < 0.4:
            store.update_trial(earlier.trial_id, lesson=f"after {trial.seq}")
        if chance.random() < 0.4:
            again = make_measurement(earlier, 20 + trial.seq, 1.5 + chance.random())
            running = {"state": MeasurementState.RUNNING, "score": None}
            store.open_measurement(again.model_copy(update=running))
            store.finish_measurement(again, None)
        if chance.random() < 0.2:
            store.update_campaign(records.campaign.campaign_id, active_s=float(trial.seq))


def killed(store: Store, place: Path) -> Path:
    """The files as a loop leaves them that is killed now."""
    place.mkdir()
    for file in (store.path, log_path(store.path)):
        if file.exists():
            shutil.copyfile(file, place / file.name)
    return place / store.path.name


def in_journal(path: Path) -> int:
    with duckdb.connect(str(path), read_only=True) as connection:
        return len(read_entries(connection))


@pytest.mark.parametrize("seed", first(1, range(3), rest=pytest.mark.system))
def test_a_loop_that_is_killed_leaves_every_row_to_the_next(tmp_path: Path, seed: int) -> None:
    records = make_records(9, seed, prompt_chars=10)
    with Store.open(tmp_path / "store.duckdb") as store:
        written(store, records, seed)
        copy = killed(store, tmp_path / "killed")
        expected = rows_of(store)
        assert in_journal(killed(store, tmp_path / "asked")) == 0, "whoever asks has it folded"
    assert in_journal(copy) > 20
    with Store.open(copy) as again:
        assert rows_of(again) == expected
        again.update_trial(records.trials[2].trial_id, lesson="later")
        assert again.trial(records.trials[2].trial_id).lesson == "later"
    assert in_journal(copy) == 0


def test_when_a_store_is_closed_its_tables_have_everything(tmp_path: Path) -> None:
    records = make_records(5, prompt_chars=10)
    with Store.open(tmp_path / "store.duckdb") as store:
        written(store, records, 1)
        counts = {table.name: len(rows) for table, rows in zip(ALL_TABLES, rows_of(store).values(), strict=True)}
        store.update_trial(records.trials[1].trial_id, lesson="the last word")
    with duckdb.connect(str(tmp_path / "store.duckdb"), read_only=True) as connection:
        for name, count in counts.items():
            assert connection.execute(f"SELECT count(*) FROM raw.{name}").fetchall() == [(count,)]
        assert connection.execute("SELECT lesson FROM raw.trials WHERE seq = 1").fetchall() == [("the last word",)]


def test_what_is_rolled_back_is_in_neither(tmp_path: Path) -> None:
    records = make_records(3, prompt_chars=10)
    with Store.open(tmp_path / "store.duckdb") as store:
        written(store, records, 0)
        before = rows_of(store)
        store.update_trial(records.trials[1].trial_id, lesson="kept")
        with pytest.raises(ZeroDivisionError), store.transaction():
            store.update_trial(records.trials[1].trial_id, lesson="lost")
            assert len(rows_of(store)["trials"]) == 4  # folds within the transaction that is rolled back
            store.update_trial(records.trials[2].trial_id, lesson="lost, too")
            raise ZeroDivisionError
        assert store.trial(records.trials[1].trial_id).lesson == "kept"
        after = rows_of(store)
    assert {name for name in after if after[name] != before[name]} == {"trials"}
    assert not [row for row in after["trials"] if "lost" in str(row) and "lost" not in str(before["trials"])]


def test_an_asking_in_the_middle_of_a_transaction_sees_what_it_has_written(tmp_path: Path) -> None:
    records = make_records(3, prompt_chars=10)
    with Store.open(tmp_path / "store.duckdb") as store:
        written(store, records, 0)
        with store.transaction():
            store.update_trial(records.trials[1].trial_id, lesson="now")
            sql = f"SELECT lesson FROM raw.{TRIALS.name} WHERE seq = 1"
            assert store._fetch(sql) == [("now",)]  # pyright: ignore[reportPrivateUsage]


def test_trials_that_are_only_in_the_journal_are_not_gone(tmp_path: Path) -> None:
    """A snapshot is ahead of the tables; a store that has lost its trials is told from that."""
    records = make_records(6, prompt_chars=10)
    *earlier, last = records.trials
    with Store.open(tmp_path / "store.duckdb") as store:
        written(store, replace(records, trials=earlier), 3)
        publish(store, tmp_path / "snapshot")
        write_trial(store, records, last)
        publish(store, tmp_path / "snapshot")
        copy = killed(store, tmp_path / "killed")
    shutil.copytree(tmp_path / "snapshot", copy.with_name("snapshot"))
    assert in_journal(copy) > 0
    examine(copy)
    with Store.open(copy) as again:
        assert [trial.phase for trial in again.trials(records.campaign.campaign_id)] == [Phase.DECIDED] * 7


@pytest.mark.parametrize(
    ("text", "why"),
    firsts(
        2,
        [
            ("no JSON", "holds something else"),
            ('[["lessons", true, {"trial_id": "x", "colour": 1}]]', "does not fit its tables"),
            ('[["trials", true, {}]]', "holds something else"),
            ('[["nothing", true, {}]]', "holds something else"),
            ("{}" * 2, "holds something else"),
            ('[["trials", true, {"trial_id": "c-night-00001"}]]', "does not fit its tables"),
        ],
        rest=pytest.mark.system,
    ),
)
def test_a_journal_that_is_something_else_is_damage(tmp_path: Path, text: str, why: str) -> None:
    records = make_records(2, prompt_chars=10)
    path = tmp_path / "store.duckdb"
    with Store.open(path) as store:
        written(store, records, 3)
        publish(store, tmp_path / "snapshot")
        expected = rows_of(store)
    with duckdb.connect(str(path)) as connection:
        connection.execute("INSERT INTO raw.journal VALUES (0, ?)", [text])
    before = path.read_bytes()
    with pytest.raises(HaltError, match=rf"the store is damaged \(its journal {why}"):
        Store.open(path)
    assert path.read_bytes() == before
    assert why in (damage_of(path) or ""), "the reading through that opening does is what restoring goes by"
    exchange(build(path), path)
    with Store.open(path) as again:
        assert rows_of(again) == expected


@settings(max_examples=examples(60), deadline=None)
@given(st.lists(st.tuples(st.sampled_from("abcd"), st.booleans(), st.text("xyz", max_size=3)), max_size=30))
def test_folding_at_any_time_is_writing_at_once(steps: list[tuple[str, bool, str]]) -> None:
    """Lessons by key: added when there is none yet, changed otherwise; folded wherever a step says so."""
    known: dict[str, str] = {}
    with duckdb.connect(":memory:") as connection:
        migrate(connection)
        for number, (key, asked, text) in enumerate(steps):
            changes = {"trial_id": key, "text": text}
            fresh = {"campaign_id": "c", "source": "rule", "created_at": "2026-01-01T00:00:00"}
            entry: Entry = ("lessons", key not in known, changes if key in known else {**changes, **fresh})
            known[key] = text
            write_entries(connection, number, [entry])
            if asked:
                fold(connection)
        fold(connection)
        found = connection.execute("SELECT trial_id, text FROM raw.lessons").fetchall()
        assert dict(found) == known and len(found) == len(known)
        assert read_entries(connection) == []


def test_rows_without_a_key_are_all_there_and_in_order() -> None:
    spans: list[Entry] = [("spans", True, {"trial_id": "t", "node": n, "part": "p", "seconds": 1.0}) for n in "aba"]
    new, changed = merged(spans)
    assert [row["node"] for row in new["spans"]] == ["a", "b", "a"] and changed == []


def test_what_need_not_be_flushed_goes_with_the_next_transaction(tmp_path: Path) -> None:
    records = make_records(3, prompt_chars=10)
    with Store.open(tmp_path / "store.duckdb") as store:
        written(store, records, 0)
        one, other = (trial.trial_id for trial in records.trials[1:3])
        first = store.trial(one).lesson
        with store.transaction(flush=False):
            store.update_trial(one, lesson="later")
        assert store.trial(one).lesson == "later"
        before = killed(store, tmp_path / "before")
        with pytest.raises(ZeroDivisionError), store.transaction():
            store.update_trial(one, lesson="never")
            raise ZeroDivisionError
        assert store.trial(one).lesson == "later", "it was no part of what was rolled back"
        with store.transaction(flush=False):
            store.update_trial(one, lesson="once more")
        store.update_trial(other, lesson="now")
        after = killed(store, tmp_path / "after")
        with store.transaction(flush=False):
            store.update_trial(one, lesson="published")
        publish(store, tmp_path / "snapshot")
        shown = killed(store, tmp_path / "shown")
    for path, expected in ((before, first), (after, "once more"), (shown, "published")):
        with Store.open(path) as again:
            assert again.trial(one).lesson == expected, path
