"""What a student chooses from, and what it knows when it chooses: the same in a corpus and in a campaign."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from agents.base import KnobValue
from agents.statistical.history import History, Outcome
from agents.statistical.moves import Config, MoveSpace
from rails.menu import Menu

Option = tuple[str, KnobValue]
"""One knob and the value to set it to."""

ALL_STEPS = 1_000
"""More values than any ladder has."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Situation:
    """One choice: the incumbent, what was tried before, and what may be chosen now."""

    menu: Menu
    knobs: Mapping[str, KnobValue]
    """The incumbent's values."""
    outcomes: Sequence[Outcome]
    """Moves that were tried before, oldest first."""
    tried: frozenset[Config]
    """Every knob setting that was tried before."""
    options: Sequence[Option]
    """Legal moves, in the menu's order; what was tried is among them."""
    seq: int
    """The trial that the choice is for; 1 is the first."""
    limit: int | None
    """How many trials there are to be; None: not known."""

    def leads_to(self, option: Option) -> Config:
        """The knob setting that an option leads to."""
        return tuple(sorted({**self.knobs, option[0]: option[1]}.items()))


def ladder_options(space: MoveSpace) -> list[Option]:
    """The legal moves from an incumbent: every choice, and steps over each range in both directions.

    Steps are those of the start-up design of `tpe`, so that what it looks at first is always an option.
    """
    moves = (move for name in space.names for move in space.neighbours(name, ALL_STEPS))
    return list(dict.fromkeys((move.knob, move.value) for move in moves))  # the last step to an end may be no step


def with_tried_values(space: MoveSpace, ladder: Sequence[Option], outcomes: Iterable[Outcome]) -> list[Option]:
    """The ladder and, beside it, every legal value that was tried before: in the menu's order, then by value."""
    known = set(ladder)
    tried = dict.fromkeys((outcome.knob, outcome.value) for outcome in outcomes)
    more = [option for option in tried if option not in known and option[0] in space.names and space.legal(*option)]
    if not more:
        return list(ladder)
    place = {name: index for index, name in enumerate(space.names)}
    return sorted([*ladder, *more], key=lambda option: (place[option[0]], _order(option[1])))


def make_situation(
    menu: Menu,
    knobs: Mapping[str, KnobValue],
    history: History,
    *,
    seq: int,
    limit: int | None = None,
    size_limit_bytes: int | None = None,
) -> Situation:
    """The choice that an incumbent with a history stands before.

    Args:
        menu: what may be changed.
        knobs: the incumbent's values.
        history: what was tried before; nothing later.
        seq: the trial that the choice is for.
        limit: how many trials there are to be.
        size_limit_bytes: the limit of memory when the menu states none.
    """
    space = MoveSpace(menu, knobs, size_limit_bytes=size_limit_bytes)
    options = with_tried_values(space, ladder_options(space), history.outcomes)
    return Situation(
        menu=menu,
        knobs=dict(knobs),
        outcomes=history.outcomes,
        tried=history.tried,
        options=options,
        seq=seq,
        limit=limit,
    )


def _order(value: KnobValue) -> tuple[float, str]:
    return (0.0, value) if isinstance(value, str) else (float(value), "")
