"""Pairs: what two programs have in common from seed to seed, and which of a campaign's trials say it."""

from pathlib import Path

import pytest

from memory.records import MeasurementState
from memory.statistics.pairs import pair_spread
from memory.store import Store
from rails.status import FINISHED, Status
from tests.support.rows import make_campaign, make_measurement, make_trial

CAMPAIGN = make_campaign()


def test_the_spread_of_pairs_and_of_independent_measurements() -> None:
    spread = pair_spread({0: 1.0, 1: 1.2, 2: 1.7, 9: 5.0}, {0: 1.1, 1: 1.3, 2: 1.8, 7: 0.0})
    assert spread is not None
    assert spread.df == 2
    assert spread.squares(1.0) == pytest.approx(0.0, abs=1e-12), "they differ by the same everywhere"
    assert spread.squares(0.0) == pytest.approx(spread.candidate) == pytest.approx(0.26)
    assert pair_spread({0: 1.0, 1: 2.0}, {0: 1.0}) is None


def test_the_store_knows_the_pairs_of_its_finished_trials(tmp_path: Path) -> None:
    with Store.open(tmp_path / "store.duckdb") as store:
        store.add_campaign(CAMPAIGN)

        def trial(status: Status | None, scores: list[float], parent: str | None) -> str:
            number = len(store.trials(CAMPAIGN.campaign_id))
            metric = scores[0] if status in FINISHED else None
            opened = make_trial(
                CAMPAIGN, number, parent_trial_id=parent, status=status, metric=metric, reason="it peeked"
            )
            store.open_trial(opened)
            for seed, score in enumerate(scores):
                done = make_measurement(opened, seed, score)
                store.open_measurement(done.model_copy(update={"state": MeasurementState.RUNNING, "score": None}))
                store.finish_measurement(done, None)
            return opened.trial_id

        baseline = trial(Status.BASELINE, [1.7, 1.8, 1.9], None)
        trial(Status.DISCARD, [1.71, 1.81, 1.93], baseline)
        trial(Status.DISCARD, [1.9], baseline)
        trial(Status.DISQUALIFIED, [1.0, 1.5, 1.2], baseline)
        in_hand = trial(None, [1.6, 1.9], baseline)
        (known,) = store.store_pairs(CAMPAIGN.campaign_id)
        assert known == pair_spread({0: 1.71, 1: 1.81, 2: 1.93}, {0: 1.7, 1: 1.8, 2: 1.9})
        store.update_trial(in_hand, status=Status.DISCARD, metric=1.75)
        added = store.store_pairs(CAMPAIGN.campaign_id)[1]
        assert (added.df, added.squares(0.0), added.squares(1.0)) == (1, pytest.approx(0.045), pytest.approx(0.02))
    with Store.open(tmp_path / "store.duckdb") as reopened:
        assert len(reopened.store_pairs(CAMPAIGN.campaign_id)) == 2
