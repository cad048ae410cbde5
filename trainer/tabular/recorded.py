"""A recorded table in memory: configurations of a menu, each with what it scored seed by seed, failures included.

A table answers only what was recorded. The knobs of its menu have choices, so that a configuration has a place in a
grid: mixed-radix digits in the menu's order. Nothing is interpolated, and no seed is drawn twice.
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from rails.errors import UserError
from rails.menu import KnobValue, Menu
from rails.status import Status
from rails.text import quote
from trainer.tabular.recipe import TableFacts

Configuration = dict[str, KnobValue]
Float64, Int64 = NDArray[np.float64], NDArray[np.int64]


class CurvePoint(NamedTuple):
    """One report of a training: its loss is the mean over the steps since the report before."""

    step: int
    loss: float
    elapsed_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One recorded measurement: a configuration trained with one seed.

    Attributes:
        score: None where it failed.
        seconds: what training and scoring took.
        status: how it failed; None where it did not.
        reason: why it failed.
        curve: reports of the training, in order; empty where none were recorded.
    """

    score: float | None
    seconds: float
    status: Status | None = None
    reason: str | None = None
    curve: tuple[CurvePoint, ...] = ()


def _no_ints() -> Int64:
    return np.empty(0, np.int64)


def _no_floats() -> Float64:
    return np.empty(0, np.float64)


@dataclass(frozen=True, slots=True, kw_only=True)
class Curves:
    """The curves of many measurements, one after the other: that of row `i` is `[ends[i - 1]:ends[i]]`."""

    ends: Int64 = field(default_factory=_no_ints)
    step: Int64 = field(default_factory=_no_ints)
    loss: Float64 = field(default_factory=_no_floats)
    elapsed_s: Float64 = field(default_factory=_no_floats)

    def of(self, row: int) -> tuple[CurvePoint, ...]:
        """The curve of one measurement."""
        if not self.ends.size:
            return ()
        part = slice(int(self.ends[row - 1]) if row else 0, int(self.ends[row]))
        columns = (self.step[part].tolist(), self.loss[part].tolist(), self.elapsed_s[part].tolist())
        return tuple(CurvePoint(*point) for point in zip(*columns, strict=True))


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurements:
    """All measurements of a table, those of one configuration together and in the order of their seeds.

    Attributes:
        places: [rows] of the configurations in the menu's grid, never falling.
        scores: [rows], NaN where it failed.
        seconds: [rows] of training and scoring.
        failures: how and why the rows that failed did.
        curves: of all rows; empty where none were recorded.
    """

    places: Int64
    scores: Float64
    seconds: Float64
    failures: Mapping[int, tuple[Status, str]] = field(default_factory=dict[int, tuple[Status, str]])
    curves: Curves = field(default_factory=Curves)


class Grid:
    """The grid that the choices of a menu's knobs span.

    Args:
        menu: every knob has choices.

    Raises:
        ValueError: a knob has a range instead.
    """

    def __init__(self, menu: Menu) -> None:
        self._choices = dict[str, tuple[KnobValue, ...]]()
        for name, knob in menu.knobs.items():
            if knob.choices is None:
                raise ValueError(f"the knob {quote(name)} has a range; a table's knobs have choices")
            self._choices[name] = tuple(knob.normalise(choice) for choice in knob.choices)
        self._digits = {name: {value: i for i, value in enumerate(values)} for name, values in self._choices.items()}
        self.size = math.prod(len(values) for values in self._choices.values())

    def place(self, configuration: Mapping[str, KnobValue | bool]) -> int | None:
        """Where a configuration stands; None where a knob is missing, unknown, or has another value."""
        if len(configuration) != len(self._digits):
            return None
        place = 0
        for name, digits in self._digits.items():
            value = configuration.get(name)
            digit = None if isinstance(value, bool) else digits.get(value)  # pyright: ignore[reportArgumentType]
            if digit is None:
                return None
            place = place * len(digits) + digit
        return place

    def configuration(self, place: int) -> Configuration:
        """The configuration that stands there."""
        values = Configuration()
        for name, choices in reversed(self._choices.items()):
            place, digit = divmod(place, len(choices))
            values[name] = choices[digit]
        return dict(reversed(values.items()))


class RecordedTable:
    """A table of configurations × seeds that answers at once.

    Args:
        facts: what it says of itself.
        measurements: what was recorded.
        sha256: of all that was recorded.

    Raises:
        ValueError: a knob of the menu has no choices, or a place lies outside its grid.
    """

    def __init__(self, facts: TableFacts, measurements: Measurements, sha256: str) -> None:
        self.facts, self.sha256 = facts, sha256
        self._grid, self._measured = Grid(facts.menu), measurements
        places = measurements.places
        if places.size and not (places[0] >= 0 and places[-1] < self._grid.size and bool((np.diff(places) >= 0).all())):
            raise ValueError("the measurements are not in the order of the menu's grid")
        self._counts = np.bincount(places, minlength=self._grid.size)
        self._starts = np.cumsum(self._counts) - self._counts

    @property
    def name(self) -> str:
        """As a task names it."""
        return self.facts.name

    @property
    def menu(self) -> Menu:
        """The knobs and their choices."""
        return self.facts.menu

    @property
    def metric_name(self) -> str:
        """Of the score."""
        return self.facts.metric.name

    @property
    def direction(self) -> Literal["minimize", "maximize"]:
        """Of better."""
        return self.facts.metric.direction

    @property
    def unit(self) -> str:
        """Of the score, in words; empty for a share."""
        return self.facts.metric.unit

    @property
    def decimals(self) -> int:
        """With how many a score is shown."""
        return self.facts.metric.decimals

    @property
    def measurements(self) -> int:
        """How many there are."""
        return len(self._measured.places)

    @property
    def failures(self) -> int:
        """How many of them failed."""
        return len(self._measured.failures)

    def seeds_recorded(self) -> list[int]:
        """With how many seeds each configuration was recorded, in the menu's order."""
        return self._counts[self._recorded()].tolist()

    def measured(self, number: int) -> tuple[Configuration, int]:
        """Configuration and seed index of one measurement, counted from 0 in the menu's order.

        Raises:
            IndexError: there are not so many.
        """
        place = int(self._measured.places[number])
        return self._grid.configuration(place), number - int(self._starts[place])

    def seeds(self, configuration: Mapping[str, KnobValue | bool]) -> int:
        """With how many seeds a configuration was recorded; 0: it is not in the table."""
        place = self._grid.place(configuration)
        return 0 if place is None else int(self._counts[place])

    def cell(self, configuration: Mapping[str, KnobValue | bool], seed_index: int) -> Cell:
        """What a configuration did with one seed.

        Raises:
            UserError: the configuration is not in the table, or was not recorded with so many seeds.
        """
        place, seeds = self._grid.place(configuration), self.seeds(configuration)
        if place is None or not seeds:
            shown = ", ".join(f"{name}={quote(value)}" for name, value in configuration.items())
            raise UserError(f"the configuration {shown} was not recorded", where=self.name, fix="choose from its menu")
        if not 0 <= seed_index < seeds:
            what = f"seed {seed_index} of a configuration with {seeds} recorded seeds"
            raise UserError(f"{what} was asked for", where=self.name, fix="ask for fewer measurements of one trial")
        row = int(self._starts[place]) + seed_index
        status, reason = self._measured.failures.get(row, (None, None))
        return Cell(
            score=None if status is not None else float(self._measured.scores[row]),
            seconds=float(self._measured.seconds[row]),
            status=status,
            reason=reason,
            curve=self._measured.curves.of(row),
        )

    def true_mean(self, configuration: Mapping[str, KnobValue | bool]) -> float | None:
        """The mean over all recorded seeds, which is the truth inside the table.

        None for what is not in the table, and for what failed with any seed.
        """
        place = self._grid.place(configuration)
        return None if place is None else self._mean(place)

    def configurations(self) -> Iterator[Configuration]:
        """Those that were recorded, in the order of the menu's grid."""
        return (self._grid.configuration(place) for place in self._recorded())

    def best(self) -> Configuration:
        """The configuration whose true mean is the best.

        Raises:
            UserError: there is none, as everything failed.
        """
        means = {place: mean for place in self._recorded() if (mean := self._mean(place)) is not None}
        if not means:
            raise UserError("no configuration of the table has a score", where=self.name, fix="record it again")
        return self._grid.configuration((min if self.direction == "minimize" else max)(means, key=lambda p: means[p]))

    def _recorded(self) -> list[int]:
        return np.flatnonzero(self._counts).tolist()

    def _mean(self, place: int) -> float | None:
        start, count = int(self._starts[place]), int(self._counts[place])
        mean = float(self._measured.scores[start : start + count].mean()) if count else math.nan
        return None if math.isnan(mean) else mean
