"""Near misses: the definition at its edges, and the SQL view as its twin."""

from dataclasses import replace
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from memory.keep.near_misses import near_misses
from memory.publish import publish
from memory.reader import Reader
from memory.records import Phase, Trial, TrialKind
from memory.statistics.noise import Noise, pooled_noise
from memory.store import Store
from rails.status import Status
from tests.support.many_trials import fill_store
from tests.support.rows import make_campaign, make_records, make_trial, write_records

CAMPAIGN = make_campaign()
UNKNOWN = Noise(sd=None, df=0)


def done(seq: int, gain: float | None, status: Status = Status.DISCARD, **fields: Any) -> Trial:
    scored = {"metric": 2.0} if status in {Status.DISCARD, Status.KEEP, Status.BASELINE} else {}
    extra = {"status": status, "phase": Phase.DECIDED, "reason": "r", "gain": gain, "edit_key": f"e{seq}", **scored}
    return make_trial(CAMPAIGN, seq, **{**extra, **fields})


BASELINE = done(0, None, Status.BASELINE)


@pytest.mark.parametrize(
    ("trial", "noise", "near"),
    [
        (done(1, 0.001), UNKNOWN, True),
        (done(1, 0.0), UNKNOWN, False),
        (done(1, -0.001), UNKNOWN, False),
        (done(1, None), Noise(sd=1.0, df=2), False),
        (done(1, -0.001), Noise(sd=0.002, df=2), True),  # sd 0.002 on a baseline of 2.0 is a gain of 0.001
        (done(1, -0.0011), Noise(sd=0.002, df=2), False),
        (done(1, 0.0), Noise(sd=0.0, df=2), True),
        (done(1, 0.01, gain_low=0.005), UNKNOWN, True),
        (done(1, 0.01, Status.KEEP), UNKNOWN, False),
        (done(1, 0.01, Status.CRASH), UNKNOWN, False),
        (done(1, 0.01, Status.INTERRUPTED), UNKNOWN, False),
    ],
)
def test_definition(trial: Trial, noise: Noise, near: bool):
    assert [miss.trial for miss in near_misses([BASELINE, trial], noise)] == ([1] if near else [])


def test_best_evidence_comes_first():
    trials = [
        done(1, 0.02),
        done(2, 0.01, p_improve=0.6),
        done(3, 0.005, p_improve=0.9),
        done(4, 0.03, p_improve=0.6),
        done(5, 0.02),
    ]
    assert [miss.trial for miss in near_misses(trials, UNKNOWN)] == [3, 4, 2, 1, 5]
    assert [miss.trial for miss in near_misses(trials, UNKNOWN, limit=2)] == [3, 4]


@pytest.mark.system
def test_view_and_function_agree(tmp_path: Path):
    @settings(max_examples=5, deadline=None)
    @given(st.lists(st.tuples(st.integers(0, 25), st.integers(0, 99)), min_size=1, max_size=2))
    def check(nights: list[tuple[int, int]]):
        folder = Path(mkdtemp(dir=tmp_path))
        # Without what was shown to models: two nights of the same text would write it twice.
        made = [replace(make_records(*night, tag=f"night{n}"), blocks=[]) for n, night in enumerate(nights)]
        with Store.open(fill_store(folder / "store.duckdb", *made)) as store:
            publish(store, folder / "snapshot")
            with Reader.open(folder / "snapshot") as reader:
                for campaign in store.campaigns():
                    noise = store.noise(campaign.campaign_id)
                    found = near_misses(store.trials(campaign.campaign_id), noise)
                    view = reader.query(f"SELECT * EXCLUDE campaign FROM near_misses WHERE campaign = '{campaign.tag}'")
                    assert view.columns == ["trial", "edit", "gain", "gain_low", "gain_high", "p_improve"]
                    assert view.rows == [list(miss.model_dump().values()) for miss in found]

    check()


def test_noise_is_pooled_over_replicates():
    assert pooled_noise([]) == UNKNOWN
    assert pooled_noise([[1.0], [2.0]]) == UNKNOWN
    found = pooled_noise([[1.0, 3.0], [5.0, 5.0, 5.0], [7.0]])
    assert found.df == 3
    assert found.sd == pytest.approx((2.0 / 3) ** 0.5)


def test_noise_leaves_out_the_same_seed_and_trials_that_failed(tmp_path: Path):
    from tests.support.rows import make_measurement

    records = make_records(0)
    with Store.open(tmp_path / "store.duckdb") as store:
        write_records(store, records)
        campaign_id = records.campaign.campaign_id
        before = store.noise(campaign_id)
        assert before.df == 2
        for seq, status, seed in ((1, Status.DISCARD, 1000), (2, Status.INTERRUPTED, 5), (3, Status.DISQUALIFIED, 6)):
            trial = make_trial(records.campaign, seq, program_key=records.trials[0].program_key)
            store.open_trial(trial)
            measurement = make_measurement(trial, 0, 9.0, seed=seed)
            store.open_measurement(measurement.model_copy(update={"attempt": 0}))
            numbers = {"metric": 9.0} if status is Status.DISCARD else {}
            final = {**trial.model_dump(), "status": status, "phase": Phase.DECIDED, "reason": "r", **numbers}
            store.decide(Trial.model_validate(final), None, None, None)
        assert store.noise(campaign_id) == before
        assert records.trials[0].kind is TrialKind.BASELINE
