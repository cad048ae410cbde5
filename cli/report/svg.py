"""Building SVG by hand: escaped elements, scales with round ticks, and the marks that all figures share.

By hand, not by a plotting library: a figure must follow the page into the dark and onto a phone, keep its text as
text, and be small. Colours and fonts come from the page's style sheet by class; every kind of mark has its own shape.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from markupsafe import Markup, escape

from cli.report.text import seen

Child = Markup | str


def tag(element: str, /, *children: Child, **attributes: object) -> Markup:
    """An element. Text and attribute values are escaped; `class_` is `class`, underscores become hyphens.

    An attribute that is None is left out; numbers are written to a tenth.
    """
    shown = "".join(
        f' {name.rstrip("_").replace("_", "-")}="{escape(_attribute(value))}"'
        for name, value in attributes.items()
        if value is not None
    )
    inside = "".join(str(child if isinstance(child, Markup) else escape(seen(child))) for child in children)
    return Markup(f"<{element}{shown}>{inside}</{element}>" if inside else f"<{element}{shown}/>")


def _attribute(value: object) -> str:
    return number(value) if isinstance(value, float) else seen(str(value))


def number(value: float) -> str:
    """A coordinate, to a tenth of a pixel."""
    text = f"{value:.1f}"
    return text[:-2] if text.endswith(".0") else text


def figure(name: str, size: tuple[float, float], title: str, desc: str, children: Iterable[Child]) -> Markup:
    """A whole drawing, with its title and description for who cannot see it.

    Args:
        name: unique in the page; ids are made of it.
        size: width and height of its own coordinates.
        title: what it is.
        desc: what it shows, in words.
        children: the drawing.
    """
    return tag(
        "svg",
        tag("title", title, id=f"{name}-title"),
        tag("desc", desc, id=f"{name}-desc"),
        *children,
        viewBox=f"0 0 {number(size[0])} {number(size[1])}",
        role="img",
        class_="figure",
        aria_labelledby=f"{name}-title",
        aria_describedby=f"{name}-desc",
    )


@dataclass(frozen=True, slots=True)
class Scale:
    """Numbers to pixels, linear or by ratios."""

    low: float
    high: float
    start: float
    """Where `low` is drawn."""
    end: float
    logarithmic: bool = False

    def __call__(self, value: float) -> float:
        """The pixel of a value; beyond the ends it is at the end."""
        if self.logarithmic:
            low, high, value = math.log(self.low), math.log(self.high), math.log(max(value, self.low))
        else:
            low, high = self.low, self.high
        share = 0.5 if high == low else (value - low) / (high - low)
        return self.start + min(1.0, max(0.0, share)) * (self.end - self.start)

    def holds(self, value: float) -> bool:
        """Whether a value lies between the ends."""
        return self.low <= value <= self.high


def ticks(low: float, high: float, about: int) -> list[float]:
    """Round numbers from `low` to `high`, as near to `about` of them as steps of 1, 2 or 5 powers of ten allow."""
    if not high > low or not math.isfinite(high - low):
        return [low]
    power = 10.0 ** math.floor(math.log10((high - low) / max(1, about)))
    made = [_multiples(low, high, power * factor) for factor in (0.5, 1, 2, 5, 10)]
    return min(made, key=lambda values: abs(len(values) - about))


def _multiples(low: float, high: float, step: float) -> list[float]:
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [index * step for index in range(first, last + 1)]


def tick_text(value: float, values: Sequence[float]) -> str:
    """A tick's number with as many decimals as tell it from its neighbours."""
    step = min((b - a for a, b in pairwise(values)), default=abs(value) or 1.0)
    decimals = max(0, -math.floor(math.log10(step) + 1e-9)) if step > 0 else 0
    return f"{value:.{min(decimals, 15)}f}".replace("-", "\N{MINUS SIGN}")


def diamond(x: float, y: float, r: float, *children: Child, hollow: bool = False) -> Markup:
    """A keep; hollow when it is unconfirmed."""
    points = f"M{number(x)} {number(y - r)}l{number(r)} {number(r)}l{number(-r)} {number(r)}l{number(-r)} {number(-r)}z"
    return tag("path", *children, d=points, class_="keep hollow" if hollow else "keep")


def square(x: float, y: float, r: float, *children: Child) -> Markup:
    """The baseline."""
    return tag("rect", *children, x=x - r, y=y - r, width=2 * r, height=2 * r, class_="base")


def circle(x: float, y: float, r: float, *children: Child) -> Markup:
    """A discarded trial."""
    return tag("circle", *children, cx=x, cy=y, r=float(r), class_="discard")


def cross(x: float, y: float, r: float, *children: Child) -> Markup:
    """A failure."""
    d = f"M{number(x - r)} {number(y - r)}l{number(2 * r)} {number(2 * r)}M{number(x + r)} {number(y - r)}"
    d += f"l{number(-2 * r)} {number(2 * r)}"
    return tag("path", *children, d=d, class_="fail")


def arrow(x: float, y: float, *children: Child, down: bool = False) -> Markup:
    """A trial beyond the edge of the figure."""
    rise = 6 if down else -6
    return tag("path", *children, d=f"M{number(x - 4)} {number(y)}h8l-4 {rise}z", class_="beyond")


def whisker(x: float, top: float, bottom: float, *, cap: float = 4) -> Markup:
    """An interval, upright, with caps."""
    c = number(cap)
    d = f"M{number(x - cap)} {number(top)}h{number(2 * cap)}m-{c} 0V{number(bottom)}m-{c} 0h{number(2 * cap)}"
    return tag("path", d=d, class_="whisker")


def text(x: float, y: float, words: str, *, anchor: str = "start", class_: str | None = None) -> Markup:
    """A line of text at a baseline."""
    return tag("text", words, x=x, y=y, text_anchor=None if anchor == "start" else anchor, class_=class_)


def circles_path(places: Iterable[tuple[float, float]], r: float) -> str:
    """Many circles as one path: a tenth of the size of many elements."""
    q = number(r)
    d = number(2 * r)
    return "".join(f"M{number(x - r)} {number(y)}a{q} {q} 0 1 0 {d} 0a{q} {q} 0 1 0 -{d} 0" for x, y in places)


def group(children: Iterable[Child], **attributes: object) -> Markup:
    """A `g` element."""
    return tag("g", *children, **attributes)
