"""A store does not keep memory that the training could use, and loses nothing by giving it back."""

from pathlib import Path
from typing import Any

import pytest

from memory.store import Store
from tests.support.old_stores import rows_of
from tests.support.rows import make_records, write_records, write_trial

MIB = 2**20


def asked(store: Store, sql: str) -> Any:
    return store._fetch(sql)[0][0]  # pyright: ignore[reportPrivateUsage]


def cached_bytes(store: Store) -> int:
    return int(asked(store, "SELECT sum(memory_usage_bytes) FROM duckdb_memory() WHERE tag = 'BASE_TABLE'"))


@pytest.mark.system
def test_pages_are_given_back_and_every_row_is_still_there(tmp_path: Path) -> None:
    records = make_records(40, prompt_chars=100_000)
    path = tmp_path / "store.duckdb"
    with Store.open(path) as store:
        write_records(store, records)
    with Store.open(path) as store:
        limit = asked(store, "SELECT current_setting('memory_limit')")
        before = rows_of(store)
        kept = cached_bytes(store)
        assert kept > 2 * MIB
        store.free_pages()
        assert cached_bytes(store) < kept / 2
        assert asked(store, "SELECT current_setting('memory_limit')") == limit
        assert rows_of(store) == before


@pytest.mark.system
def test_nothing_is_spilled_beside_the_store(tmp_path: Path) -> None:
    path = tmp_path / "store.duckdb"
    with Store.open(path) as store:
        write_records(store, make_records(40, prompt_chars=100_000))
        rows_of(store)  # in the tables now, and not yet in the file
        store.free_pages()
        assert {file.name for file in tmp_path.iterdir()} <= {path.name, f"{path.name}.wal"}


def test_what_waits_for_the_next_commit_waits_on(tmp_path: Path) -> None:
    records = make_records(0)
    path = tmp_path / "store.duckdb"
    with Store.open(path) as store:
        store.add_campaign(records.campaign.model_copy(update={"incumbent_trial_id": None}))
        with store.transaction(flush=False):
            write_trial(store, records, records.trials[0])
        store.free_pages()
    with Store.open(path) as store:
        assert [trial.trial_id for trial in store.trials(records.campaign.campaign_id)] == [records.trials[0].trial_id]
