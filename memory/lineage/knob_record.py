"""What was tried of one knob: every trial that changed it, by the value it was set to."""

from bisect import insort
from collections.abc import Sequence
from dataclasses import dataclass, field
from operator import itemgetter
from typing import TypeAlias

from memory.lineage.knobs import is_code_edit
from memory.lineage.trial_text import percent, short
from memory.records import Trial, stopped_at
from rails.menu import KnobValue
from rails.status import FINISHED, Status

Rank: TypeAlias = tuple[bool, bool, float, bool, int]
"""Sorts outcomes, the best last: kept, with a gain, the gain, ran to its end, older."""

Top: TypeAlias = tuple[Rank, Trial]
"""The best outcome of a value."""

VALUES_SHOWN = 8
"""Values of a knob that are told with what they brought; of the others it is said how many and between which."""


@dataclass(slots=True)
class KnobRecord:
    """The trials on one knob. It grows, and its line is made again only when it has changed."""

    name: str
    first: Trial
    """The first one of all: it changed the knob from where the search began."""
    values: dict[KnobValue, dict[int, Trial]] = field(default_factory=dict[KnobValue, dict[int, Trial]])
    """Value to the trials that set it, by number."""
    parents: dict[KnobValue, set[str]] = field(default_factory=dict[KnobValue, set[str]])
    """Value to the incumbents that it was tried on."""
    numbers: list[int | float] = field(default_factory=list[int | float])
    """Those of `values` that are numbers, in order."""
    code: dict[KnobValue, dict[int, Trial]] = field(default_factory=dict[KnobValue, dict[int, Trial]])
    """Those of `values` that were diffs of code."""
    _tops: dict[KnobValue, Top] = field(default_factory=dict[KnobValue, Top])
    _line: str | None = None
    _losses: list[tuple[int | float, Trial]] | None = None
    _bad: list[KnobValue] | None = None
    _bad_reach: tuple[int | float, int | float] | None = None

    def add(self, value: KnobValue, trial: Trial) -> None:
        """Take note of a trial that set the knob to `value`; again, when its numbers have changed."""
        if value not in self.values and not isinstance(value, str):
            insort(self.numbers, value)
        self.values.setdefault(value, {})[trial.seq] = trial
        if trial.parent_trial_id is not None:
            self.parents.setdefault(value, set()).add(trial.parent_trial_id)
        if is_code_edit(trial):
            self.code.setdefault(value, {})[trial.seq] = trial
        self._tops.pop(value, None)
        self._line = self._losses = self._bad = None

    @property
    def count(self) -> int:
        """How many trials there are."""
        return sum(map(len, self.values.values()))

    @property
    def line(self) -> str:
        """`depth: 4 keep +0.51 %, 3 discard -0.20 % x2, 12 crash`: values by their best outcome."""
        if self._line is None:
            self._line = self._render()
        return self._line

    @property
    def losses(self) -> list[tuple[int | float, Trial]]:
        """Numbers that lost for certain when the knob alone was set to them (the whole interval is below zero)."""
        if self._losses is None:
            numbers = ((value, trials) for value, trials in self.values.items() if not isinstance(value, str))
            lost = [
                (value, t) for value, trials in numbers for t in trials.values() if _lost(t) and not is_code_edit(t)
            ]
            self._losses = sorted(lost, key=lambda item: (item[1].gain_high or 0.0, item[1].seq))
        return self._losses

    @property
    def bad_values(self) -> list[KnobValue]:
        """Values at which a trial failed, was cut short, or lost for certain."""
        if self._bad is None:
            self._bad = [value for value, trials in self.values.items() if any(map(_went_badly, trials.values()))]
            numbers = [value for value in self._bad if not isinstance(value, str)]
            self._bad_reach = (min(numbers), max(numbers)) if numbers else None
        return self._bad

    @property
    def bad_reach(self) -> tuple[int | float, int | float] | None:
        """The lowest and the highest number among `bad_values`; None when there is none."""
        return self._bad_reach if self.bad_values else None

    def _render(self) -> str:
        tops = [(*self._top(value), value) for value in self.values]
        tops.sort(key=itemgetter(0), reverse=True)
        shown = [
            f"{short(value, 30)} {_outcome(trial, len(self.values[value]))}" for _, trial, value in tops[:VALUES_SHOWN]
        ]
        rest = [(rank, value) for rank, _, value in tops[VALUES_SHOWN:]]
        return f"{short(self.name, 40)}: {', '.join(shown)}{_others(rest)}"

    def _top(self, value: KnobValue) -> Top:
        if value not in self._tops:
            self._tops[value] = max(((_rank(trial), trial) for trial in self.values[value].values()), key=itemgetter(0))
        return self._tops[value]


def _rank(trial: Trial) -> Rank:
    finished = trial.status in FINISHED
    return trial.status is Status.KEEP, trial.gain is not None, trial.gain or 0.0, finished, -trial.seq


def _outcome(top: Trial, count: int) -> str:
    gain = f" {percent(top.gain)} %" if top.gain is not None else ""
    times = f" x{count}" if count > 1 else ""
    where = " in a diff" if is_code_edit(top) else ""
    return f"{stopped_at(top) or top.status}{gain}{where}{times}"


def _others(rest: Sequence[tuple[Rank, KnobValue]]) -> str:
    """`, … 34 more from 0.001 to 0.2 (9 failed)`."""
    if not rest:
        return ""
    numbers = [value for _, value in rest if not isinstance(value, str)]
    between = f" from {short(min(numbers), 20)} to {short(max(numbers), 20)}" if len(numbers) == len(rest) else ""
    failed = sum(not finished for (_, _, _, finished, _), _ in rest)
    return f", … {len(rest)} worse{between}" + (f" ({failed} failed)" if failed else "")


def _lost(trial: Trial) -> bool:
    return trial.status is Status.DISCARD and trial.gain_high is not None and trial.gain_high < 0


def _went_badly(trial: Trial) -> bool:
    return trial.status not in FINISHED or (trial.status is Status.DISCARD and trial.gain is None) or _lost(trial)
