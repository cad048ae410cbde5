"""What a night cost, and what it does not know of its costs."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memory.database.queries import ModelCalls
from memory.figures.campaign import ReportData
from memory.figures.costs import costs_of
from rails.status import Status
from tests.support.report_data import Night

NO_CALLS = ModelCalls(requests=0, priced=0, usd=None, prompt_tokens=None, completion_tokens=None)


def night(**campaign: object) -> ReportData:
    made = Night([2.0, 2.02, 1.98])
    parts = {"joules": 100.0, "propose_joules": 10.0, "train_joules": 60.0, "score_joules": 20.0}
    made.add(Status.KEEP, [1.9], gain=0.05, gain_low=0.03, gain_high=0.07, usd=0.25, **parts)
    made.add(Status.KEEP, [1.89], gain=0.005, gain_low=-0.01, gain_high=0.02, **parts)
    made.add(Status.KEEP, [1.8], gain=0.04, gain_low=0.02, gain_high=0.06, **parts)
    return made.data(**campaign)


def with_calls(data: ReportData, **calls: object) -> ReportData:
    fields = {"requests": 4, "priced": 4, "usd": 1.0, "prompt_tokens": 10, "completion_tokens": 5, **calls}
    return ReportData(
        campaign=data.campaign,
        trials=data.trials,
        measurements=data.measurements,
        events=data.events,
        noise=data.noise,
        own_noise=data.own_noise,
        seconds_by_part={},
        calls=ModelCalls(**fields),  # type: ignore[arg-type]
    )


def test_energy_is_shared_out_over_confirmed_keeps() -> None:
    costs = costs_of(night(joules=7.2e6), usd_per_kwh=0.5)
    assert (costs.keeps, costs.confirmed) == (3, 2)
    assert costs.energy.total == 7.2e6
    assert costs.energy_usd == pytest.approx(1.0)
    assert costs.joules_per_confirmed == 3.6e6
    assert costs.energy_usd_per_confirmed == pytest.approx(0.5)


def test_what_was_not_measured_is_not_known() -> None:
    made = Night([2.0])
    costs = costs_of(made.data(), usd_per_kwh=0.5)
    assert costs.energy.total is None and costs.energy.rest is None and costs.energy.trials_measured == 0
    assert costs.energy_usd is None and costs.joules_per_confirmed is None


def test_without_a_price_joules_are_not_made_into_dollars() -> None:
    costs = costs_of(night(joules=7.2e6))
    assert costs.usd_per_kwh is None and costs.energy_usd is None and costs.joules_per_confirmed == 3.6e6


def test_the_price_is_that_of_the_task_unless_another_is_given() -> None:
    data = night(joules=3.6e6, task={"energy": {"usd_per_kwh": 0.2}})
    assert costs_of(data).energy_usd == pytest.approx(0.2)
    assert costs_of(data, 0.4).energy_usd == pytest.approx(0.4)
    assert costs_of(night(joules=3.6e6, task={"energy": {"usd_per_kwh": True}})).usd_per_kwh is None


def test_the_parts_are_sums_and_the_rest_is_what_is_left() -> None:
    energy = costs_of(night(joules=400.0)).energy
    assert (energy.proposing, energy.training, energy.scoring) == (30.0, 180.0, 60.0)
    assert energy.rest == pytest.approx(130.0)
    assert energy.trials_measured == 3
    assert costs_of(night()).energy.total == 300.0, "of a log without a total, its trials'"


def test_no_confirmed_keep_has_no_price() -> None:
    made = Night([2.0, 2.02])
    made.add(Status.DISCARD, [2.01])
    costs = costs_of(made.data(joules=100.0), 0.3)
    assert costs.joules_per_confirmed is None and costs.energy_usd_per_confirmed is None


def test_models_cost_what_their_calls_say() -> None:
    costs = costs_of(with_calls(night()))
    assert (costs.api_usd, costs.api_requests, costs.api_unpriced) == (1.0, 4, 0)
    assert costs.api_usd_per_confirmed == 0.5


def test_a_price_that_is_not_known_stays_so() -> None:
    some = costs_of(with_calls(night(), priced=3))
    assert (some.api_usd, some.api_unpriced, some.api_usd_per_confirmed) == (1.0, 1, None)
    none = costs_of(with_calls(night(), priced=0, usd=None))
    assert (none.api_usd, none.api_unpriced, none.api_usd_per_confirmed) == (None, 4, None)


def test_who_asked_no_model_paid_nothing_and_a_log_does_not_say() -> None:
    own, log = Night([2.0]).data(), Night([2.0]).data(source="their.tsv")
    assert (costs_of(own).api_usd, costs_of(own).api_requests) == (0.0, 0)
    assert (costs_of(log).api_usd, costs_of(log).api_requests) == (None, None)


@given(
    total=st.floats(0, 1e9),
    price=st.floats(0, 100),
    parts=st.lists(st.tuples(*[st.floats(0, 1e6)] * 3), min_size=1, max_size=5),
)
def test_no_part_is_below_zero_and_prices_scale(
    total: float, price: float, parts: list[tuple[float, float, float]]
) -> None:
    made = Night([2.0])
    for one, two, three in parts:
        made.add(Status.DISCARD, [2.0], propose_joules=one, train_joules=two, score_joules=three)
    costs = costs_of(made.data(joules=total), price)
    assert costs.energy.rest is not None and costs.energy.rest >= 0
    assert costs.energy_usd == pytest.approx(total / 3.6e6 * price)
