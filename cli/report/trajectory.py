"""The main figure: every trial by number, in a wide drawing for a desk and a narrow one for a phone."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from markupsafe import Markup

from cli.report import svg, text
from memory.figures.trajectory import Lane, Mark, Step, Trajectory, shown_range

LANE = 25.0
"""Height of a lane of trials without a score: its name, and a tick for each trial."""
_TITLED = 400
"""More trials than this have no tooltips: they would be most of the file."""
_LABELS = 14
"""Most keeps that are named in the figure."""


@dataclass(frozen=True, kw_only=True)
class Frame:
    """The measures of a drawing, in pixels."""

    name: str
    width: float
    plot: float
    """Height of the part with the metric."""
    left: float
    right: float
    fresh: float
    """Width of the part at the right for what was measured again."""
    ticks: int
    top: float = 12.0


WIDE = Frame(name="trajectory-wide", width=920, plot=360, left=60, right=62, fresh=104, ticks=10)
NARROW = Frame(name="trajectory-narrow", width=390, plot=280, left=48, right=8, fresh=70, ticks=5)


@dataclass(frozen=True, kw_only=True)
class Plot:
    """A trajectory in a frame, with its scales."""

    trajectory: Trajectory
    frame: Frame
    x: svg.Scale
    y: svg.Scale
    bottom: float
    """Lower edge of the part with the metric."""
    end: float
    """Right edge of the part with the trials."""
    taken: list[tuple[float, float, float, float]] = field(default_factory=list[tuple[float, float, float, float]])
    """Boxes of labels and marks, so that labels keep off each other."""


def figures(trajectory: Trajectory) -> tuple[Markup, Markup]:
    """The wide and the narrow drawing."""
    return draw(trajectory, WIDE), draw(trajectory, NARROW)


def draw(trajectory: Trajectory, frame: Frame) -> Markup:
    """One drawing of a trajectory that is not empty."""
    height, marks = body(trajectory, frame)
    return svg.figure(frame.name, (frame.width, height), _title(trajectory), describe(trajectory), marks)


def body(trajectory: Trajectory, frame: Frame) -> tuple[float, list[Markup]]:
    """What a drawing consists of, and its height."""
    plot = _plot(trajectory, frame)
    height = plot.bottom + LANE * len(trajectory.lanes) + 40
    return height, [
        *_axes(plot, height - 40),
        *_band(plot),
        *_others(plot),
        *_best(plot),
        *_keeps(plot),
        *_fresh(plot),
        *_lanes(plot),
    ]


def reaches_beyond(trajectory: Trajectory) -> bool:
    """Whether a single trial lies beyond the edge of the drawing."""
    y = _plot(trajectory, WIDE).y
    return any(not y.holds(point.metric) for point in trajectory.points)


def describe(trajectory: Trajectory) -> str:
    """The figure in words."""
    t = trajectory
    shown = len(t.points) or sum(column.count for column in t.columns)
    parts = [f"{text.counted(shown, 'finished trial')} without a keep, {text.counted(len(t.keeps), 'keep')}."]
    if t.baseline is not None:
        parts.append(f"The baseline is at {text.metric(t.baseline.metric)}.")
    if t.steps and t.keeps:
        parts.append(f"The best mean is {text.metric(t.steps[-1].metric)}, from trial {t.steps[-1].trial} on.")
    parts += [f"{text.counted(len(lane.trials), 'trial')}: {lane.name.replace('_', ' ')}." for lane in t.lanes]
    return " ".join(parts)


def _title(trajectory: Trajectory) -> str:
    way = "lower" if trajectory.direction == "minimize" else "higher"
    return f"{text.line_of(trajectory.metric, 60)} of every trial by number; {way} is better"


def _plot(trajectory: Trajectory, frame: Frame) -> Plot:
    low, high = shown_range(trajectory)
    pad = 0.06 * (high - low)
    # Beyond the best there is nothing but the names of the keeps, which need room.
    for_names = 0.14 * (high - low) if trajectory.keeps else pad
    below, above = (for_names, pad) if trajectory.direction == "minimize" else (pad, for_names)
    end = frame.width - frame.right - (frame.fresh if trajectory.fresh else 0)
    bottom = frame.top + frame.plot
    return Plot(
        trajectory=trajectory,
        frame=frame,
        x=svg.Scale(-0.5, max(trajectory.last, 3) + 0.5, frame.left + 6, end - 6),
        y=svg.Scale(low - below, high + above, bottom, frame.top),
        bottom=bottom,
        end=end,
    )


def _axes(plot: Plot, foot: float) -> list[Markup]:
    """Grid, numbers and names of the axes; the gain over the baseline at the right where there is room."""
    frame, y, x = plot.frame, plot.y, plot.x
    values = svg.ticks(y.low, y.high, 5)
    made = [
        svg.tag("path", d=f"M{svg.number(frame.left)} {svg.number(y(v))}H{svg.number(plot.end)}", class_="grid")
        for v in values
    ]
    made += [svg.text(frame.left - 7, y(v) + 4, svg.tick_text(v, values), anchor="end", class_="tick") for v in values]
    numbers = [round(v) for v in svg.ticks(0, max(plot.trajectory.last, 3), frame.ticks) if v == round(v)]
    for value in numbers:
        place = svg.number(x(value))
        made.append(svg.tag("path", d=f"M{place} {svg.number(frame.top)}V{svg.number(foot)}", class_="grid faint"))
        made.append(svg.text(x(value), foot + 16, f"{value:,}", anchor="middle", class_="tick"))
    edge = f"M{svg.number(frame.left)} {svg.number(foot)}H{svg.number(plot.end)}"
    made.append(svg.tag("path", d=edge, class_="axis"))
    made.append(svg.text((frame.left + plot.end) / 2, foot + 33, "trial", anchor="middle", class_="tick"))
    baseline = plot.trajectory.baseline
    if baseline is not None and baseline.metric and frame.right > 40:
        made += _gain_axis(plot, baseline.metric)
    return made


def _gain_axis(plot: Plot, baseline: float) -> list[Markup]:
    """The same scale as gains over the baseline, in per cent."""
    sign = -1.0 if plot.trajectory.direction == "minimize" else 1.0
    right = plot.frame.width - plot.frame.right

    def gain_of(metric: float) -> float:
        return 100 * sign * (metric - baseline) / abs(baseline)

    ends = sorted((gain_of(plot.y.low), gain_of(plot.y.high)))
    values = svg.ticks(ends[0], ends[1], 5)
    made: list[Markup] = []
    for value in values:
        at = plot.y(baseline + sign * value * abs(baseline) / 100)
        shown = svg.tick_text(value, values)
        shown = f"+{shown}" if value > 0 else shown
        made.append(svg.tag("path", d=f"M{svg.number(right)} {svg.number(at)}h5", class_="axis"))
        made.append(svg.text(right + 10, at + 4, f"{shown}{text.SPACE}%", class_="tick"))
    return made


def _band(plot: Plot) -> list[Markup]:
    """Where single measurements of the best program so far would fall."""
    made: list[Markup] = []
    for step, start, stop in _spans(plot):
        if step.band is None:
            continue
        top, bottom = sorted((plot.y(step.metric - step.band), plot.y(step.metric + step.band)))
        a, b = svg.number(start), svg.number(stop)
        made.append(svg.tag("rect", x=start, y=top, width=stop - start, height=bottom - top, class_="band"))
        edges = f"M{a} {svg.number(top)}H{b}M{a} {svg.number(bottom)}H{b}"
        made.append(svg.tag("path", d=edges, class_="band-edge"))
    return made


def _spans(plot: Plot) -> list[tuple[Step, float, float]]:
    """Each step with where it begins and ends."""
    steps = plot.trajectory.steps
    starts = [plot.x(step.trial) for step in steps]
    return list(zip(steps, starts, [*starts[1:], plot.end - 2], strict=True))


def _best(plot: Plot) -> list[Markup]:
    """The best so far, as a line in steps."""
    d = ""
    for step, _, stop in _spans(plot):
        at = svg.number(plot.y(step.metric))
        d += f"V{at}" if d else f"M{svg.number(plot.x(step.trial))} {at}"
        d += f"H{svg.number(stop)}"
    return [svg.tag("path", d=d, class_="best")] if d else []


def _others(plot: Plot) -> list[Markup]:
    """The trials that were not kept: circles, or columns where they are too many; arrows beyond the edge."""
    t, x, y = plot.trajectory, plot.x, plot.y
    if t.columns:
        return _columns(plot)
    inside = [p for p in t.points if y.holds(p.metric)]
    r = 3.0 if len(t.points) <= _TITLED else 2.0
    if len(t.points) <= _TITLED:
        made = [svg.circle(x(p.trial), y(p.metric), r, _tip(p.trial, p.label, p.metric, "discard")) for p in inside]
    else:
        d = svg.circles_path(((x(p.trial), y(p.metric)) for p in inside), r)
        made = [svg.tag("path", d=d, class_="discard")]
    down = t.direction == "maximize"
    edge = plot.bottom - 1 if down else plot.frame.top + 1
    made += [
        svg.arrow(x(p.trial), edge + (-6 if down else 6), _tip(p.trial, p.label, p.metric, "discard"), down=down)
        for p in t.points
        if not y.holds(p.metric)
    ]
    return made


def _columns(plot: Plot) -> list[Markup]:
    """For a run of trials: a line from lowest to highest, a box around the middle half, a stroke at the median."""
    lines, boxes, medians = "", "", ""
    for c in plot.trajectory.columns:
        left, right = plot.x(c.first - 0.4), plot.x(c.last + 0.4)
        middle, n = (left + right) / 2, svg.number
        lines += f"M{n(middle)} {n(plot.y(c.low))}V{n(plot.y(c.high))}"
        inset = min(1.0, (right - left) / 6)
        top, bottom = sorted((plot.y(c.quarter), plot.y(c.three_quarters)))
        boxes += f"M{n(left + inset)} {n(top)}H{n(right - inset)}V{n(bottom)}H{n(left + inset)}z"
        medians += f"M{n(left + inset)} {n(plot.y(c.median))}H{n(right - inset)}"
    return [
        svg.tag("path", d=lines, class_="spread"),
        svg.tag("path", d=boxes, class_="half"),
        svg.tag("path", d=medians, class_="median"),
    ]


def _keeps(plot: Plot) -> list[Markup]:
    """Baseline and keeps with their intervals, and the names of as many as there is room for."""
    t, made = plot.trajectory, list[Markup]()
    marks = [*([t.baseline] if t.baseline else []), *t.keeps]
    r = 5.5 if len(marks) <= 60 else 3.5
    for mark in marks:
        at = plot.x(mark.trial), plot.y(mark.metric)
        if mark.low is not None and mark.high is not None:
            made.append(svg.whisker(at[0], plot.y(mark.high), plot.y(mark.low), cap=r - 1.5))
    plot.taken.extend(_obstacles(plot))
    made += [_symbol(plot, mark, plot.x(mark.trial), r) for mark in marks]
    made += [name for mark in _worth_naming(t) if (name := _name(plot, mark)) is not None]
    return made


def _worth_naming(trajectory: Trajectory) -> list[Mark]:
    """The keeps that moved the best most, first."""
    steps = trajectory.steps
    jumps = {b.trial: abs(b.metric - a.metric) for a, b in pairwise(steps)}
    return sorted(trajectory.keeps, key=lambda mark: -jumps.get(mark.trial, 0.0))[:_LABELS]


def _symbol(plot: Plot, mark: Mark, x: float, r: float) -> Markup:
    y = plot.y(mark.metric)
    if mark.trial == 0:
        return svg.square(x, y, r - 1, _tip(0, "", mark.metric, "baseline", mark))
    kind = "kept as simpler" if mark.simpler else "keep" if mark.confirmed else "keep, unconfirmed"
    return svg.diamond(x, y, r, _tip(mark.trial, mark.label, mark.metric, kind, mark), hollow=not mark.confirmed)


def _name(plot: Plot, mark: Mark) -> Markup | None:
    """The number and edit of a keep, on the side where nothing is better; None where there is no room for it."""
    minimize = plot.trajectory.direction == "minimize"
    narrow = plot.frame.width < 500
    words = str(mark.trial) if narrow else f"{mark.trial}  {text.line_of(mark.label, 30)}".rstrip()
    beyond = mark.metric if mark.low is None or mark.high is None else mark.low if minimize else mark.high
    width, x = 6.3 * len(words) + 2, plot.x(mark.trial)
    for row in range(3):
        y = plot.y(beyond) + (15 + 14 * row if minimize else -(8 + 14 * row))
        for left in (x - 4, x + 4 - width):
            box = (left - 2, y - 11, left + width, y + 3)
            inside = plot.frame.left < box[0] and box[2] < plot.end and plot.frame.top < box[1] and box[3] < plot.bottom
            if inside and all(_apart(box, other) for other in plot.taken):
                plot.taken.append(box)
                return svg.text(left, y, words, class_="name")
    return None


def _obstacles(plot: Plot) -> list[tuple[float, float, float, float]]:
    """What a name must not cover: marks with their intervals, single trials, and the line of the best."""
    t, found = plot.trajectory, list[tuple[float, float, float, float]]()
    for mark in [*([t.baseline] if t.baseline else []), *t.keeps]:
        x, ends = plot.x(mark.trial), [plot.y(v) for v in (mark.metric, mark.low, mark.high) if v is not None]
        found.append((x - 5, min(ends) - 5, x + 5, max(ends)))
    found += [(plot.x(p.trial) - 3, plot.y(p.metric) - 3, plot.x(p.trial) + 3, plot.y(p.metric) + 3) for p in t.points]
    spans = _spans(plot)
    for (step, start, stop), after in zip(spans, [*(s for s, _, _ in spans[1:]), None], strict=True):
        y = plot.y(step.metric)
        found.append((start, y - 1, stop, y + 1))
        if after is not None:
            beyond = plot.y(after.metric)
            found.append((stop - 1, min(y, beyond), stop + 1, max(y, beyond)))
    return found


def _apart(box: tuple[float, float, float, float], other: tuple[float, float, float, float]) -> bool:
    return box[2] < other[0] or other[2] < box[0] or box[3] < other[1] or other[3] < box[1]


def _fresh(plot: Plot) -> list[Markup]:
    """What was measured again after the search, apart from the trials."""
    fresh = plot.trajectory.fresh
    if fresh is None:
        return []
    frame, right = plot.frame, plot.frame.width - plot.frame.right
    edge = svg.number(plot.end + 8)
    box = f"M{edge} {svg.number(frame.top)}H{svg.number(right)}V{svg.number(plot.bottom)}H{edge}z"
    made = [svg.tag("path", d=box, class_="fresh")]
    places = [plot.end + 8 + (right - plot.end - 8) * part for part in (0.3, 0.7)]
    for mark, x in zip(fresh, places, strict=True):
        if mark.low is not None and mark.high is not None:
            made.append(svg.whisker(x, plot.y(mark.high), plot.y(mark.low)))
        made.append(_symbol(plot, mark, x, 6))
    middle = sum(places) / 2
    words = ("fresh", "seeds") if frame.width < 500 else ("again, on", "fresh seeds")
    top = plot.bottom - 26 if _room_below(plot, fresh) else frame.top + 16
    made += [svg.text(middle, top + 14 * row, word, anchor="middle") for row, word in enumerate(words)]
    return made


def _room_below(plot: Plot, marks: Sequence[Mark]) -> bool:
    lowest = max(plot.y(m.metric if m.low is None or m.high is None else m.low) for m in marks)
    return lowest < plot.bottom - 42


def _lanes(plot: Plot) -> list[Markup]:
    """A lane for each kind of trial without a score: its name and count, and a tick a trial."""
    made: list[Markup] = []
    for row, lane in enumerate(plot.trajectory.lanes):
        top = plot.bottom + LANE * row
        made.append(
            svg.tag("path", d=f"M{svg.number(plot.frame.left)} {svg.number(top)}H{svg.number(plot.end)}", class_="grid")
        )
        words = f"{lane.name.replace('_', ' ')} · {len(lane.trials):,}"
        made.append(svg.text(plot.frame.left + 4, top + 11, words, class_="small"))
        made.append(_ticks(plot, lane, top + 14))
    return made


def _ticks(plot: Plot, lane: Lane, top: float) -> Markup:
    """A stroke a trial; where they are too dense, bars as high as there are many."""
    room = plot.x.end - plot.x.start
    if len(lane.trials) <= room / 3:
        strokes = "".join(f"M{svg.number(plot.x(trial))} {svg.number(top)}v8" for trial in lane.trials)
        titles = [svg.tag("title", f"{lane.name}: trial {_some(lane.trials)}")]
        return svg.tag("path", *titles, d=strokes, class_="fail")
    counts: dict[int, int] = {}
    for trial in lane.trials:
        cell = math.floor(plot.x(trial) / 4)
        counts[cell] = counts.get(cell, 0) + 1
    most = max(counts.values())
    bars = "".join(
        f"M{4 * cell} {svg.number(top + 8)}v{svg.number(-8 * n / most)}h3v{svg.number(8 * n / most)}z"
        for cell, n in counts.items()
    )
    return svg.tag("path", svg.tag("title", f"{lane.name}: at most {most} trials a bar"), d=bars, class_="fail-bar")


def _some(numbers: Sequence[int]) -> str:
    shown = ", ".join(map(str, numbers[:12]))
    return shown if len(numbers) <= 12 else f"{shown} and {len(numbers) - 12} more"


def _tip(trial: int, label: str, value: float, kind: str, mark: Mark | None = None) -> Markup:
    """What a pointer shows over a mark."""
    words = f"trial {trial}: {kind}" + (f", {text.line_of(label, 80)}" if label else "")
    measured = "" if mark is None else f", mean of {mark.n}"
    return svg.tag("title", f"{words}, {text.metric(value)}{measured}")
