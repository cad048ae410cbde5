"""The figure of a race: for each proposer how well it foresaw held-out choices, and what it left to win live."""

from collections.abc import Iterator, Mapping
from importlib.resources import files
from typing import Any

from markupsafe import Markup

from cli.report import svg

WIDTH, ROW, TOP, BOTTOM = 860.0, 26.0, 44.0, 34.0
NAMES, PANEL, GAP = 170.0, 300.0, 50.0
DOT = 4.5

Intervals = Mapping[str, tuple[float, float | None, float | None]]
"""By proposer a figure with the ends of its interval; None where it has none."""


def race_svg(found: Mapping[str, Any]) -> str:
    """A drawing of its own, with the style sheet of the reports inside.

    Args:
        found: what `nightshift race --json` prints.
    """
    css = files("cli.report").joinpath("page.css").read_text(encoding="utf-8")
    drawn = str(draw_race(found)).replace("<svg", '<svg xmlns="http://www.w3.org/2000/svg"', 1)
    return drawn.replace("</title>", f"</title><style>{css}</style>", 1)


def draw_race(found: Mapping[str, Any]) -> Markup:
    """One row a proposer, one panel for held-out choices and one for the live race, where there was one."""
    nll = {
        name: (f["nll"], f["nll_low"], f["nll_high"]) for name, f in found["proposers"].items() if f["nll"] is not None
    }
    panels = [("Held-out choices: negative log-likelihood, nats", nll)]
    if live := found.get("live"):
        regret = {name: (r["mean"], r["low"], r["high"]) for name, r in live["regret"].items()}
        panels.append((f"Live on {live['table']}: regret, 1 is the start", regret))
    names = list(dict.fromkeys(name for _, panel in panels for name in panel))
    rows = {name: TOP + ROW * (place + 0.5) for place, name in enumerate(names)}
    height = TOP + ROW * len(names) + BOTTOM
    children = [svg.text(NAMES - 12, y + 4, name[:26], anchor="end") for name, y in rows.items()]
    for place, (title, panel) in enumerate(panels):
        left = NAMES + place * (PANEL + GAP)
        children += [svg.text(left, 16, f"{title}; lower is better", class_="tick"), *_panel(panel, rows, left)]
    said = "; ".join(f"{name} {values[0]:.3g}" for _, panel in panels for name, values in panel.items())
    return svg.figure("race", (WIDTH, height), "A race of proposers, with 95 % intervals", said, children)


def _panel(panel: Intervals, rows: Mapping[str, float], left: float) -> Iterator[Markup]:
    ends = [end for values in panel.values() for end in values if end is not None] or [0.0, 1.0]
    room = 0.05 * ((max(ends) - min(ends)) or 1.0)
    x = svg.Scale(min(ends) - room, max(ends) + room, left, left + PANEL)
    bottom = TOP + ROW * len(rows)
    values = svg.ticks(x.low, x.high, 6)
    for value in values:
        yield svg.tag("path", d=f"M{svg.number(x(value))} {svg.number(TOP)}V{svg.number(bottom)}", class_="grid")
        yield svg.text(x(value), bottom + 18, svg.tick_text(value, values), anchor="middle", class_="tick")
    for name, (mean, low, high) in panel.items():
        y = rows[name]
        if low is not None and high is not None:
            yield _bar(x(low), x(high), y)
        yield svg.diamond(x(mean), y, DOT)


def _bar(start: float, end: float, y: float) -> Markup:
    """An interval, lying, with caps."""
    d = f"M{svg.number(start)} {svg.number(y - 4)}v8m0 -4H{svg.number(end)}m0 -4v8"
    return svg.tag("path", d=d, class_="whisker")
