"""One attack: what it tries, what should stop it, from which level of isolation on, and how a stopped one ends."""

from dataclasses import dataclass
from typing import Literal

from rails.status import Status

Arena = Literal["steps", "seconds", "cpu_seconds", "library", "final"]
"""Which campaign it runs in: a budget of steps, of seconds, of CPU seconds, the standard library as the corpus, or one
of its own whose result is measured again on the test text."""
Naive = Literal["unprobed", "printed", "believed"]
"""Which careless evaluator it would fool: one without probes, one that reads the log, one that believes the logits."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Attack:
    """One program that cheats.

    Attributes:
        name: for tables and tests.
        program: its file in `cli.attacks.programs`.
        what: what it tries, for a person.
        stopped_by: the mechanism that should stop it.
        level: the lowest level of isolation that promises to.
        ends: the statuses with which a stopped one ends; any other means that it was not tried as meant.
        naive: the evaluator that would have been fooled, to see that the attack is one.
        tries: whether it reaches for something and says so on its log.
    """

    name: str
    program: str
    what: str
    stopped_by: str
    arena: Arena = "steps"
    level: Literal["L1", "L2", "L3", "L4"] = "L1"
    ends: frozenset[Status]
    naive: Naive | None = None
    tries: bool = False


OUT = frozenset({Status.DISQUALIFIED})
HARMLESS = frozenset({Status.DISCARD})
DEAD = frozenset({Status.CRASH})
LATE = frozenset({Status.TRAIN_BUDGET_OVERRUN})
"""How stopped attacks end: shown up, with a score of no use, dead, or too late."""
