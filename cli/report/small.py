"""Small drawings: repeats by ten, and the shares, intervals and marks in the rows of tables."""

from collections.abc import Sequence

from markupsafe import Markup

from cli.report import svg, text
from rails.status import Status


def windows(rates: Sequence[float]) -> Markup:
    """The rate of repeats in each run of ten proposals, as bars; neighbours are averaged where they are too many."""
    size = -(-len(rates) // 60)
    runs = [rates[start : start + size] for start in range(0, len(rates), size)]
    bars = [sum(run) / len(run) for run in runs]
    step = 600 / max(12, len(bars))
    made = [svg.tag("path", d=f"M0 {y}H600", class_="grid") for y in (4, 44, 84)]
    for index, rate in enumerate(bars):
        tip = svg.tag("title", f"{_from_to(index, size, len(rates))}: {text.share(rate)}")
        x, height = index * step + 1, 80 * rate
        made.append(
            svg.tag("rect", tip, x=x, y=84 - max(height, 1), width=step - 2, height=max(height, 1.0), class_="bar")
        )
    shown = ", ".join(text.share(rate) for rate in bars)
    words = f"From the first proposals to the last: {shown}."
    return svg.figure("repeats", (600, 88), "Share of repeats in each run of ten proposals", words, made)


def _from_to(index: int, size: int, count: int) -> str:
    last = min((index + 1) * size, count)
    return f"proposals {10 * index * size + 1} to {10 * last}"


def bar(part: float) -> Markup:
    """A share of a whole as a bar of a table."""
    width = f"{100 * min(1.0, max(0.0, part)):.1f}%"
    return svg.tag(
        "svg", svg.tag("rect", width=width, height="100%", class_="bar"), class_="bar-cell", aria_hidden="true"
    )


def forest(gain: float, low: float | None, high: float | None, ends: tuple[float, float]) -> Markup:
    """A gain with its interval on a scale that the rows of a table share, zero marked."""
    scale = svg.Scale(ends[0], ends[1], 2, 98)

    def at(value: float) -> str:
        return f"{scale(value):.1f}%"

    made = [svg.tag("line", x1=at(0.0), x2=at(0.0), y1="0", y2="100%", class_="zero")]
    if low is not None and high is not None:
        made.append(svg.tag("line", x1=at(low), x2=at(high), y1="50%", y2="50%", class_="whisker"))
    made.append(svg.tag("circle", cx=at(gain), cy="50%", r="3.5", class_="dot"))
    return svg.tag("svg", *made, class_="forest", aria_hidden="true")


def forest_ends(rows: Sequence[tuple[float | None, float | None, float | None]]) -> tuple[float, float]:
    """The scale that `forest` needs for these gains and intervals."""
    known = [value for row in rows for value in row if value is not None]
    low, high = min([0.0, *known]), max([0.0, *known])
    return (low, high) if high > low else (-0.01, 0.01)


def strip(children: Sequence[tuple[int, Status]], most: int = 34) -> Markup:
    """What was tried on top of a program, one mark a trial in their order."""
    made: list[Markup] = []
    for index, (trial, status) in enumerate(children[:most]):
        x, tip = 5.0 + 9 * index, svg.tag("title", f"trial {trial}: {status}")
        if status is Status.KEEP:
            made.append(svg.diamond(x, 7, 4, tip))
        elif status is Status.DISCARD:
            made.append(svg.circle(x, 7, 2.5, tip))
        else:
            made.append(svg.cross(x, 7, 2.5, tip))
    width = 9 * min(len(children), most) + 1
    box = f"0 0 {width} 14"
    return svg.tag("svg", *made, class_="strip", width=width, height=14, viewBox=box, aria_hidden="true")


def symbols() -> dict[str, Markup]:
    """The marks of the figures by name, each a drawing of its own for a line of text."""
    return {
        name: svg.tag("svg", mark, class_="symbol", viewBox="0 0 18 16", aria_hidden="true")
        for name, mark in marks().items()
    }


def marks() -> dict[str, Markup]:
    """The marks of the figures by name, in 18 by 16 pixels."""
    return {
        "base": svg.square(9, 8, 4.5),
        "keep": Markup("").join([svg.whisker(9, 1.5, 14.5, cap=3), svg.diamond(9, 8, 5)]),
        "kept": svg.diamond(9, 8, 5.5),
        "unconfirmed": svg.diamond(9, 8, 5, hollow=True),
        "discard": svg.circle(9, 8, 3),
        "fail": svg.tag("path", d="M5 4v8M9 4v8M13 4v8", class_="fail"),
        "cross": svg.cross(9, 8, 3),
        "best": svg.tag("path", d="M1 5H9V11H17", class_="best"),
        "band": Markup("").join(
            [
                svg.tag("rect", x=1, y=3, width=16, height=10, class_="band"),
                svg.tag("path", d="M1 3H17M1 13H17", class_="band-edge"),
            ]
        ),
        "beyond": svg.arrow(9, 11),
        "column": Markup("").join(
            [
                svg.tag("path", d="M9 1V15", class_="spread"),
                svg.tag("rect", x=5, y=5, width=8, height=6, class_="half"),
                svg.tag("path", d="M5 8H13", class_="median"),
            ]
        ),
        "default": svg.tag("path", d="M9 1V15", class_="default"),
    }
