"""How old the incumbent's control is, told from the seeds in the store and from nobody's clock."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from graph.measuring.evidence import clock_evidence
from graph.services import Services
from memory.keep.sequential import REFRESH_TRIALS
from memory.records import MeasurementState, Purpose, Trial
from memory.store import Store
from tests.support.rows import make_campaign, make_measurement, make_trial

CAMPAIGN = make_campaign()


class Night:
    """A campaign in a store, trial by trial."""

    def __init__(self, store: Store, kind: str = "seconds") -> None:
        store.add_campaign(CAMPAIGN)
        self.store, self.kind, self.count = store, kind, 0
        self.campaign = CAMPAIGN

    def trial(self, seeds: list[int], parent: Trial | None = None) -> Trial:
        trial = make_trial(CAMPAIGN, self.count, parent_trial_id=parent.trial_id if parent else None)
        self.count += 1
        self.store.open_trial(trial)
        self.measure(trial, seeds)
        return trial

    def measure(self, trial: Trial, seeds: list[int], **fields: Any) -> None:
        for seed in seeds:
            done = make_measurement(trial, seed, 1.7, **fields)
            blank = {"state": MeasurementState.RUNNING, "val_bpb": None, "finished_at": None}
            self.store.open_measurement(done.model_copy(update=blank))
            self.store.finish_measurement(done, None)

    def age(self, trial: Trial) -> int:
        task = SimpleNamespace(budget=SimpleNamespace(kind=self.kind))
        services = SimpleNamespace(store=self.store, task=task, campaign=self.campaign)
        services.measured = partial(Services.measured, cast(Services, services))
        found = clock_evidence(cast(Services, services), trial)
        assert found["wall_clock"] == (self.kind == "seconds")
        return found["since_control"]


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(tmp_path / "store.duckdb") as opened:
        yield opened


def test_a_baselines_measurements_age_with_every_trial(store: Store) -> None:
    night = Night(store)
    baseline = night.trial([0, 1, 2])
    ages = [night.age(night.trial([0], baseline)) for _ in range(REFRESH_TRIALS + 3)]
    assert ages == [*range(1, REFRESH_TRIALS), *[REFRESH_TRIALS] * 4]


@pytest.mark.parametrize("seeds", [[0], [0, 1, 2]])
def test_a_control_makes_the_incumbent_young_again(store: Store, seeds: list[int]) -> None:
    night = Night(store)
    baseline = night.trial(seeds)
    night.trial([0], baseline)
    promising = night.trial([0, 3], baseline)
    assert night.age(promising) == 2
    night.measure(baseline, [3])
    assert night.age(promising) == 0
    assert night.age(night.trial([0], baseline)) == 1
    assert night.age(night.trial([0], baseline)) == 2


def test_a_new_incumbent_was_measured_in_its_own_trial(store: Store) -> None:
    night = Night(store)
    baseline = night.trial([0, 1, 2])
    kept = night.trial([0, 3, 4], baseline)
    night.measure(baseline, [3, 4])
    assert night.age(night.trial([0], kept)) == 1


def test_what_is_measured_at_the_end_is_no_control(store: Store) -> None:
    night = Night(store)
    baseline = night.trial([0, 1, 2])
    night.trial([0], baseline)
    night.measure(baseline, [1000], purpose=Purpose.FINAL)
    assert night.age(night.trial([0], baseline)) == 2


def test_another_machine_has_controls_of_its_own(store: Store) -> None:
    night = Night(store)
    baseline = night.trial([0, 1, 2])
    for _ in range(REFRESH_TRIALS):
        night.trial([0], baseline)
    moved = {"machine": "gpu-8", "measurement_id": "again"}
    night.campaign = CAMPAIGN.model_copy(update={"hardware_fingerprint": "gpu-8"})
    night.measure(baseline, [0], **moved)
    asked = night.trial([], baseline)
    assert night.age(asked) == REFRESH_TRIALS, "nothing but its first seed, so its trial's age is its own"
    night.measure(asked, [3], **moved | {"measurement_id": "candidate"})
    night.measure(baseline, [3], **moved | {"measurement_id": "control"})
    assert night.age(asked) == 0
    night.campaign = CAMPAIGN
    assert night.age(asked) == REFRESH_TRIALS, "the first machine has not seen that control"


def test_a_budget_of_steps_has_no_age(store: Store) -> None:
    night = Night(store, kind="steps")
    baseline = night.trial([0, 1, 2])
    assert [night.age(night.trial([0], baseline)) for _ in range(3)] == [0, 0, 0]
