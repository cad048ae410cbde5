"""The start-up design of the `tpe` proposer: what to try before there is enough to estimate from.

One move costs a whole training, so a random start is a waste: with some twenty knobs most of a night would pass before
each was touched. The design looks at every knob once, by its nearest value, and follows what it learns on the way:

1. a move that was kept is continued in the same direction;
2. a clear near miss (better, but not kept) is tried again on the new incumbent, or one value further;
3. the opposite of a move that lost clearly is tried: losses of a knob that matters are steep on one side only;
4. a knob that was never touched is tried, sooner the nearer it stands to the top of the menu (a person lists first
   what matters most), loosely, and in a direction drawn from the campaign's seed;
5. a knob whose first look showed neither gets a second one half a menu later: one value further where it was better,
   the other way (or another choice) where it was worse. So the upper knobs are tried both ways before the last ones
   are touched.

When none of these is left, the Parzen estimator takes over.
"""

import random
from collections.abc import Iterator
from dataclasses import dataclass

from agents.statistical.history import History, Outcome
from agents.statistical.moves import Move, MoveSpace

CLEAR_QUANTILE = 0.25
"""A move among this part of the worst lost clearly, and one among this part of the best nearly won: relative to the
campaign, so that it fits any noise."""

MIN_MOVES_FOR_QUANTILE = 4

LOOSENESS = 0.25
"""How far a knob's first look may come after its place on the menu, as a share of the menu's length."""

SECOND_LOOK_DELAY = 0.5
"""How much later than its first look a knob's second one is due, as a share of the menu's length."""

CONTINUE, NEAR_MISS, OPPOSITE, LOOK = 4, 3, 2, 1


@dataclass(frozen=True, slots=True)
class DesignMove:
    """A move of the design and why it comes now."""

    move: Move
    priority: int
    """One of CONTINUE, NEAR_MISS, OPPOSITE, LOOK."""
    because: Outcome | None
    """The earlier move on the same knob that speaks for it; None at a first look."""


def next_design_move(space: MoveSpace, history: History, allowed: frozenset[Move], seed: int) -> DesignMove | None:
    """The design's next move, or None when it is complete.

    Args:
        space: legal moves from the incumbent.
        history: what was tried, and what it brought.
        allowed: the neighbouring moves that are no repeats; others are not considered.
        seed: the campaign's seed: one order of the knobs for the whole campaign.
    """
    rng = random.Random(f"{seed}:design")
    delay = LOOSENESS * len(space.names)
    due = {name: place + rng.uniform(0, delay) for place, name in enumerate(space.names)}
    upwards = {name: rng.random() < 0.5 for name in space.names}
    clear = _clear(history)
    second = SECOND_LOOK_DELAY * len(space.names)
    best: tuple[tuple[float, ...], DesignMove] | None = None
    for name in space.names:
        past = history.on(name)
        for candidate in _candidates(space, name, past, clear):
            if candidate.move not in allowed:
                continue
            gain = candidate.because.gain or 0.0 if candidate.because else 0.0
            first_side = (candidate.move.direction > 0) == upwards[name]
            place = due[name] + (second if candidate.because else 0.0)
            rank = (candidate.priority, gain if candidate.priority >= NEAR_MISS else 0.0, -place, first_side)
            if best is None or rank > best[0]:
                best = (rank, candidate)
    return best[1] if best else None


def _clear(history: History) -> tuple[float, float]:
    """The gain at or below which a move lost clearly, and that from which on one that was not kept nearly won."""
    gains = sorted(-1.0 if outcome.gain is None else outcome.gain for outcome in history.outcomes)
    if len(gains) < MIN_MOVES_FOR_QUANTILE:
        return -1.0, 0.0
    part = int(len(gains) * CLEAR_QUANTILE)
    return min(0.0, gains[part]), max(0.0, gains[-1 - part])


def _candidates(space: MoveSpace, name: str, past: list[Outcome], clear: tuple[float, float]) -> Iterator[DesignMove]:
    """The design's moves on one knob, repeats included."""
    if not past:
        yield from (DesignMove(move, LOOK, None) for move in space.neighbours(name))
        return
    last = past[-1]
    gain = -1.0 if last.gain is None else last.gain
    if last.kept:
        if last.direction:
            yield from _onwards(space, last, CONTINUE, reach=1)
    elif gain > 0:
        yield from _onwards(space, last, NEAR_MISS if gain >= clear[1] else LOOK, reach=2)
    else:
        sides = {outcome.direction for outcome in past if outcome.direction}
        values = {outcome.value for outcome in past}
        for move in space.neighbours(name):
            if move.direction not in sides and move.value not in values:
                yield DesignMove(move, OPPOSITE if gain <= clear[0] and move.direction else LOOK, last)


def _onwards(space: MoveSpace, last: Outcome, priority: int, *, reach: int) -> Iterator[DesignMove]:
    """Moves in the direction of `last`; for a choice without an order, the same choice again."""
    for move in space.neighbours(last.knob, reach):
        if move.direction == last.direction and (last.direction or move.value == last.value):
            yield DesignMove(move, priority, last)
