"""The main figure as a picture, for a mail, a chat or a paper: the page's drawing with its headline and its legend.

resvg draws it by the page's own style sheet, of which it knows all but custom properties and media queries: the light
colours are filled in. The font comes with nightshift and no other is looked for, because a machine may have none, and
so that the picture is the same everywhere.
"""

import re
from importlib.resources import files
from textwrap import wrap

from markupsafe import Markup

from cli.report import small, svg, text
from cli.report.legend import legend
from cli.report.trajectory import WIDE, body
from memory.figures.trajectory import Trajectory

WIDTH_PX = 1500
FONT = "Source Sans 3"
_MARGIN = 20.0
_WIDTH = WIDE.width + 2 * _MARGIN
_LINE = 22.0
"""From a line of the headline to the next, and from a row of the legend to the next."""
_HEADLINE = "font-size: 17px; font-weight: 600"
_HEADLINE_LETTERS = 115
"""Of a line: each may take 8 pixels, and takes 7 on average."""
_LETTER = 5.5
"""Room for a letter of the legend; it takes 5 on average."""


def draw_png(trajectory: Trajectory, headline: str) -> bytes:
    """The trajectory with the report's first sentence above it, as a PNG of 1500 pixels in width."""
    import fontpkg
    import resvg_py

    css, paper = _light(files("cli.report").joinpath("page.css").read_text(encoding="utf-8"))
    return resvg_py.svg_to_bytes(
        svg_string=str(_picture(trajectory, headline)),
        style_sheet=css,
        background=paper,
        skip_system_fonts=True,
        font_files=[str(fontpkg.path(FONT))],
        sans_serif_family=FONT,
    )


def _light(css: str) -> tuple[str, str]:
    """The page's style sheet with the values of its first block, the light ones, filled in; and the paper's colour."""
    values = dict(re.findall(r"(--[\w-]+): ([^;]+);", css[: css.index("}")]))
    return re.sub(r"var\((--[\w-]+)\)", lambda used: values[used[1]], css), values["--paper"]


def _picture(trajectory: Trajectory, headline: str) -> Markup:
    """The headline, the drawing and its legend, one below the other."""
    lines = wrap(headline, _HEADLINE_LETTERS)
    parts = [svg.tag("text", line, x=_MARGIN, y=12 + _LINE * row, style=_HEADLINE) for row, line in enumerate(lines, 1)]
    top = 20 + _LINE * len(lines)
    if trajectory.empty:
        height = top + WIDE.plot
        nothing = "Nothing has been measured yet."
        parts.append(svg.text(_WIDTH / 2, (top + height) / 2, nothing, anchor="middle", class_="tick"))
    else:
        figure_height, marks = body(trajectory, WIDE)
        parts += [*_axis_names(trajectory, top + 20), _at(_MARGIN, top + 20, *marks)]
        rows = _legend_rows(trajectory)
        below = top + 20 + figure_height + 8
        parts += [_at(_MARGIN, below + _LINE * number, *row) for number, row in enumerate(rows)]
        height = below + _LINE * len(rows) + 8
    return svg.tag(
        "svg",
        *parts,
        xmlns="http://www.w3.org/2000/svg",
        width=WIDTH_PX,
        height=round(height * WIDTH_PX / _WIDTH),
        viewBox=f"0 0 {svg.number(_WIDTH)} {svg.number(height)}",
    )


def _at(x: float, y: float, *children: Markup) -> Markup:
    return svg.group(children, transform=f"translate({svg.number(x)} {svg.number(y)})")


def _axis_names(t: Trajectory, y: float) -> list[Markup]:
    """What both axes say; on the page the text around the figure does."""
    way = "lower" if t.direction == "minimize" else "higher"
    names = [svg.text(_MARGIN, y, f"{text.line_of(t.metric, 60)} ({way} is better)", class_="tick")]
    if t.baseline is not None and t.baseline.metric:
        names.append(svg.text(_WIDTH - _MARGIN, y, "gain over the baseline", anchor="end", class_="tick"))
    return names


def _legend_rows(trajectory: Trajectory) -> list[list[Markup]]:
    """The legend in as many rows as it needs, each from its own left end on."""
    marks, rows, x = small.marks(), [list[Markup]()], 0.0
    for mark, meaning in legend(trajectory):
        width = 24 + _LETTER * len(meaning)
        if rows[-1] and x + width > WIDE.width:
            rows.append([])
            x = 0.0
        rows[-1] += [_at(x, 0, marks[mark]), svg.text(x + 24, 12, meaning, class_="tick")]
        x += width + 16
    return rows
