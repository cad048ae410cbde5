"""The report of a study: its verdict, the mean best so far of each arm as a figure, and what pairs differ by."""

from collections.abc import Iterator, Sequence
from importlib.resources import files
from pathlib import Path

from markupsafe import Markup, escape

from cli.report import svg
from cli.report.text import seen
from memory.atomic import atomic_write_bytes
from studies.ablation.comparison import ArmFigures, Comparison
from studies.ablation.study import Study
from studies.ablation.verdict import MEANINGS, StudyResult, failures_of

WIDTH, HEIGHT = 860.0, 360.0
LEFT, RIGHT, TOP, BOTTOM = 70.0, 190.0, 24.0, 40.0
KINDS = 4
"""Lines that look different; a fifth arm looks like the first, and has its name at its end."""
LABEL_GAP = 16.0


def write_study_report(study: Study, result: StudyResult) -> Path:
    """Write `report.html`, `report.svg` and `result.json` into the study's folder; the page's path.

    Raises:
        HaltError: the disk is full or the folder cannot be written.
    """
    study.folder.mkdir(parents=True, exist_ok=True)
    css = files("cli.report").joinpath("page.css").read_text(encoding="utf-8")
    drawn = draw_curves(result)
    alone = str(drawn).replace("<svg", '<svg xmlns="http://www.w3.org/2000/svg"', 1)
    alone = alone.replace("</title>", f"</title><style>{css}</style>", 1)
    for name, text in (
        ("result.json", result.model_dump_json(indent=1) + "\n"),
        ("report.svg", alone),
        ("report.html", render_study(result, drawn, css)),
    ):
        atomic_write_bytes(study.folder / name, text.encode("utf-8"), flush=False)
    return study.folder / "report.html"


def render_study(result: StudyResult, drawn: Markup, css: str) -> str:
    """The page."""
    truth = "true scores, as the table knows them" if result.true_scores else "scores as measured"
    parts = [
        svg.tag("p", f"nightshift · a study of {result.pairs} pairs × {result.trials} trials", class_="over"),
        svg.tag("h1", result.verdict),
        svg.tag("p", f"{result.metric}, {_way(result)} is better; {truth}. {_HOW}", class_="note"),
        *([svg.tag("p", f"Stopped before its end: {result.stopped}.", class_="warn")] if result.stopped else []),
        svg.tag("section", svg.tag("h2", "Mean best so far, by trial"), svg.tag("figure", drawn)),
        svg.tag("section", svg.tag("h2", "Mean of a campaign"), _arm_table(result.arms)),
        *(svg.tag("section", svg.tag("h2", f"{c.first} minus {c.second}"), _table(c)) for c in result.comparisons),
    ]
    failures = failures_of(result.arms)
    if failures:
        listed = svg.tag("ul", *(svg.tag("li", failure) for failure in failures))
        parts.append(svg.tag("section", svg.tag("h2", "Failures"), listed))
    head = _HEAD.format(title=escape(seen(result.verdict)), css=css)
    return f'<!DOCTYPE html>\n<html lang="en"><head>{head}</head><body>{"".join(parts)}</body></html>\n'


_HEAD = """<meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark"><meta name="referrer" content="no-referrer">
<title>{title}</title><style>{css}</style>"""
_HOW = (
    "Arms are compared pair by pair, a campaign of each on one seed. p: two-sided, by exchanging the arms of pairs; "
    "intervals: 95 %, pairs drawn anew. The first measure decides; for the others p (Holm) counts. "
    "Needed: how many pairs in all would tell a difference as large as this one (level 5 %, power 80 %)."
)


def draw_curves(result: StudyResult) -> Markup:
    """The mean best so far of each arm."""
    values = [value for arm in result.arms for value in arm.curve]
    low, high = (min(values), max(values)) if values else (0.0, 1.0)
    room = 0.05 * ((high - low) or abs(high) or 1.0)
    longest = max((len(arm.curve) for arm in result.arms), default=1)
    x = svg.Scale(0, max(1, longest - 1), LEFT, WIDTH - RIGHT)
    y = svg.Scale(low - room, high + room, HEIGHT - BOTTOM, TOP)
    children = [*_grid(x, y), *_lines(result.arms, x, y)]
    said = "; ".join(f"{arm.name} ends at {arm.curve[-1]:.6g}" for arm in result.arms if arm.curve)
    title = f"Mean best {result.metric} so far, by trial ({_way(result)} is better)"
    return svg.figure("study", (WIDTH, HEIGHT), title, said, children)


def _grid(x: svg.Scale, y: svg.Scale) -> Iterator[Markup]:
    rows, columns = svg.ticks(y.low, y.high, 5), svg.ticks(x.low, x.high, 8)
    for value in rows:
        place = y(value)
        yield svg.tag("path", d=f"M{svg.number(LEFT)} {svg.number(place)}H{svg.number(WIDTH - RIGHT)}", class_="grid")
        yield svg.text(LEFT - 8, place + 4, svg.tick_text(value, rows), anchor="end", class_="tick")
    for value in columns:
        yield svg.text(x(value), HEIGHT - BOTTOM + 20, svg.tick_text(value, columns), anchor="middle", class_="tick")


def _lines(arms: Sequence[ArmFigures], x: svg.Scale, y: svg.Scale) -> Iterator[Markup]:
    """A line for each arm, with its name at its end; names keep apart."""
    taken: list[float] = []
    ends = {number: y(arm.curve[-1]) for number, arm in enumerate(arms) if arm.curve}
    for number in sorted(ends, key=lambda number: -ends[number]):
        points = [f"{svg.number(x(trial))} {svg.number(y(value))}" for trial, value in enumerate(arms[number].curve)]
        look = f"arm arm-{number % KINDS}"
        yield svg.tag("path", d=f"M{'L'.join(points)}", class_=look)
        place = ends[number]
        while any(abs(place - other) < LABEL_GAP for other in taken):
            place -= LABEL_GAP / 2
        taken.append(place)
        yield svg.tag("path", d=f"M{svg.number(WIDTH - RIGHT + 6)} {svg.number(place)}h22", class_=look)
        yield svg.text(WIDTH - RIGHT + 32, place + 4, arms[number].name[:28])


def _arm_table(arms: Sequence[ArmFigures]) -> Markup:
    rows = [
        (MEANINGS[name], *(_figure(arm.measures.get(name)) for arm in arms))
        for name in MEANINGS
        if any(arm.measures.get(name) is not None for arm in arms)
    ]
    rows.append(("campaigns", *(str(arm.campaigns) for arm in arms)))
    return _rows(("", *(arm.name for arm in arms)), rows)


def _table(found: Comparison) -> Markup:
    rows = [
        (
            MEANINGS[name],
            _figure(d.mean),
            "" if d.low is None else f"[{_figure(d.low)}, {_figure(d.high)}]",
            f"{d.p:.4f}",
            f"{d.p_holm:.4f}",
            str(d.n),
            _figure(d.pairs_needed),
        )
        for name, d in found.differences.items()
    ]
    return _rows(("", "difference", "95 % interval", "p", "p (Holm)", "pairs", "needed"), rows)


def _rows(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> Markup:
    head = svg.tag("thead", svg.tag("tr", *(svg.tag("th", column, scope="col") for column in columns)))
    body = [
        svg.tag("tr", svg.tag("th", row[0], scope="row"), *(svg.tag("td", cell, class_="num") for cell in row[1:]))
        for row in rows
    ]
    return svg.tag("div", svg.tag("table", head, svg.tag("tbody", *body)), class_="scroll")


def _figure(value: float | None) -> str:
    return "–" if value is None else f"{value:.5g}"


def _way(result: StudyResult) -> str:
    return "lower" if result.direction == "minimize" else "higher"
