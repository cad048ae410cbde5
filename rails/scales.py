"""On which scale a numeric knob is stepped: in differences, in factors, or by its distance to one."""

import math

from rails.menu import Knob

WIDE = 8.0
"""A positive range whose ends differ by this factor or more is stepped and drawn in factors, not in differences."""

SIGNIFICANT_DIGITS = 3


def ends(knob: Knob) -> tuple[float, float]:
    """The lowest and highest value of a numeric knob with a range."""
    if knob.range is None:
        raise ValueError(f"knob {knob.name} has no range")
    return float(knob.range[0]), float(knob.range[1])


def is_wide(knob: Knob) -> bool:
    """Whether a knob's range is positive and spans at least a factor of `WIDE`."""
    low, high = ends(knob)
    return low > 0 and high / low >= WIDE


def is_decay(knob: Knob) -> bool:
    """Whether a float's range ends just below one, like a momentum: what matters there is the distance to one."""
    low, high = ends(knob)
    return knob.type == "float" and low >= 0.5 and 0.9 <= high < 1


def rounded(value: float, low: float, high: float) -> float:
    """`value` to a few significant digits of itself (of its distance to one, near one), kept inside the range."""
    scale = 1 - value if 0.5 <= value < 1 else value
    digits = SIGNIFICANT_DIGITS - 1 - math.floor(math.log10(abs(scale))) if scale else 0
    return min(max(round(value, digits), low), high)
