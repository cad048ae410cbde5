"""Running time and energy: by clocks that never jump, over all loops, without pauses."""

import time
from collections.abc import Iterator

import pytest

from graph.limits.meters import Meters, metered
from rails.errors import UserError
from rails.task import LimitsConfig
from tests.support.rows import make_campaign


class Counting:
    """A meter that says what it is told to."""

    def __init__(self, *joules: float | None) -> None:
        self.joules = iter(joules)
        self.last: float | None = None

    def read_joules(self) -> float | None:
        self.last = next(self.joules, self.last)
        return self.last


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[float]]:
    now = [1000.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    yield now


def test_running_time_goes_on_from_what_is_stored_and_leaves_pauses_out(clock: list[float]) -> None:
    meters = Meters(make_campaign().model_copy(update={"active_s": 50.0}), None)
    clock[0] += 10
    assert meters.active_s == pytest.approx(60.0)
    with meters.paused():
        clock[0] += 500
    clock[0] += 5
    assert meters.active_s == pytest.approx(65.0)
    assert meters.joules is None
    assert meters.begin_trial().fields["joules"] is None


def test_energy_goes_on_from_what_is_stored_and_leaves_pauses_out() -> None:
    meter = Counting(100.0)
    meters = Meters(make_campaign().model_copy(update={"joules": 7.0}), meter)
    meter.joules = iter([130.0])
    assert meters.joules == pytest.approx(37.0)
    with meters.paused():
        meter.joules = iter([900.0])
        meter.read_joules()
    meter.joules = iter([905.0])
    assert meters.joules == pytest.approx(42.0)


def test_a_trial_counts_from_when_it_was_taken_up() -> None:
    meter = Counting(100.0)
    meters = Meters(make_campaign(), meter)
    meter.joules = iter([150.0])
    energy = meters.begin_trial()
    meter.joules = iter([175.0])
    assert energy.fields["joules"] == pytest.approx(25.0)


def test_a_lost_meter_keeps_what_was_counted_and_says_that_it_is_lost() -> None:
    meter = Counting(100.0)
    meters = Meters(make_campaign(), meter)
    meter.joules = iter([150.0])
    assert meters.spent.joules == pytest.approx(50.0)
    energy = meters.begin_trial()
    meter.joules = iter([None])
    meter.last = None
    assert meters.joules == pytest.approx(50.0)
    assert meters.spent.joules is None
    assert energy.fields["joules"] is None


def test_a_limit_of_joules_needs_a_meter(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trainer.energy.EnergyMeter.read_joules", lambda self: None)
    with pytest.raises(UserError, match="limit of 5 joules cannot be kept"), metered("cpu", LimitsConfig(joules=5.0)):
        pass
    with metered("cpu", LimitsConfig()):
        pass
