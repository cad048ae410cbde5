"""How much of the menu a night has tried: each knob, the values it was given, and what they brought."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from memory.figures.campaign import ReportData
from memory.figures.trajectory import quantile
from memory.records import Trial
from rails.status import FINISHED, QUARANTINED, Status

Scalar: TypeAlias = str | int | float | bool
"""What a knob can be set to."""
Allowed: TypeAlias = tuple[tuple[float, float] | None, tuple[Scalar, ...]]
"""The ends of a range, or the choices; neither is known of some logs."""

_MOST_CHOICES = 8
"""So many different numbers of a knob without a menu are shown side by side."""
MOST_VALUES = 40
"""More different numbers than this on one knob are summed up in bins."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Value:
    """One value of a knob, or a bin of numbers, and what became of the trials that set it."""

    value: Scalar
    last: float | None = None
    """The highest number of a bin, whose lowest is `value`; None of a single value."""
    trials: int
    keeps: int
    discards: int
    failures: int
    gains: tuple[float, float, float, float, float] | None
    """Lowest, first quartile, median, third quartile and highest of the gains, which are relative to the baseline and
    against the incumbent of its day; None when no trial has one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """One trial that set the knob."""

    trial: int
    value: Scalar
    status: Status
    gain: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class KnobHistory:
    """One knob of the menu."""

    name: str
    numeric: bool
    """Whether its values lie on a scale (a range); else they are choices."""
    low: float | None
    high: float | None
    """Ends of the range."""
    choices: tuple[Scalar, ...]
    default: Scalar | None
    doc: str
    values: tuple[Value, ...]
    outcomes: tuple[Outcome, ...]

    @property
    def trials(self) -> int:
        """How many trials set it."""
        return len(self.outcomes)

    @property
    def keeps(self) -> int:
        """How many of them were kept."""
        return sum(o.status is Status.KEEP for o in self.outcomes)

    @property
    def logarithmic(self) -> bool:
        """Whether its range spans more than a factor of thirty: then its scale is one of ratios."""
        return self.numeric and self.low is not None and self.low > 0 and (self.high or 0) / self.low > 30


@dataclass(frozen=True, slots=True, kw_only=True)
class Coverage:
    """The menu and what was tried of it."""

    knobs: tuple[KnobHistory, ...]
    """Those that were touched, the most tried first."""
    untouched: tuple[KnobHistory, ...]
    other_edits: int
    """Trials that changed the program otherwise than by one knob."""


def coverage_of(data: ReportData) -> Coverage:
    """What was tried of the menu; trials that say nothing about their hypothesis are left out."""
    found: dict[str, list[Outcome]] = {}
    others = 0
    for trial in data.search:
        if trial.status is None or trial.status in QUARANTINED:
            continue
        edit = trial.edit or {}
        if edit.get("kind") != "knob":
            others += bool(edit)
            continue
        outcome = Outcome(
            trial=trial.seq, value=_scalar(edit.get("value")), status=trial.status, gain=_gain(data, trial)
        )
        found.setdefault(str(edit.get("knob")), []).append(outcome)
    names = [*data.knobs, *(name for name in found if name not in data.knobs)]
    knobs = [_knob(name, data.knobs.get(name, {}), found.get(name, [])) for name in names]
    touched = sorted((k for k in knobs if k.outcomes), key=lambda knob: -knob.trials)
    return Coverage(knobs=tuple(touched), untouched=tuple(k for k in knobs if not k.outcomes), other_edits=others)


def _gain(data: ReportData, trial: Trial) -> float | None:
    """As the decision stated it; of a log that states none, over its baseline."""
    if trial.gain is not None or trial.metric is None or data.campaign.source is None:
        return trial.gain
    start = None if data.baseline is None else data.baseline.metric
    if not start:
        return None
    return (start - trial.metric if data.direction == "minimize" else trial.metric - start) / abs(start)


def _knob(name: str, menu: dict[str, Any], outcomes: Sequence[Outcome]) -> KnobHistory:
    bounds, choices = _menu_values(menu)
    default = None if menu.get("default") is None else _scalar(menu["default"])
    if not bounds and not choices:
        bounds, choices = _observed([*(o.value for o in outcomes), *([] if default is None else [default])])
    return KnobHistory(
        name=name,
        numeric=bool(bounds),
        low=bounds[0] if bounds else None,
        high=bounds[1] if bounds else None,
        choices=choices,
        default=default,
        doc=str(menu.get("doc") or ""),
        values=_values(outcomes, bool(bounds)),
        outcomes=tuple(outcomes),
    )


def _menu_values(menu: dict[str, Any]) -> Allowed:
    """The range of a knob, or its choices, as the menu has them."""
    bounds, choices = menu.get("range"), menu.get("choices")
    if isinstance(bounds, list | tuple) and len(bounds) == 2 and all(map(_is_number, bounds)):
        return (float(bounds[0]), float(bounds[1])), ()
    return None, tuple(_scalar(choice) for choice in choices) if isinstance(choices, list | tuple) else ()


def _observed(values: Sequence[Scalar]) -> Allowed:
    """What a log without a menu shows of a knob: a range where there are many numbers, else choices."""
    distinct = list(dict.fromkeys(values))
    numbers = sorted(float(value) for value in distinct if _is_number(value))
    if len(numbers) < len(distinct):
        return None, tuple(distinct)
    if len(numbers) > _MOST_CHOICES:
        return (numbers[0], numbers[-1]), ()
    return None, tuple(sorted(distinct, key=float))


def _values(outcomes: Sequence[Outcome], numeric: bool) -> tuple[Value, ...]:
    groups: dict[Scalar, list[Outcome]] = {}
    for outcome in outcomes:
        groups.setdefault(outcome.value, []).append(outcome)
    if not numeric or not all(_is_number(value) for value in groups):
        return tuple(_value(value, None, group) for value, group in sorted(groups.items(), key=_by_count))
    ordered = sorted(groups.items(), key=lambda item: float(item[0]))
    if len(ordered) <= MOST_VALUES:
        return tuple(_value(value, None, group) for value, group in ordered)
    size = math.ceil(len(ordered) / MOST_VALUES)
    bins = [ordered[start : start + size] for start in range(0, len(ordered), size)]
    return tuple(_value(b[0][0], float(b[-1][0]), [o for _, group in b for o in group]) for b in bins)


def _by_count(item: tuple[object, Sequence[Outcome]]) -> tuple[int, str]:
    return -len(item[1]), str(item[0])


def _value(value: Scalar, last: float | None, group: Sequence[Outcome]) -> Value:
    gains = sorted(o.gain for o in group if o.gain is not None)
    return Value(
        value=value,
        last=last,
        trials=len(group),
        keeps=sum(o.status is Status.KEEP for o in group),
        discards=sum(o.status is Status.DISCARD for o in group),
        failures=sum(o.status not in FINISHED for o in group),
        gains=_five_numbers(gains) if gains else None,
    )


def _five_numbers(gains: Sequence[float]) -> tuple[float, float, float, float, float]:
    quarter, median, upper = (quantile(gains, share) for share in (0.25, 0.5, 0.75))
    return gains[0], quarter, median, upper, gains[-1]


def _scalar(value: object) -> Scalar:
    return value if isinstance(value, str | int | float | bool) else str(value)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
