"""What one training may spend, and how long the parent waits before it stops believing.

The child reads `Budget.progress` to plan its schedule and to stop in time; the parent enforces `Caps` by its own
monotonic clock, whatever the child says.
"""

import math
from dataclasses import dataclass
from enum import StrEnum

GRACE_S = 1.0
"""Added to the relative overrun: a budget of half a second must survive one slow step and a busy machine."""
UNTIMED_TRAIN_S = 3600.0
"""How long a training whose budget is not seconds may take, when nobody said: a night must not hang on one trial."""


class BudgetKind(StrEnum):
    """What the budget counts. Only `SECONDS` depends on the machine; the others repeat exactly."""

    SECONDS = "seconds"
    STEPS = "steps"
    TOKENS = "tokens"
    FLOPS = "flops"


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """What a training has spent so far, in every unit a budget may count."""

    seconds: float = 0.0
    steps: int = 0
    tokens: int = 0
    flops: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """An amount of training.

    Raises:
        ValueError: the amount is not a positive finite number.
    """

    kind: BudgetKind
    amount: float

    def __post_init__(self) -> None:
        object.__setattr__(self, "kind", BudgetKind(self.kind))
        if not (math.isfinite(self.amount) and self.amount > 0):
            raise ValueError(f"a budget must be a positive finite number of {self.kind}, not {self.amount!r}")

    def __str__(self) -> str:
        return f"{self.amount:g} {'s' if self.kind is BudgetKind.SECONDS else self.kind.value}"

    def progress(self, usage: Usage) -> float:
        """The share of the budget that is spent, from 0 to 1."""
        return min(1.0, self.share(usage))

    def share(self, usage: Usage) -> float:
        """What is spent relative to the budget: more than 1 for a training that went on after its end."""
        spent = {
            BudgetKind.SECONDS: usage.seconds,
            BudgetKind.STEPS: usage.steps,
            BudgetKind.TOKENS: usage.tokens,
            BudgetKind.FLOPS: usage.flops,
        }[self.kind]
        return spent / self.amount


@dataclass(frozen=True, slots=True, kw_only=True)
class Caps:
    """The parent's limits in seconds of its own clock.

    Args:
        startup_s: from the launch to `start` (imports, building the model): before the budget's clock.
        overrun: how far training may exceed a budget in seconds, relative to it.
        score_s: the whole scoring.
        train_s: limit for a training whose budget does not count seconds; ignored for one that does.
    """

    startup_s: float = 120.0
    overrun: float = 0.25
    score_s: float = 120.0
    train_s: float = UNTIMED_TRAIN_S

    def train_limit_s(self, budget: Budget) -> float:
        """Seconds after `start` at which a training that has not finished is killed."""
        if budget.kind is BudgetKind.SECONDS:
            return budget.amount * (1.0 + self.overrun) + GRACE_S
        return self.train_s
