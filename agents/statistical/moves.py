"""Single-knob moves: which values lie next to one another, and which are legal from where the incumbent stands."""

import math
import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from agents.base import KnobValue
from rails.expressions import ExpressionError
from rails.menu import Knob, Menu
from rails.scales import WIDE, ends, is_decay, is_wide, rounded

LINEAR_STEPS = 10
"""A narrow range is crossed in this many steps."""


@dataclass(frozen=True, slots=True)
class Move:
    """One knob set to one value."""

    knob: str
    value: KnobValue
    direction: int
    """+1 up, -1 down, 0 for a choice without an order."""


Config = tuple[tuple[str, KnobValue], ...]
"""A knob setting as a hashable key: two moves are repeats when they lead to equal settings."""


def config_key(knobs: Mapping[str, KnobValue]) -> Config:
    """The hashable key of a knob setting."""
    return tuple(sorted(knobs.items()))


class MoveSpace:
    """The legal single-knob moves of a menu from one knob setting.

    Args:
        menu: types, ranges, choices and cross rules.
        knobs: the incumbent's knob values; names that are not on the menu are left alone.
        size_limit_bytes: the limit for the menu's size estimate when it states none.
    """

    def __init__(self, menu: Menu, knobs: Mapping[str, KnobValue], *, size_limit_bytes: int | None = None) -> None:
        self._menu = menu
        self._size_limit_bytes = size_limit_bytes
        self._knobs = dict(knobs)
        self._key = config_key(knobs)
        self._places = {name: place for place, (name, _) in enumerate(self._key)}
        self.names: tuple[str, ...] = tuple(name for name in menu.knobs if name in knobs)
        """Knobs that are both on the menu and in the program, in the menu's order."""

    def knob(self, name: str) -> Knob:
        """The menu's entry for a knob."""
        return self._menu.knobs[name]

    @property
    def knobs(self) -> Mapping[str, KnobValue]:
        """The incumbent's knob values, all of them."""
        return self._knobs

    def current(self, name: str) -> KnobValue:
        """The incumbent's value of a knob."""
        return self._knobs[name]

    def after(self, name: str, value: KnobValue) -> Config:
        """The knob setting that a move leads to."""
        place = self._places[name]
        return (*self._key[:place], (name, value), *self._key[place + 1 :])

    def legal(self, name: str, value: KnobValue) -> bool:
        """Whether a move changes something, fits the menu and memory, and keeps every cross rule."""
        if value == self._knobs[name] or self._menu.knobs[name].check(value) is not None:
            return False
        return self._keeps_rules({**self._knobs, name: value})

    def allows(self, values: Mapping[str, KnobValue]) -> bool:
        """Whether a whole setting fits the menu and memory, and keeps every cross rule."""
        return all(self._menu.knobs[name].check(values[name]) is None for name in self.names) and self._keeps_rules(
            values
        )

    def _keeps_rules(self, values: Mapping[str, KnobValue]) -> bool:
        try:
            too_big = self._menu.size_problem(values, limit_bytes=self._size_limit_bytes)
            return too_big is None and self._menu.broken_rule(values) is None
        except ExpressionError:
            return False

    def neighbours(self, name: str, reach: int = 1) -> Iterator[Move]:
        """Legal moves next to the current value: for each direction up to `reach` values, nearest first."""
        knob, start = self._menu.knobs[name], self._knobs[name]
        if isinstance(start, str | bool):
            yield from (Move(name, value, 0) for value in knob.choices or () if self.legal(name, value))
            return
        for direction in (+1, -1):
            found = 0
            for value in _ladder(knob, start, direction):
                if found < reach and self.legal(name, value):
                    found += 1
                    yield Move(name, value, direction)

    def draw(self, name: str, rng: random.Random) -> KnobValue:
        """A value of a knob, uniform over its choices or range; log-uniform over a wide positive float range."""
        knob = self._menu.knobs[name]
        if knob.choices is not None:
            return rng.choice(knob.choices)
        low, high = ends(knob)
        if knob.type == "int":
            return rng.randint(int(low), int(high))
        if is_wide(knob):
            return rounded(math.exp(rng.uniform(math.log(low), math.log(high))), low, high)
        return rounded(rng.uniform(low, high), low, high)

    def every(self, name: str) -> Iterator[KnobValue]:
        """Every value of a choice or int knob; a fine grid over a float's range. For when drawing finds nothing new."""
        knob = self._menu.knobs[name]
        if knob.choices is not None:
            yield from knob.choices
            return
        low, high = ends(knob)
        count = 200
        if knob.type == "int":
            stride = max(1, (int(high) - int(low)) // count)
            yield from range(int(low), int(high) + 1, stride)
            return
        yield from (rounded(low + (high - low) * step / count, low, high) for step in range(count + 1))


def _ladder(knob: Knob, start: float, direction: int) -> Iterator[KnobValue]:
    """Values from `start` outwards in one direction, nearest first, without `start`."""
    if knob.choices is not None:
        ordered = sorted(value for value in knob.choices if not isinstance(value, str))
        beyond = [value for value in ordered if (value - start) * direction > 0]
        yield from beyond if direction > 0 else reversed(beyond)
        return
    low, high = ends(knob)
    value = start
    for _ in range(4 * LINEAR_STEPS):
        stepped = min(max(_step(knob, value, direction), low), high)
        if stepped == value:
            return
        value = stepped
        yield round(value) if knob.type == "int" else rounded(value, low, high)


def _step(knob: Knob, value: float, direction: int) -> float:
    """One step from `value`: a factor of two on a wide range, a tenth of a narrow one, half the distance to one."""
    low, high = ends(knob)
    if knob.type == "int":
        if is_wide(knob) and high >= 4 * WIDE:
            return value * 2.0**direction
        return value + direction * max(1, round((high - low) / LINEAR_STEPS / 2))
    if is_decay(knob):
        return 1 - (1 - value) * 2.0**-direction
    if is_wide(knob):
        return value * 2.0**direction
    return value + direction * (high - low) / LINEAR_STEPS
