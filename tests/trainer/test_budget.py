import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trainer.budget import Budget, BudgetKind, Caps, Pace, Usage, caps_for, wall_cap_s


@pytest.mark.parametrize(
    ("kind", "usage"),
    [
        (BudgetKind.SECONDS, Usage(seconds=5.0)),
        (BudgetKind.CPU_SECONDS, Usage(seconds=5.0)),
        (BudgetKind.STEPS, Usage(steps=5, tokens=999, seconds=999.0)),
        (BudgetKind.TOKENS, Usage(tokens=5)),
        (BudgetKind.FLOPS, Usage(flops=5.0)),
    ],
)
def test_progress_counts_only_its_own_unit(kind: BudgetKind, usage: Usage) -> None:
    assert Budget(kind=kind, amount=20).progress(usage) == 0.25


@settings(deadline=None)
@given(st.floats(0.001, 1e9), st.integers(0, 10**9))
def test_progress_is_a_share(amount: float, steps: int) -> None:
    budget = Budget(kind=BudgetKind.STEPS, amount=amount)
    assert 0.0 <= budget.progress(Usage(steps=steps)) <= 1.0
    assert (budget.progress(Usage(steps=steps)) == 1.0) == (steps >= amount or math.isclose(steps, amount))


@pytest.mark.parametrize("amount", [0, -1.0, math.nan, math.inf])
def test_a_budget_is_positive_and_finite(amount: float) -> None:
    with pytest.raises(ValueError, match="positive finite"):
        Budget(kind=BudgetKind.SECONDS, amount=amount)


@pytest.mark.parametrize(
    ("longest_step_s", "limit_s"), [(0.0, 20.9), (0.01, 20.92), (0.25, 21.4), (1.0, 21.4), (19.0, 21.4), (1e9, 21.4)]
)
def test_the_parent_waits_a_little_longer_than_the_budget(longest_step_s: float, limit_s: float) -> None:
    budget = Budget(kind=BudgetKind.SECONDS, amount=20)
    assert Caps().train_limit_s(budget, longest_step_s) == pytest.approx(limit_s)


@pytest.mark.parametrize(
    ("baseline_s", "cap_s"), [(None, 120.0), (0.1, 5.1), (2.3, 7.3), (5.0, 10.0), (30.0, 60.0), (100.0, 120.0)]
)
def test_a_program_may_not_take_much_longer_to_start_than_the_baseline(baseline_s: float | None, cap_s: float) -> None:
    pace = None if baseline_s is None else Pace(startup_s=baseline_s, answer_s=0.1)
    budget = Budget(kind=BudgetKind.STEPS, amount=20)
    assert caps_for(budget, Caps(), pace).startup_s == pytest.approx(cap_s)


@pytest.mark.parametrize(
    ("kind", "baseline_s", "cap_s"),
    [("seconds", 0.03, 0.73), ("steps", 0.03, 0.33), ("seconds", 1.0, 4.0), ("steps", 100.0, 120.0)],
)
def test_nor_to_give_its_first_answer(kind: BudgetKind, baseline_s: float, cap_s: float) -> None:
    budget, most = Budget(kind=kind, amount=20), Caps(answer_s=120.0)
    assert caps_for(budget, most, Pace(startup_s=1.0, answer_s=baseline_s)).answer_s == pytest.approx(cap_s)
    assert caps_for(budget, most, None) == most


def test_a_budget_of_seconds_pays_for_a_longer_start_up() -> None:
    seconds, pace = Budget(kind=BudgetKind.SECONDS, amount=20), Pace(startup_s=2.0, answer_s=0.1)
    caps = caps_for(seconds, Caps(), pace)
    assert [caps.charged_s(seconds, startup_s) for startup_s in (0.5, 2.0, 2.05, 6.0)] == pytest.approx([0, 0, 0.05, 4])
    assert caps_for(seconds, Caps(), None).charged_s(seconds, 100.0) == 0
    for kind in set(BudgetKind) - {BudgetKind.SECONDS, BudgetKind.CPU_SECONDS}:
        assert caps.charged_s(Budget(kind=kind, amount=20), 6.0) == 0
    assert seconds.told(4.0) == "a budget of 20 s, of which its start-up spent 4 s"


def test_a_budget_of_cpu_seconds_goes_by_the_baselines_cpu_seconds() -> None:
    """A busy machine makes the wall clock's differences, and many cores would make much of them."""
    budget = Budget(kind=BudgetKind.CPU_SECONDS, amount=5)
    pace = Pace(startup_s=9.0, answer_s=4.0, startup_cpu_s=0.5, answer_cpu_s=0.1)
    caps = caps_for(budget, Caps(), pace)
    assert [caps.charged_s(budget, cpu_s) for cpu_s in (0.4, 0.75)] == [0, 0.25]
    assert (caps.answer_s, caps.answer_cpu_s) == (math.inf, 0.5)
    assert caps.train_limit_s(budget) == pytest.approx(5 * 1.02 + 0.15)
    assert str(budget) == "5 CPU s"


@pytest.mark.parametrize(("amount", "asked_s", "cap_s"), [(20, None, 400), (1, None, 60), (20, 30.0, 30)])
def test_a_budget_of_cpu_seconds_ends_by_the_wall_clock_too(amount: float, asked_s: float | None, cap_s: float) -> None:
    assert wall_cap_s(Budget(kind=BudgetKind.CPU_SECONDS, amount=amount), asked_s) == cap_s


def test_no_training_takes_for_ever() -> None:
    assert math.isfinite(Caps().train_limit_s(Budget(kind=BudgetKind.STEPS, amount=20)))
    assert Caps(train_s=60).train_limit_s(Budget(kind=BudgetKind.FLOPS, amount=1e12)) == 60


def test_a_budget_reads_well() -> None:
    assert str(Budget(kind=BudgetKind.SECONDS, amount=20.0)) == "20 s"
    assert str(Budget(kind=BudgetKind.TOKENS, amount=4096)) == "4096 tokens"
