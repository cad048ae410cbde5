"""Which knobs a trial changed, from which value to which: told by its edit, and by its diff of the program."""

import ast
import math
import re
from collections.abc import Iterator

from memory.records import Trial
from rails.menu import Knob, KnobValue
from rails.scales import ends, is_wide, rounded

_FIELD = re.compile(r"^([-+])\s+([A-Za-z_]\w*)\s*:\s*\w+\s*=\s*([^#\n]+?)\s*(?:#.*)?$", re.MULTILINE)
"""A line of a unified diff that is an annotated field with a value: `-    depth: int = 4  # layers`."""


def knob_edit(trial: Trial) -> tuple[str, KnobValue] | None:
    """The knob and value of a single-knob edit; None for any other."""
    match trial.edit:
        case {"kind": "knob", "knob": str(knob), "value": int() | float() | str() as value}:
            return None if isinstance(value, bool) else (knob, value)
        case _:
            return None


def _several(trial: Trial) -> dict[str, KnobValue]:
    """The knobs of an edit that sets more than one."""
    values: object = (trial.edit or {}).get("values")
    if not isinstance(values, dict):
        return {}
    pairs: list[tuple[object, object]] = list(values.items())  # pyright: ignore[reportUnknownArgumentType, reportUnknownVariableType]
    return {str(name): value for name, value in pairs if isinstance(value, int | float | str)}


def is_code_edit(trial: Trial) -> bool:
    """Whether it changed the program by a diff of its own."""
    return trial.edit is not None and trial.edit.get("kind") == "diff"


def knobs_after(trial: Trial) -> dict[str, KnobValue]:
    """The knobs that the trial changed, with their new values; fields that a diff of code changed count as knobs."""
    edit = knob_edit(trial)
    if edit is not None:
        return dict([edit])
    if not is_code_edit(trial):
        return _several(trial)
    old, new = _fields(trial, "-"), _fields(trial, "+")
    return {name: value for name, value in new.items() if name in old and value != old[name]}


def knob_before(trial: Trial, knob: str) -> KnobValue | None:
    """The value that the trial changed a knob from, as its diff of the program has it; None where that says nothing."""
    return _fields(trial, "-").get(knob)


def _fields(trial: Trial, sign: str) -> dict[str, KnobValue]:
    """The fields on the removed (`-`) or added (`+`) lines; a name that stands there twice is nobody's."""
    found: dict[str, KnobValue] = {}
    twice: set[str] = set()
    for name, value in _values(trial.diff or "", sign):
        twice.update({name} & found.keys())
        found[name] = value
    return {name: value for name, value in found.items() if name not in twice}


def _values(diff: str, wanted: str) -> Iterator[tuple[str, KnobValue]]:
    for sign, name, literal in _FIELD.findall(diff):
        if sign == wanted and (value := _literal(literal)) is not None:
            yield name, value


def _literal(text: str) -> KnobValue | None:
    try:
        value = ast.literal_eval(text)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return None
    return value if isinstance(value, int | float | str) and not isinstance(value, bool) else None


def mirrored(knob: Knob, start: float, lost_at: float) -> KnobValue | None:
    """The value as far on the other side of `start` as `lost_at` lies on this one; None where the menu ends there.

    In factors on a wide positive range, else in differences. Of choices it is the one nearest to that.
    """
    side = -1 if lost_at > start else 1
    if knob.choices is not None:
        beyond = [value for value in knob.choices if not isinstance(value, str) and side_of(value, start) == side]
        target = 2 * start - lost_at
        return min(beyond, key=lambda value: (abs(value - target), value)) if beyond else None
    low, high = ends(knob)
    target = start * start / lost_at if is_wide(knob) and lost_at > 0 else 2 * start - lost_at
    target = min(max(target, low), high)
    value = round(target) if knob.type == "int" else rounded(target, low, high)
    return value if side_of(value, start) == side else None


def middle(knob: Knob, start: float, end: float) -> tuple[float, KnobValue]:
    """How wide the stretch between two values is, as a share of the range, and the value in its middle."""
    low, high = ends(knob)
    if is_wide(knob):
        share, middle = abs(math.log(end / start)) / math.log(high / low), math.sqrt(start * end)
    else:
        share, middle = abs(end - start) / ((high - low) or 1.0), (start + end) / 2
    return share, round(middle) if knob.type == "int" else rounded(middle, low, high)


def side_of(value: KnobValue, start: KnobValue) -> int:
    """+1 above, -1 below, 0 for the same or for text."""
    if isinstance(value, str) or isinstance(start, str):
        return 0
    return (value > start) - (value < start)


def extremes_of(knob: Knob) -> list[KnobValue]:
    """The extreme values: lowest and highest of a range or of numbers; of texts every one."""
    values = list(knob.choices or knob.range or ())
    if any(isinstance(value, str) for value in values):
        return values
    numbers = sorted(value for value in values if not isinstance(value, str))
    return [knob.normalise(value) for value in dict.fromkeys([numbers[0], numbers[-1]])]
