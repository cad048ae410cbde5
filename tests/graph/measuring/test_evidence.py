"""Which measurements of the incumbent are how old: told by whose trial they were made for, and by nobody's clock."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from graph.measuring.evidence import ClockEvidence, clock_evidence
from graph.services import Services
from memory.records import MeasurementState, Purpose, Trial
from memory.store import Store
from rails.clocks import counts_time
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

    def measure(self, trial: Trial, seeds: list[int], *, on_behalf_of: Trial | None = None, **fields: Any) -> None:
        for seed in seeds:
            behalf: dict[str, Any] = {"for_trial_id": (on_behalf_of or trial).trial_id}
            done = make_measurement(trial, seed, 1.7, **behalf | fields)
            blank = {"state": MeasurementState.RUNNING, "score": None, "finished_at": None}
            self.store.open_measurement(done.model_copy(update=blank))
            self.store.finish_measurement(done, None)

    def age(self, trial: Trial) -> int:
        return self.clock(trial)["since_control"]

    def clock(self, trial: Trial) -> ClockEvidence:
        trainer = SimpleNamespace(wall_clock=counts_time(self.kind))
        services = SimpleNamespace(store=self.store, trainer=trainer, campaign=self.campaign)
        services.measured = partial(Services.measured, cast(Services, services))
        services.trial = self.store.trial
        found = clock_evidence(cast(Services, services), trial, trial.parent_trial_id)
        assert found["on_clock"] == (self.kind in {"seconds", "cpu_seconds"})
        return found


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(tmp_path / "store.duckdb") as opened:
        yield opened


def test_a_baselines_measurements_age_with_every_trial(store: Store) -> None:
    night = Night(store)
    baseline = night.trial([0, 1, 2])
    assert [night.age(night.trial([0], baseline)) for _ in range(15)] == list(range(1, 16))


@pytest.mark.parametrize("kind", ["seconds", "cpu_seconds"])
def test_a_control_makes_the_incumbent_young_again_and_belongs_to_its_trial(store: Store, kind: str) -> None:
    night = Night(store, kind)
    baseline = night.trial([0, 1, 2])
    night.trial([2], baseline)
    promising = night.trial([2, 1, 3], baseline)
    assert (night.age(promising), night.clock(promising)["controls"]) == (2, frozenset())
    night.measure(baseline, [3], on_behalf_of=promising)
    assert (night.age(promising), night.clock(promising)["controls"]) == (0, {3})
    next_one = night.trial([3], baseline)
    assert (night.age(next_one), night.clock(next_one)["controls"]) == (1, frozenset())


def test_a_new_incumbent_was_measured_in_its_own_trial(store: Store) -> None:
    night = Night(store)
    baseline = night.trial([0, 1, 2])
    kept = night.trial([2, 1, 3], baseline)
    night.measure(baseline, [3], on_behalf_of=kept)
    assert night.age(night.trial([3], kept)) == 1


def test_in_a_store_of_before_a_measurement_is_as_old_as_its_program(store: Store) -> None:
    night = Night(store)
    night.trial([0])
    before = night.trial([])
    night.measure(before, [0, 1, 2], for_trial_id=None)
    assert night.age(night.trial([0], before)) == 1


def test_what_is_measured_at_the_end_is_no_control(store: Store) -> None:
    night = Night(store)
    baseline = night.trial([0, 1, 2])
    night.trial([0], baseline)
    night.measure(baseline, [1000], purpose=Purpose.FINAL)
    assert night.age(night.trial([0], baseline)) == 2


def test_another_machine_has_controls_of_its_own(store: Store) -> None:
    night = Night(store)
    baseline = night.trial([0, 1, 2])
    for _ in range(3):
        night.trial([0], baseline)
    night.campaign = CAMPAIGN.model_copy(update={"hardware_fingerprint": "gpu-8"})
    night.measure(baseline, [0], machine="gpu-8", measurement_id="again")
    asked = night.trial([], baseline)
    assert night.age(asked) == 4, "measured again, but for its own trial"
    night.measure(baseline, [3], on_behalf_of=asked, machine="gpu-8", measurement_id="control")
    assert (night.age(asked), night.clock(asked)["controls"]) == (0, {3})
    night.campaign = CAMPAIGN
    assert night.age(asked) == 4, "the first machine has not seen that control"


def test_a_budget_of_steps_has_no_age(store: Store) -> None:
    night = Night(store, kind="steps")
    baseline = night.trial([0, 1, 2])
    assert [night.age(night.trial([0], baseline)) for _ in range(3)] == [0, 0, 0]
