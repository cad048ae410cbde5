"""The page: its template filled with what was gathered, and locked so that nothing in it can run or load anything.

Every text is escaped by the template engine, and the page's own policy forbids scripts, images, frames, forms and
connections, and every style but the one sheet whose hash it names.
"""

import base64
import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.resources import files
from typing import Any

from jinja2 import DictLoader, Environment, StrictUndefined
from markupsafe import Markup

from cli.report import knobs, small, text, trajectory, words
from cli.report.gathered import Gathered
from cli.report.legend import legend
from cli.show.found import ORIGINS
from memory.figures.campaign import ReportData
from memory.figures.knobs import KnobHistory
from memory.lineage.hurdles import hurdle_of
from memory.records import Trial

MOST_ROWS = 300
"""Most trials in the table of all trials, and most rows of any other table."""
MOST_KEEPS = 40
"""Keeps that are shown with their diffs, the latest ones."""
MOST_LINES = 90
"""Lines of a diff."""
MOST_PANELS = 24
"""Knobs that get a drawing."""
UNCORRECTED = "Intervals are not corrected for selection: of many that were tried, the best look better than they are."


@dataclass(frozen=True, kw_only=True)
class Diff:
    """A diff as it is shown: lines with what they are, and how many were left out."""

    lines: tuple[tuple[str, str], ...]
    """(`add`, `del`, `hunk`, `file` or `same`, the line)."""
    more: int


def render(gathered: Gathered, now: datetime) -> str:
    """The page as one document that needs nothing else.

    Args:
        gathered: what it tells.
        now: when it is made.
    """
    css = files("cli.report").joinpath("page.css").read_text(encoding="utf-8")
    template = files("cli.report").joinpath("page.html").read_text(encoding="utf-8")
    environment = Environment(
        autoescape=True,
        finalize=_finalized,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        loader=DictLoader({"page.html": template}),
    )
    environment.filters.update(_filters())
    return environment.get_template("page.html").render(_context(gathered, css, now))


def _finalized(shown: object) -> object:
    return text.seen(shown) if isinstance(shown, str) and not isinstance(shown, Markup) else shown


def policy(css: str) -> str:
    """The page's content security policy: nothing but the style sheet with this text."""
    sha256 = base64.b64encode(hashlib.sha256(css.encode("utf-8")).digest()).decode("ascii")
    return f"default-src 'none'; style-src 'sha256-{sha256}'; base-uri 'none'; form-action 'none'"


def _filters() -> dict[str, Callable[..., object]]:
    plain = {
        name: getattr(text, name)
        for name in ("metric", "percent", "estimate", "interval", "share", "duration", "energy", "dollars", "value")
    }
    return {
        **plain,
        "number": _number,
        "cost": _cost,
        "line": text.line_of,
        "counted": text.counted,
        "probability": _probability,
        "moment": _moment,
    }


def _context(g: Gathered, css: str, now: datetime) -> dict[str, Any]:
    data, panels = g.data, g.coverage.knobs[:MOST_PANELS]
    drawn = None if g.trajectory.empty else trajectory.figures(g.trajectory)
    gains = small.forest_ends(
        [
            *((t.gain, t.gain_low, t.gain_high) for t in data.keeps),
            *((miss.gain, miss.gain_low, miss.gain_high) for miss in g.near[:MOST_ROWS]),
        ]
    )
    return {
        "g": g,
        "data": data,
        "campaign": data.campaign,
        "css": Markup(css),
        "policy": policy(css),
        "source": text.line_of(g.reading.source, 200),
        "now": now,
        "headline": words.headline(data, g.result, g.time, g.costs),
        "known": words.how_known(data, g.result),
        "figures": drawn,
        "legend": legend(g.trajectory),
        "panels": [(knob, knobs.panel(n, knob, knobs.gain_range(panels))) for n, knob in enumerate(panels)],
        "values": _value_rows(g.coverage.knobs),
        "windows": small.windows(data.analysis.repeats.windows) if data.analysis.repeats.windows else None,
        "bar": small.bar,
        "forest": lambda row: small.forest(row.gain, row.gain_low, row.gain_high, gains),
        "strip": small.strip,
        "symbols": small.symbols(),
        "keeps": data.keeps[-MOST_KEEPS:],
        "told": {t.seq for t in data.keeps[-MOST_KEEPS:]},
        "totals": _totals(data.keeps),
        "diff": lambda trial: diff_of(trial.diff),
        "scores": lambda trial: [m for _, m in data.scores(trial)],
        "hurdle": lambda trial: hurdle_of(trial, {"keep": data.part("keep")}),
        "rows": data.decided[-MOST_ROWS:],
        "to_learn_from": words.to_learn_from(data),
        "costs": words.costs_lines(g.costs),
        "origins": ORIGINS,
        "critic": words.critic_lines(data.found.critic) if data.found.critic is not None else [],
        "environment": _environment(data),
        "settings": text.flat({key: value for key, value in data.campaign.task.items() if key != "menu"})[:MOST_ROWS],
        "uncorrected": UNCORRECTED,
        "most_rows": MOST_ROWS,
    }


def diff_of(diff: str | None) -> Diff | None:
    """A stored diff as lines."""
    if not diff:
        return None
    lines = text.block_of(diff).rstrip().split("\n")
    return Diff(
        lines=tuple((_kind(line), line[:500]) for line in lines[:MOST_LINES]), more=max(0, len(lines) - MOST_LINES)
    )


def _kind(line: str) -> str:
    if line.startswith(("+++", "---")):
        return "file"
    return {"+": "add", "-": "del", "@": "hunk"}.get(line[:1], "same")


def _value_rows(touched: Sequence[KnobHistory]) -> list[tuple[KnobHistory, Any]]:
    return [(knob, value) for knob in touched for value in knob.values][:MOST_ROWS]


def _totals(keeps: Sequence[Trial]) -> dict[int, float]:
    """Keep to the sum of all gains up to it: along the chain of keeps they add up."""
    total, totals = 0.0, dict[int, float]()
    for keep in keeps:
        total += keep.gain or 0.0
        totals[keep.seq] = total
    return totals


def _environment(data: ReportData) -> list[tuple[str, list[tuple[str, str]]]]:
    """Titled tables of what the night ran on."""
    c, noise = data.campaign, data.noise
    spread = "not known" if noise.sd is None else f"{text.metric(noise.sd)} ({noise.df} degrees of freedom)"
    lineage = "on" if c.lineage else "off"
    search = [
        ("campaign", c.tag),
        ("branch", c.branch),
        ("proposer", c.proposer + (f", else {c.fallback}" if c.fallback else "")),
        ("lineage", lineage),
        ("keep rule", c.keep_rule),
        ("seed", str(c.seed)),
        ("noise sd of a measurement", spread),
        ("begun", _moment(c.created_at)),
        ("ended", _moment(c.ended_at)),
        ("baseline commit", c.baseline_commit),
        ("head commit", c.head_commit),
        ("imported from", c.source or ""),
    ]
    machine = [("isolation", c.isolation), ("fingerprint", c.hardware_fingerprint), *text.flat(c.hardware)]
    tables = [
        ("Campaign", [(name, text.line_of(value)) for name, value in search if value]),
        ("Limits", [(name, "no limit" if shown == "0" else shown) for name, shown in text.flat(c.limits)]),
        ("Machine", [(name, text.line_of(value)) for name, value in machine]),
        ("Versions", text.flat(dict(c.versions))),
        ("Text", [("corpus SHA-256", text.line_of(c.corpus_sha256))]),
    ]
    return [(title, rows[:MOST_ROWS]) for title, rows in tables if rows]


def _number(count: int | None) -> str:
    return text.NOTHING if count is None else f"{count:,}"


def _cost(usd: float | None) -> str:
    return text.NOTHING if usd is None else text.dollars(usd)


def _probability(value: float | None) -> str:
    """A probability, never rounded to certainty."""
    if value is None:
        return text.NOTHING
    return "<0.001" if value < 0.001 else ">0.999" if value > 0.999 else f"{value:.3f}"


def _moment(moment: datetime | None) -> str:
    """A time of day in UTC, to the minute."""
    return "" if moment is None else f"{moment.astimezone(UTC):%Y-%m-%d %H:%M} UTC"
