"""Synthetic tasks: a random menu, and how good a program with these knob values is. Nothing is trained.

A family says how a knob's effect looks. Students are trained on `TRAINING` families and judged on `TEST` families only,
so that nothing but how to search can be carried over.
"""

import itertools
import math
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from agents.base import KnobValue
from agents.local.features import positions
from rails.menu import Menu

TRAINING = ("bowl", "tent", "plateau")
TEST = ("rough", "sparse", "coupled", "cliff")

NOISE_SD = 0.004
"""Of one measurement, relative to the baseline."""

STEEP = 0.06
"""About what a knob that matters loses from one end of its range to the other."""

KINDS: tuple[Callable[[random.Random], dict[str, Any]], ...] = (
    lambda rng: {"type": "float", "range": [1e-4, 10 ** rng.uniform(-1.5, 0)]},
    lambda rng: {"type": "float", "range": [0.0, round(rng.uniform(0.2, 1.0), 2)]},
    lambda rng: {"type": "float", "range": [0.6, 0.999]},
    lambda rng: {"type": "int", "range": [1, rng.choice([6, 8, 12])]},
    lambda rng: {"type": "int", "choices": [2**p for p in range(5, 5 + rng.randint(3, 6))]},
    lambda rng: {"type": "str", "choices": ["a", "b", "c", "d"][: rng.randint(2, 4)]},
)


@dataclass(frozen=True, slots=True)
class Surface:
    """One synthetic task."""

    family: str
    seed: int
    menu: Menu
    score: Callable[[Mapping[str, KnobValue]], float | None]
    """How much better than some fixed program, as a share of the baseline; None: it crashes."""
    best: float
    """The highest score there is."""

    @property
    def start(self) -> float:
        """The score of the menu's defaults."""
        return self.score(self.menu.defaults()) or 0.0

    def regret(self, score: float) -> float:
        """What a score leaves of what there was to win: 1 at the defaults, 0 at the best."""
        return (self.best - score) / (self.best - self.start)


def make_surface(family: str, seed: int) -> Surface:
    """The surface of a family with a seed; one whose defaults crash, or are nearly the best, is drawn again."""
    for attempt in itertools.count():
        rng = random.Random(f"{family}:{seed}:{attempt}")
        surface = _draw(family, seed, rng)
        defaults = surface.score(surface.menu.defaults())
        if defaults is not None and surface.best - defaults > 5 * NOISE_SD:
            return surface
    raise AssertionError("unreachable")


def _draw(family: str, seed: int, rng: random.Random) -> Surface:
    menu = _menu(rng)
    names = list(menu.knobs)
    matter = set(rng.sample(names, 3)) if family == "sparse" else set(names)
    weight = {name: STEEP * rng.random() ** 2 if name in matter else 0.0 for name in names}
    centre = {name: rng.random() for name in names}
    texts = {name: {c: rng.random() for c in menu.knobs[name].choices or ()} for name in names}
    where = {name: positions(knob) for name, knob in menu.knobs.items()}
    shape = _shape(family, rng)
    couplings = [(*rng.sample(names, 2), STEEP * rng.uniform(-1, 1)) for _ in names] if family == "coupled" else []
    edge = {name: rng.uniform(0.75, 0.95) for name in rng.sample(names, 2)} if family == "cliff" else {}

    def effect(name: str, value: KnobValue) -> float:
        if isinstance(value, str):
            return -weight[name] * texts[name][value]
        return -weight[name] * shape(where[name](value) - centre[name])

    def score(knobs: Mapping[str, KnobValue]) -> float | None:
        place = {name: where[name](knobs[name]) for name in names}
        if any(place[name] > limit for name, limit in edge.items() if menu.knobs[name].type != "str"):
            return None
        alone = sum(effect(name, knobs[name]) for name in names)
        return alone - sum(w * (place[a] - centre[a]) * (place[b] - centre[b]) for a, b, w in couplings)

    return Surface(family, seed, menu, score, _climb(menu, score, rng))


def _shape(family: str, rng: random.Random) -> Callable[[float], float]:
    """What is lost at a distance from a knob's best position."""
    ripples, phase = rng.uniform(3, 6), rng.uniform(0, math.tau)
    left = rng.uniform(0.5, 3.0)
    shapes: dict[str, Callable[[float], float]] = {
        "bowl": lambda d: 4 * d * d,
        "tent": lambda d: 1.5 * abs(d),
        "plateau": lambda d: min(4 * max(abs(d) - 0.1, 0.0) ** 2, 1.0),
        "rough": lambda d: 3 * d * d + 0.15 * math.sin(ripples * math.tau * d + phase),
        "sparse": lambda d: 5 * (left if d < 0 else 1.0) * abs(d) ** 1.5,
        "coupled": lambda d: 4 * d * d,
        "cliff": lambda d: 2 * math.log(math.cosh(3 * d)),
    }
    return shapes[family]


def _menu(rng: random.Random) -> Menu:
    knobs: dict[str, dict[str, Any]] = {}
    for number in range(rng.randint(9, 16)):
        knob = rng.choice(KINDS)(rng)
        choices = knob.get("choices")
        knobs[f"k{number}"] = {**knob, "default": rng.choice(choices) if choices else _inside(knob, rng)}
    return Menu.model_validate({"knobs": knobs})


def _inside(knob: dict[str, Any], rng: random.Random) -> float:
    low, high = knob["range"]
    if knob["type"] == "int":
        return rng.randint(low, high)
    if low > 0 and high / low >= 8:
        return float(f"{math.exp(rng.uniform(math.log(low), math.log(high))):.3g}")
    return round(rng.uniform(low, high), 3)


def _climb(menu: Menu, score: Callable[[Mapping[str, KnobValue]], float | None], rng: random.Random) -> float:
    """The highest score that coordinate ascent on a fine grid finds from five starts."""
    grids = {name: _grid(menu, name) for name in menu.knobs}
    best = -math.inf
    for start in range(5):
        knobs = dict(menu.defaults()) if start == 0 else {name: rng.choice(grid) for name, grid in grids.items()}
        found = score(knobs)
        reached = -math.inf if found is None else found
        for _ in range(6):
            before = reached
            for name, grid in grids.items():
                for value in grid:
                    tried = score({**knobs, name: value})
                    if tried is not None and tried > reached:
                        reached, knobs = tried, {**knobs, name: value}
            if reached <= before:
                break
        best = max(best, reached)
    return best


def _grid(menu: Menu, name: str) -> list[KnobValue]:
    knob = menu.knobs[name]
    if knob.choices is not None:
        return list(knob.choices)
    assert knob.range is not None
    low, high = knob.range
    if knob.type == "int":
        return list(range(int(low), int(high) + 1))
    if low > 0 and high / low >= 8:
        return [low * (high / low) ** (step / 40) for step in range(40)] + [high]
    return [low + (high - low) * step / 40 for step in range(41)]
