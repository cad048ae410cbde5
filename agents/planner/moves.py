"""The moves that are legal now and were not tried: what a reply may say, listed, so that it can say nothing else.

Servers that follow a schema do not enforce the bounds of a number (measured), so numbers are listed too: near the
incumbent's value step by step, and far from it at even distances.
"""

import math
from collections.abc import Callable, Collection, Iterator, Mapping

from agents.base import KnobValue, ProposalContext
from agents.statistical.history import read_history, refused_moves
from agents.statistical.moves import MoveSpace
from rails.menu import Knob
from rails.scales import ends, is_wide, rounded

MAX_VALUES = 12
"""Most values of one knob that are listed."""

MAX_MOVES = 400
"""Most moves in all."""

NEAR = 4
"""So many values on either side of the incumbent's come first."""

FAR = 9
"""So many values at even distances over a knob's range fill the rest."""

Moves = Mapping[str, tuple[KnobValue, ...]]
"""For each knob the values that it may be set to, nearest first."""


def legal_moves(context: ProposalContext, only: Collection[str] = ()) -> dict[str, tuple[KnobValue, ...]]:
    """The moves from the incumbent that keep every rule, change something and lead to nothing that was tried.

    Args:
        context: menu, knobs, trials so far, and what the rails refused in this trial.
        only: the knobs to look at; none: all. Where these have no move left, all are looked at.
    """
    limit = context.task.memory_limit_bytes
    space = MoveSpace(context.menu, context.knobs, size_limit_bytes=limit)
    history = read_history(context.trials, context.menu, context.knobs)
    refused = refused_moves(context.feedback)

    def allowed(name: str, value: KnobValue) -> bool:
        new = (name, value) not in refused and space.after(name, value) not in history.tried
        return new and space.legal(name, value)

    names = [name for name in space.names if not only or name in only]
    each = min(MAX_VALUES, max(1, MAX_MOVES // max(len(names), 1)))
    found = {name: _first(each, name, _values(space, name), allowed) for name in names}
    found = {name: values for name, values in found.items() if values}
    return legal_moves(context) if only and not found else found


def _first(
    count: int, name: str, values: Iterator[KnobValue], allowed: Callable[[str, KnobValue], bool]
) -> tuple[KnobValue, ...]:
    """The first values that are allowed, each once."""
    kept: list[KnobValue] = []
    for value in values:
        if len(kept) == count:
            break
        if value not in kept and allowed(name, value):
            kept.append(value)
    return tuple(kept)


def _values(space: MoveSpace, name: str) -> Iterator[KnobValue]:
    """Values of a knob: near ones on both sides, then far ones, then all."""
    knob = space.knob(name)
    yield from (move.value for move in space.neighbours(name, reach=NEAR))
    if knob.choices is None:
        yield from _spread(knob)
    yield from space.every(name)


def _spread(knob: Knob) -> Iterator[KnobValue]:
    """Values at even distances over a range; by factors where it is wide."""
    low, high = ends(knob)
    for step in range(FAR):
        share = step / (FAR - 1)
        value = math.exp(math.log(low) + share * math.log(high / low)) if is_wide(knob) else low + share * (high - low)
        yield round(value) if knob.type == "int" else rounded(value, low, high)
