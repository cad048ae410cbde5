"""Energy by part: what the machine took while somebody was waited for, and None for whatever nobody knows whole."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from graph.limits.meters import EnergyPart, Meters, TrialEnergy
from graph.runner import Runner
from graph.services import Services
from memory.records import Phase, Trial
from rails.status import Status
from tests.support.nights import Endpoint, Killed, Listener, kill, rows
from tests.support.rows import make_campaign, make_trial
from tests.support.workspaces import make_quick_workspace, standin_campaign

PARTS = ("propose_joules", "train_joules", "score_joules")


class Dial:
    """A meter that stands where it is put."""

    def __init__(self, joules: float) -> None:
        self.last: float | None = joules

    def read_joules(self) -> float | None:
        return self.last


class PerReading:
    """A meter that counts one joule a reading, until it is lost."""

    def __init__(self, lost_after: int | None = None) -> None:
        self.readings, self.lost_after = 0, lost_after

    def read_joules(self) -> float | None:
        self.readings += 1
        return None if self.lost_after is not None and self.readings > self.lost_after else float(self.readings)


def energy_at(joules: float, resumed: Trial | None = None) -> tuple[Dial, TrialEnergy]:
    meter = Dial(joules)
    return meter, Meters(make_campaign(), meter).begin_trial(resumed)


def test_parts_are_what_the_machine_took_meanwhile() -> None:
    meter = Dial(100.0)
    meters = Meters(make_campaign(), meter)
    energy = meters.begin_trial()
    for part, taken in (("propose", 5.0), ("train", 70.0), ("score", 20.0), ("train", 30.0)):
        meter.last = (meter.last or 0.0) + 1.0  # the loop's own
        with energy.part(EnergyPart(part)):
            meter.last += taken
    expected = {"joules": 129.0, "propose_joules": 5.0, "train_joules": 100.0, "score_joules": 20.0}
    assert energy.fields == pytest.approx(expected)
    assert meters.begin_trial().fields == dict.fromkeys(expected, 0.0)


def test_a_part_that_fails_counts_all_the_same() -> None:
    meter, energy = energy_at(0.0)
    with pytest.raises(ZeroDivisionError), energy.part(EnergyPart.TRAIN):
        meter.last = 8.0
        raise ZeroDivisionError
    assert energy.fields["train_joules"] == pytest.approx(8.0)


def test_a_pause_inside_a_part_is_left_out_of_it_and_of_the_trial() -> None:
    meter = Dial(0.0)
    meters = Meters(make_campaign(), meter)
    energy = meters.begin_trial()
    with energy.part(EnergyPart.PROPOSE):
        meter.last = 3.0
        with meters.paused():
            meter.last = 1000.0
        meter.last = 1004.0
    assert energy.fields["propose_joules"] == pytest.approx(7.0)
    assert energy.fields["joules"] == pytest.approx(7.0)
    assert meters.joules == pytest.approx(7.0)


def test_without_a_meter_nothing_is_known() -> None:
    energy = Meters(make_campaign(), None).begin_trial()
    with energy.part(EnergyPart.TRAIN):
        pass
    assert set(energy.fields.values()) == {None}


def test_a_meter_lost_in_a_part_leaves_that_part_and_the_whole_unknown() -> None:
    meter, energy = energy_at(0.0)
    with energy.part(EnergyPart.PROPOSE):
        meter.last = 5.0
    with energy.part(EnergyPart.TRAIN):
        meter.last = None
    with energy.part(EnergyPart.TRAIN):
        pass
    expected = {"joules": None, "propose_joules": 5.0, "train_joules": None, "score_joules": 0.0}
    assert energy.fields == expected


@pytest.mark.parametrize(
    ("phase", "repairs", "known"),
    [
        (Phase.OPENED, 0, True),
        (Phase.PROPOSED, 0, True),
        (Phase.RAILED, 0, True),
        (Phase.RAILED, 1, False),
        (Phase.RUNNING, 0, False),
        (Phase.MEASURED, 0, False),
    ],
)
def test_of_a_trial_that_goes_on_only_what_had_not_begun_is_known(phase: Phase, repairs: int, known: bool) -> None:
    meter, energy = energy_at(50.0, make_trial(make_campaign(), 3, phase=phase, repairs=repairs))
    for part in EnergyPart:
        with energy.part(part):
            meter.last = (meter.last or 0.0) + 4.0
    found = energy.fields
    assert found["joules"] is None
    assert found["propose_joules"] is None
    assert found["train_joules"] == found["score_joules"] == (pytest.approx(4.0) if known else None)


@given(st.lists(st.tuples(st.sampled_from(EnergyPart), st.integers(0, 50), st.integers(0, 50)), max_size=12))
def test_parts_never_add_up_to_more_than_the_whole(visits: list[tuple[EnergyPart, int, int]]) -> None:
    meter, energy = energy_at(0.0)
    own = 0
    for part, before, within in visits:
        meter.last = (meter.last or 0.0) + before
        own += before
        with energy.part(part):
            meter.last += within
    found = {name: joules or 0.0 for name, joules in energy.fields.items()}
    assert found["joules"] - sum(found[name] for name in PARTS) == own


def run_with(services: Services, meter: PerReading) -> list[Trial]:
    services.meter = meter
    Runner(services).run()
    return services.store.trials(services.campaign_id)


@pytest.mark.system
def test_a_campaign_stores_energy_by_part(tmp_path: Path) -> None:
    root = make_quick_workspace(tmp_path, baseline_seeds=3)
    with standin_campaign(root, proposer=Endpoint(rows(4), rows(999), rows(16), rows(2))) as services:
        services.limits = services.limits.model_copy(update={"trials": 2})
        baseline, *searched = run_with(services, PerReading())
    assert (baseline.propose_joules, len(searched)) == (0.0, 2)
    for trial in (baseline, *searched):
        parts = [trial.propose_joules, trial.train_joules, trial.score_joules]
        assert trial.joules is not None
        assert None not in parts
        assert sum(part or 0.0 for part in parts) < trial.joules
    assert all((trial.train_joules or 0.0) > 0 for trial in searched)
    assert searched[1].propose_joules == pytest.approx(2 * (searched[0].propose_joules or 0.0))  # it was corrected


@pytest.mark.system
def test_a_trial_killed_in_training_has_no_energy_but_the_next_one_has(tmp_path: Path) -> None:
    root = make_quick_workspace(tmp_path, baseline_seeds=3)
    with (
        pytest.raises(Killed),
        standin_campaign(root, proposer=Endpoint(rows(4)), observer=Listener("training 1", kill)) as services,
    ):
        run_with(services, PerReading())
    with standin_campaign(root, proposer=Endpoint(rows(16))) as services:
        services.limits = services.limits.model_copy(update={"trials": 2})
        _, killed, after = run_with(services, PerReading())
    assert killed.status in {Status.KEEP, Status.DISCARD}
    assert [killed.joules, killed.propose_joules, killed.train_joules, killed.score_joules] == [None] * 4
    assert None not in (after.joules, after.propose_joules, after.train_joules, after.score_joules)


@pytest.mark.system
def test_a_meter_lost_in_the_night_ends_all_that_is_known(tmp_path: Path) -> None:
    root = make_quick_workspace(tmp_path, baseline_seeds=3)
    with standin_campaign(root, proposer=Endpoint(rows(4), rows(16))) as services:
        services.limits = services.limits.model_copy(update={"trials": 2})
        trials = run_with(services, PerReading(lost_after=30))
    assert trials[0].joules is not None
    assert [trials[2].joules, trials[2].propose_joules, trials[2].train_joules, trials[2].score_joules] == [None] * 4
