import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trainer.budget import Budget, BudgetKind, Caps, Usage


@pytest.mark.parametrize(
    ("kind", "usage"),
    [
        (BudgetKind.SECONDS, Usage(seconds=5.0)),
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


def test_the_parent_waits_longer_than_the_budget_but_not_for_ever() -> None:
    caps = Caps(overrun=0.25)
    assert caps.train_limit_s(Budget(kind=BudgetKind.SECONDS, amount=20)) == 26.0
    assert math.isfinite(caps.train_limit_s(Budget(kind=BudgetKind.STEPS, amount=20)))
    assert Caps(train_s=60).train_limit_s(Budget(kind=BudgetKind.FLOPS, amount=1e12)) == 60


def test_a_budget_reads_well() -> None:
    assert str(Budget(kind=BudgetKind.SECONDS, amount=20.0)) == "20 s"
    assert str(Budget(kind=BudgetKind.TOKENS, amount=4096)) == "4096 tokens"
