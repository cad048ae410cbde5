"""What one training may spend, and how long the parent waits for each of its answers.

The child reads `Budget.progress` to plan its schedule and to stop in time; the parent enforces `Caps` by its own
monotonic clock and by the kernel's count of CPU time, whatever the child says.

A budget counts time by its own clock: CPU seconds of all the trial's processes, or else seconds of the wall clock.
"""

import math
from dataclasses import dataclass, replace
from enum import StrEnum

from rails.clocks import counts_time

LATE_S = 0.5
"""How late a training may be in any case: a machine has other things to do."""
LATE_CPU_S = 0.15
"""The same on a budget of CPU seconds, which do not pass while it waits: for saving the state, and for ticks."""
LATE_SHARE = 0.02
"""How late it may be relative to its budget, in whatever the budget counts."""
LATE_STEPS = 2.0
"""Longest steps that it may be late by: it looks at the clock between steps, and saves its state after the last."""
LATE_STEPS_SHARE = 0.025
"""At most this share of the budget for slow steps: a process that reports rarely must not win time by it."""
FREE_STARTUP_S = 5.0
"""How much longer than the baseline any program may take to start, at the cost of a budget of time."""
STARTUP_FACTOR = 2.0
FREE_ANSWER_S = 0.3
"""How much longer than the baseline's any first answer may take, beside `LATE_SHARE` of a budget of time."""
ANSWER_FACTOR = 4.0
UNTIMED_TRAIN_S = 3600.0
"""How long a training whose budget is not time may take, when nobody said: a night must not hang on one trial."""
CPU_WALL_FACTOR, LEAST_CPU_WALL_S = 20.0, 60.0
"""How many seconds a training may take for each CPU second of its budget, when nobody said; and at least. With twenty
times as much to do as it has cores a machine is still in time."""


class BudgetKind(StrEnum):
    """What the budget counts; see `rails.clocks.counts_time`. Those that do not count time repeat exactly."""

    SECONDS = "seconds"
    CPU_SECONDS = "cpu_seconds"
    STEPS = "steps"
    TOKENS = "tokens"
    FLOPS = "flops"


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """What a training has spent so far, in every unit a budget may count; seconds are those of the budget's clock."""

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
        units = {BudgetKind.SECONDS: "s", BudgetKind.CPU_SECONDS: "CPU s"}
        return f"{self.amount:g} {units.get(self.kind, self.kind.value)}"

    @property
    def on_cpu_clock(self) -> bool:
        """Whether its clock counts the CPU time of all processes, rather than the wall's."""
        return self.kind is BudgetKind.CPU_SECONDS

    def told(self, charged_s: float) -> str:
        """The budget in the reason of a trial's end, with the seconds of it that start-up has spent."""
        return f"a budget of {self}" + (f", of which its start-up spent {charged_s:.3g} s" if charged_s else "")

    def progress(self, usage: Usage) -> float:
        """The share of the budget that is spent, from 0 to 1."""
        return min(1.0, self.share(usage))

    def share(self, usage: Usage) -> float:
        """What is spent relative to the budget: more than 1 for a training that went on after its end."""
        spent = {
            BudgetKind.SECONDS: usage.seconds,
            BudgetKind.CPU_SECONDS: usage.seconds,
            BudgetKind.STEPS: usage.steps,
            BudgetKind.TOKENS: usage.tokens,
            BudgetKind.FLOPS: usage.flops,
        }[self.kind]
        return spent / self.amount


@dataclass(frozen=True, slots=True, kw_only=True)
class Caps:
    """The parent's limits, in seconds of its own clock but where the budget's is named.

    Args:
        startup_s: from the launch to `start` (imports, building the model): before the budget's clock.
        free_startup_s: how much of that costs nothing, by the budget's clock: a budget of time pays for the rest.
        score_s: the whole scoring.
        answer_s: the first answer after training, in which a process could still train.
        answer_cpu_s: CPU seconds from the end of training to that answer, on a budget of CPU seconds.
        train_s: limit for a training whose budget does not count seconds; ignored for one that does.
    """

    startup_s: float = 120.0
    free_startup_s: float = math.inf
    score_s: float = 120.0
    answer_s: float = math.inf
    answer_cpu_s: float = math.inf
    train_s: float = UNTIMED_TRAIN_S

    def charged_s(self, budget: Budget, startup_s: float) -> float:
        """Seconds of the budget that a start-up of so many, by its clock, has spent: what is learned there is not free.

        Budgets of steps, tokens and FLOPs are not charged: they must repeat exactly, and a start-up never does. What is
        won there before the clock is limited by `startup_s` alone.
        """
        return max(0.0, startup_s - self.free_startup_s) if counts_time(budget.kind) else 0.0

    def train_limit_s(self, budget: Budget, longest_step_s: float = 0.0) -> float:
        """Seconds after `start` at which a training that has not finished and saved its state is killed.

        Args:
            budget: of the training.
            longest_step_s: the longest time that it took over a step so far.

        Returns:
            Seconds of the budget's clock. One of CPU seconds is held to `train_s` of the wall clock beside it.
        """
        if not counts_time(budget.kind):
            return self.train_s
        steps_s = min(LATE_STEPS * longest_step_s, LATE_STEPS_SHARE * budget.amount)
        late_s = LATE_CPU_S if budget.on_cpu_clock else LATE_S
        return budget.amount * (1.0 + LATE_SHARE) + late_s + steps_s


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """How long the baseline took over what is not trained by the clock: other programs get not much more.

    Args:
        startup_s: from the launch to `start`, the slowest of its measurements.
        answer_s: its first answer, the slowest of its measurements.
        startup_cpu_s: CPU seconds until `start`, the most of its measurements; 0 where they were not counted.
        answer_cpu_s: CPU seconds until its first answer, likewise.
    """

    startup_s: float
    answer_s: float
    startup_cpu_s: float = 0.0
    answer_cpu_s: float = 0.0


def caps_for(budget: Budget, most: Caps, pace: Pace | None) -> Caps:
    """The caps of a program: time before the clock, and between training and the first answer, is time to learn.

    Args:
        budget: of the training.
        most: the task's own caps.
        pace: of the baseline, once that is known.
    """
    if pace is None:
        return most
    startup_s = max(STARTUP_FACTOR * pace.startup_s, pace.startup_s + FREE_STARTUP_S)
    free_s = FREE_ANSWER_S + (LATE_SHARE * budget.amount if counts_time(budget.kind) else 0.0)
    most = replace(most, startup_s=min(most.startup_s, startup_s))
    if budget.on_cpu_clock:
        # By the wall a busy machine would answer late, and one with many cores could train on for a long time.
        answer_cpu_s = max(ANSWER_FACTOR * pace.answer_cpu_s, pace.answer_cpu_s + free_s)
        return replace(most, free_startup_s=pace.startup_cpu_s, answer_cpu_s=answer_cpu_s)
    answer_s = max(ANSWER_FACTOR * pace.answer_s, pace.answer_s + free_s)
    return replace(most, free_startup_s=pace.startup_s, answer_s=min(most.answer_s, answer_s))


def wall_cap_s(budget: Budget, asked_s: float | None) -> float:
    """How long a training may take by the wall clock, when its budget does not count that.

    Args:
        budget: of the training.
        asked_s: what a person set; None: nothing.
    """
    if asked_s is not None:
        return asked_s
    return max(LEAST_CPU_WALL_S, CPU_WALL_FACTOR * budget.amount) if budget.on_cpu_clock else UNTIMED_TRAIN_S
