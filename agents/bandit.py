"""Who of the specialists proposes next: a bandit over what each has won for the time that it took.

Discounted UCB (Garivier & Moulines 2008, https://arxiv.org/abs/0805.3415): what a specialist did counts the less the
more trials have passed since, so that one who has run dry is left, and one whose turn has come is found. A pull is a
decided trial, its reward the confirmed gain, its cost the seconds of the night that it took, failures and refusals
included. With sums over a specialist's trials, each weighted by DISCOUNT to the power of the trials since then,

    value = gains / seconds + EXPLORATION * sqrt(log(all pulls) / pulls) / max(1, seconds / pulls)

is its index. Gains are in units of the largest one of late (the largest of the same weighted gains), seconds in units
of what a trial takes on average: so EXPLORATION means the same on every task. Doubt about whoever takes longer than the
average counts less, as it is dear to settle; but not more about whoever fails cheaply, who would be asked again and
again: a night is also so many trials. Both constants are from simulated nights (tests/agents/test_bandit.py). Trials
that were interrupted or aborted by the harness are left out altogether, with their seconds: they say nothing about
whoever proposed them.

Both functions are pure: the same rows and seed give the same answer, also after a crash.
"""

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass

from memory.keep.gains import confirmed_gain
from memory.records import Phase, Trial
from rails.status import QUARANTINED

DISCOUNT = 0.98
"""Weight of a trial against the one after it: a memory of about 50 trials."""

EXPLORATION = 0.1
"""How much doubt counts against success."""

LEAST_S = 1e-3
"""A trial counts as taking at least so long: a clock that shows 0 must not make a specialist priceless."""


@dataclass(slots=True)
class _Arm:
    pulls: float = 0.0
    gains: float = 0.0
    seconds: float = 0.0

    def fade(self) -> None:
        """One more trial has passed."""
        self.pulls *= DISCOUNT
        self.gains *= DISCOUNT
        self.seconds *= DISCOUNT


def choose_specialist(names: Sequence[str], trials: Sequence[Trial], *, seed: int) -> str:
    """The specialist with the best prospects; each is asked once before any is asked again.

    Args:
        names: of the task's specialists, at least one.
        trials: the campaign's, by number; those of others and of nobody are passed over.
        seed: the campaign's: settles who comes first of equals.
    """
    pulled = _pulled(names, trials)
    arms = {name: _Arm() for name in names}
    largest = 0.0
    for name, trial in pulled:
        for arm in arms.values():
            arm.fade()
        gain = confirmed_gain(trial)
        largest = max(largest * DISCOUNT, gain)
        arm = arms[name]
        arm.pulls, arm.gains, arm.seconds = arm.pulls + 1, arm.gains + gain, arm.seconds + max(trial.total_s, LEAST_S)
    fresh = [name for name in names if arms[name].pulls == 0]
    if fresh:
        return min(fresh, key=lambda name: _lot(seed, len(pulled), name))
    pulls, seconds = sum(arm.pulls for arm in arms.values()), sum(arm.seconds for arm in arms.values())

    def value(arm: _Arm) -> float:
        cost = arm.seconds / arm.pulls / (seconds / pulls)
        won = arm.gains / arm.pulls / largest / cost if largest else 0.0
        return won + EXPLORATION * math.sqrt(math.log(max(pulls, 1.0)) / arm.pulls) / max(1.0, cost)

    return max(names, key=lambda name: (value(arms[name]), _lot(seed, len(pulled), name)))


def round_robin(names: Sequence[str], trials: Sequence[Trial]) -> str:
    """The specialist whose turn it is: whoever has had the fewest trials, in the order of the task.

    Args:
        names: of the task's specialists, at least one.
        trials: the campaign's; interrupted and aborted ones were nobody's turn.
    """
    turns = [name for name, _ in _pulled(names, trials)]
    return min(names, key=turns.count)


def _pulled(names: Sequence[str], trials: Sequence[Trial]) -> list[tuple[str, Trial]]:
    """The trials that say something about one of the specialists, with its name."""
    return [
        (trial.specialist, trial)
        for trial in trials
        if trial.specialist is not None and trial.specialist in names and trial.phase is Phase.DECIDED
        if trial.status not in QUARANTINED
    ]


def _lot(seed: int, pulls: int, name: str) -> bytes:
    """A draw that depends on nothing but its arguments."""
    return hashlib.sha256(f"{seed}\0{pulls}\0{name}".encode()).digest()
