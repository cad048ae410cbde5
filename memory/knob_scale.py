"""Where the values of one knob lie to each other: sides, middles, mirror images and ends."""

import math

from rails.menu import Knob, KnobValue
from rails.scales import ends, is_wide, rounded


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
