"""Nights of made-up specialists: who keeps how often, how much, and for how long, to hold ways of choosing against."""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from memory.records import Phase, Trial
from rails.status import Status
from tests.support.rows import make_campaign, make_trial

CAMPAIGN = make_campaign()


@dataclass(frozen=True)
class Arm:
    """What one specialist's trials are like."""

    keeps: float
    """Share of trials that are kept."""
    gain: float = 0.01
    """Mean gain of a keep."""
    seconds: float = 60.0

    @property
    def rate(self) -> float:
        """Expected gain a second."""
        return self.keeps * self.gain / self.seconds


Arms = dict[str, Arm]
Choose = Callable[[Sequence[str], Sequence[Trial], int], str]


def trial_of(seq: int, name: str | None, gain: float = 0.0, seconds: float = 60.0, **fields: Any) -> Trial:
    """A decided trial of a specialist: kept with this gain, or discarded."""
    kept = gain > 0
    row: dict[str, Any] = {
        "phase": Phase.DECIDED,
        "status": Status.KEEP if kept else Status.DISCARD,
        "metric": 1.5,
        "specialist": name,
        "total_s": seconds,
        **({"gain": gain, "gain_low": gain / 2, "gain_high": 2 * gain} if kept else {}),
    }
    return make_trial(CAMPAIGN, seq, **{**row, **fields})


def night(choose: Choose, arms_at: Callable[[int], Arms], trials: int, seed: int) -> list[Trial]:
    """A night of so many trials; gains are drawn anew for each, exponentially around the specialist's mean."""
    rng, rows = random.Random(f"{seed}"), list[Trial]()
    for seq in range(1, trials + 1):
        arms = arms_at(seq)
        name = choose(list(arms), rows, seed)
        arm = arms[name]
        gain = rng.expovariate(1 / arm.gain) if rng.random() < arm.keeps else 0.0
        rows.append(trial_of(seq, name, gain, arm.seconds))
    return rows


def regret(rows: Sequence[Trial], arms_at: Callable[[int], Arms]) -> float:
    """The share of what the best specialist would have been expected to win in the same seconds that was missed."""
    best = won = 0.0
    for row in rows:
        arms = arms_at(row.seq)
        best += max(arm.rate for arm in arms.values()) * row.total_s
        won += arms[row.specialist or ""].rate * row.total_s
    return 1 - won / best
