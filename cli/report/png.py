"""The main figure as a picture, for a mail, a chat or a paper: the data and marks of the page, by matplotlib."""

import warnings
from io import BytesIO
from typing import TYPE_CHECKING, Any

from cli.report import text
from memory.figures.trajectory import Mark, Trajectory, shown_range

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INK, SOFT, GRID, KEEP, FAIL, TRIAL = "#1c2024", "#565d66", "#e7e4da", "#0a6b5d", "#a63a26", "#6d7680"
BAND, BAND_EDGE, PAPER = "#c9d6e6", "#7f97b5", "#fcfbf8"
LANE = 0.34
"""Height of a lane of trials without a score, in inches."""
_STYLE: dict[str, Any] = {
    "font.family": "DejaVu Sans",
    "font.size": 9,
    "text.color": INK,
    "axes.edgecolor": SOFT,
    "axes.labelcolor": SOFT,
    "axes.linewidth": 0.7,
    "axes.facecolor": PAPER,
    "figure.facecolor": PAPER,
    "xtick.color": SOFT,
    "ytick.color": SOFT,
    "text.usetex": False,
    "text.parse_math": False,  # a dollar sign in a proposal is a dollar sign
}


def draw_png(trajectory: Trajectory, headline: str) -> bytes:
    """The trajectory with the report's first sentence above it, as a PNG of 1500 pixels in width."""
    import matplotlib
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    with warnings.catch_warnings(), matplotlib.rc_context(_STYLE):  # pyright: ignore[reportArgumentType]  # its keys are any text
        warnings.filterwarnings("ignore", "Glyph")  # a metric may be named in letters that the font lacks
        lanes = len(trajectory.lanes)
        figure = Figure(figsize=(10, 5.2 + LANE * lanes), dpi=150)
        FigureCanvasAgg(figure)
        headline = text.seen(headline)
        _draw(figure, trajectory, headline)
        made = BytesIO()
        figure.savefig(made, format="png", metadata={"Title": headline, "Software": "nightshift"})
    return made.getvalue()


def _draw(figure: "Figure", trajectory: Trajectory, headline: str) -> None:
    height = figure.get_figheight()
    figure.text(0.065, 1 - 0.36 / height, headline, fontsize=12.5, fontweight="bold", va="center", wrap=True)
    if trajectory.empty:
        figure.text(0.5, 0.5, "Nothing has been measured yet.", ha="center", color=SOFT)
        return
    lanes = LANE * len(trajectory.lanes)
    foot, top = 0.95, 0.75
    plot = height - foot - top - lanes
    axes = figure.add_axes((0.065, (foot + lanes) / height, 0.86, plot / height))
    _plot(axes, trajectory)
    under = axes
    if trajectory.lanes:
        under = figure.add_axes((0.065, foot / height, 0.86, lanes / height), sharex=axes)
        _lanes(under, trajectory)
        axes.tick_params(labelbottom=False, bottom=False)
    under.set_xlabel("trial")
    handles, labels = axes.get_legend_handles_labels()
    figure.legend(handles, labels, loc="lower center", ncols=min(6, len(labels)), frameon=False, fontsize=8.5)


def _plot(axes: "Axes", t: Trajectory) -> None:
    low, high = shown_range(t)
    pad = 0.08 * (high - low)
    last = max(t.last, 3) + 0.5
    axes.set_xlim(-0.5 - 0.01 * last, last * 1.01 + (0.14 * last if t.fresh else 0))
    axes.set_ylim(low - pad * (1.6 if t.direction == "minimize" else 1), high + pad)
    axes.grid(axis="y", color=GRID, linewidth=0.7)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.set_ylabel(text.line_of(t.metric, 60))
    _band_and_best(axes, t, last)
    _others(axes, t)
    _marks(axes, t)
    if t.fresh:
        _fresh(axes, t.fresh, last)
    if t.baseline is not None and t.baseline.metric:
        _gains(axes, t, t.baseline.metric)


def _band_and_best(axes: "Axes", t: Trajectory, last: float) -> None:
    if not t.steps:
        return
    at = [*(step.trial for step in t.steps), last]
    means = [*(step.metric for step in t.steps), t.steps[-1].metric]
    if all(step.band is not None for step in t.steps):
        bands = [*(step.band or 0.0 for step in t.steps), t.steps[-1].band or 0.0]
        under = [m - b for m, b in zip(means, bands, strict=True)]
        over = [m + b for m, b in zip(means, bands, strict=True)]
        axes.fill_between(at, under, over, step="post", color=BAND, alpha=0.5, lw=0, label="noise of the best (95 %)")
        for edge in (under, over):
            axes.step(at, edge, where="post", color=BAND_EDGE, lw=0.7, ls=(0, (2, 3)))
    axes.step(at, means, where="post", color=INK, lw=1.4, label="best so far (mean)")


def _others(axes: "Axes", t: Trajectory) -> None:
    low, high = axes.get_ylim()
    inside = [p for p in t.points if low <= p.metric <= high]
    outside = [p for p in t.points if not low <= p.metric <= high]
    if inside:
        size = 14 if len(inside) <= 400 else 5
        at, metrics = [p.trial for p in inside], [p.metric for p in inside]
        axes.scatter(at, metrics, s=size, facecolor=PAPER, edgecolor=TRIAL, lw=0.8, label="discarded", zorder=2.5)
    if outside:
        up = t.direction == "minimize"
        edge = high if up else low
        marker = "^" if up else "v"
        at = [p.trial for p in outside]
        axes.scatter(at, [edge] * len(at), s=16, marker=marker, color=TRIAL, clip_on=False, label="beyond the edge")
    if t.columns:
        middles = [(c.first + c.last) / 2 for c in t.columns]
        axes.vlines(middles, [c.low for c in t.columns], [c.high for c in t.columns], color=TRIAL, lw=0.6, alpha=0.6)
        width = 0.8 * (t.columns[0].last - t.columns[0].first + 1)
        heights = [c.three_quarters - c.quarter for c in t.columns]
        quarters = [c.quarter for c in t.columns]
        axes.bar(
            middles, heights, width, quarters, color=TRIAL, alpha=0.35, label="discarded (range, middle half, median)"
        )
        medians = [c.median for c in t.columns]
        axes.hlines(medians, [m - width / 2 for m in middles], [m + width / 2 for m in middles], color=INK, lw=0.9)


def _marks(axes: "Axes", t: Trajectory) -> None:
    groups = [
        ([t.baseline] if t.baseline else [], "s", INK, "baseline"),
        ([m for m in t.keeps if m.confirmed], "D", KEEP, "keep (95 % of its mean)"),
        ([m for m in t.keeps if not m.confirmed], "D", "none", "keep, unconfirmed"),
    ]
    size = 30 if len(t.keeps) <= 60 else 12
    for marks, shape, face, label in groups:
        if marks:
            _whiskers(axes, [m.trial for m in marks], marks)
            at, metrics = [m.trial for m in marks], [m.metric for m in marks]
            edge = INK if shape == "s" else KEEP
            axes.scatter(at, metrics, s=size, marker=shape, facecolor=face, edgecolor=edge, label=label, zorder=4)


def _whiskers(axes: "Axes", places: list[int] | list[float], marks: list[Mark]) -> None:
    known = [(x, m) for x, m in zip(places, marks, strict=True) if m.low is not None and m.high is not None]
    if known:
        reach = [(m.high or 0.0) - m.metric for _, m in known]
        at, metrics = [x for x, _ in known], [m.metric for _, m in known]
        axes.errorbar(at, metrics, yerr=reach, fmt="none", ecolor=INK, elinewidth=1.1, capsize=2.5, zorder=3.5)


def _fresh(axes: "Axes", fresh: tuple[Mark, Mark], last: float) -> None:
    axes.axvspan(1.02 * last, 1.15 * last, color="#f3f1ea", zorder=0)
    places = [1.055 * last, 1.115 * last]
    _whiskers(axes, places, list(fresh))
    for x, mark, shape, colour in zip(places, fresh, ("s", "D"), (INK, KEEP), strict=True):
        face = colour if mark.confirmed else "none"
        axes.scatter([x], [mark.metric], s=34, marker=shape, facecolor=face, edgecolor=colour, zorder=4)
    axes.text(
        1.085 * last,
        0.985,
        "again, on\nfresh seeds",
        transform=axes.get_xaxis_transform(),
        ha="center",
        va="top",
        fontsize=8.5,
    )


def _gains(axes: "Axes", t: Trajectory, baseline: float) -> None:
    """The same scale as gains over the baseline, at the right."""
    sign = -1.0 if t.direction == "minimize" else 1.0
    right = axes.twinx()
    low, high = axes.get_ylim()
    right.set_ylim(*(100 * sign * (edge - baseline) / abs(baseline) for edge in (low, high)))
    right.yaxis.set_major_formatter(_per_cent)
    right.spines[["top", "left", "right"]].set_visible(False)
    right.set_ylabel("gain over the baseline")


def _per_cent(value: float, _: float) -> str:
    return f"{value:+.3g}{text.SPACE}%".replace("-", "\N{MINUS SIGN}") if abs(value) > 1e-9 else f"0{text.SPACE}%"


def _lanes(axes: "Axes", t: Trajectory) -> None:
    count = len(t.lanes)
    axes.set_ylim(count, 0)
    axes.set_yticks([])
    axes.spines[["top", "right", "left"]].set_visible(False)
    for row, lane in enumerate(t.lanes):
        alpha = 1.0 if len(lane.trials) < 300 else max(0.15, 300 / len(lane.trials))
        axes.axhline(row, color=GRID, lw=0.7)
        axes.vlines(lane.trials, row + 0.55, row + 0.9, color=FAIL, lw=1.1, alpha=alpha)
        words = f"{lane.name.replace('_', ' ')} · {len(lane.trials):,}"
        axes.annotate(
            words,
            (0, row + 0.27),
            xytext=(5, 0),
            xycoords=("axes fraction", "data"),
            textcoords="offset points",
            va="center",
            fontsize=8,
            color=SOFT,
        )
