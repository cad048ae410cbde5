"""The documented views: their columns are a promise, their rows agree with the records."""

from collections.abc import Iterator

import pytest

from memory.publish import publish
from memory.reader import VIEWS, Reader
from memory.store import Store
from tests.support.rows import CampaignRecords, make_records, write_records

FIRST_COLUMNS = {
    "trials": ["trial", "status", "edit", "metric", "gain", "gain_low", "gain_high", "p_improve"],
    "measurements": ["trial", "seed_index", "seed", "state", "score", "val_bpb"],
    "curves": ["trial", "seed_index", "step", "tokens", "elapsed_s", "loss"],
    "calls": ["trial", "attempt", "position", "proposer", "model", "raw_reply"],
    "verdicts": ["trial", "attempt", "position", "rail", "ok", "reason"],
    "lessons": ["trial", "text", "source"],
    "near_misses": ["trial", "edit", "gain", "gain_low", "gain_high", "p_improve", "campaign"],
    "noise": ["sd", "df", "programs"],
    "campaigns": ["campaign", "branch", "proposer"],
    "lineage_blocks": ["sha256", "text"],
    "spans": ["trial", "node", "part", "seconds"],
    "events": ["kind", "text", "trial"],
}


@pytest.fixture(scope="module")
def nights(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[list[CampaignRecords], Reader]]:
    folder = tmp_path_factory.mktemp("views")
    campaigns = [make_records(25, seed=1, tag="one"), make_records(12, seed=2, tag="two")]
    with Store.open(folder / "store.duckdb") as store:
        for records in campaigns:
            write_records(store, records)
        publish(store, folder / "snapshot")
    with Reader.open(folder / "snapshot") as reader:
        yield campaigns, reader


@pytest.mark.parametrize("view", VIEWS)
def test_stable_columns(view: str, nights: tuple[list[CampaignRecords], Reader]):
    columns = nights[1].query(f"SELECT * FROM {view} LIMIT 0").columns
    assert columns[: len(FIRST_COLUMNS[view])] == FIRST_COLUMNS[view]
    assert "campaign" in columns


@pytest.mark.parametrize(
    ("view", "rows"),
    [("trials", "trials"), ("measurements", "measurements"), ("calls", "calls"), ("verdicts", "verdicts")],
)
def test_every_row_is_there_once(view: str, rows: str, nights: tuple[list[CampaignRecords], Reader]):
    campaigns, reader = nights
    for records in campaigns:
        found = reader.query(f"SELECT count(*) FROM {view} WHERE campaign = '{records.campaign.tag}'").rows
        assert found == [[len(getattr(records, rows))]]


def test_trials_speak_in_numbers_and_words(nights: tuple[list[CampaignRecords], Reader]):
    campaigns, reader = nights
    records = campaigns[0]
    found = reader.query(
        "SELECT trial, status, edit, knob, value, metric, parent, measurements FROM trials WHERE campaign = 'one'"
    ).rows
    seqs = {trial.trial_id: trial.seq for trial in records.trials}
    for trial, row in zip(records.trials, found, strict=True):
        edit = trial.edit or {"knob": None, "value": None}
        value = None if edit["value"] is None else str(edit["value"])
        parent = seqs.get(trial.parent_trial_id or "")
        expected = [trial.seq, trial.status, trial.edit_key, edit["knob"], value, trial.metric, parent]
        assert row == [*expected, trial.n_measurements]


def test_curves_are_unrolled_in_step(nights: tuple[list[CampaignRecords], Reader]):
    campaigns, reader = nights
    curve = campaigns[0].curves[0]
    found = reader.query(
        "SELECT step, tokens, elapsed_s, loss FROM curves "
        f"WHERE measurement_id = '{curve.measurement_id}' ORDER BY step"
    ).rows
    assert found == [list(point) for point in zip(curve.step, curve.tokens, curve.elapsed_s, curve.loss, strict=True)]


def test_campaigns_count_their_trials(nights: tuple[list[CampaignRecords], Reader]):
    assert nights[1].query("SELECT campaign, trials FROM campaigns").rows == [["one", 25], ["two", 12]]
