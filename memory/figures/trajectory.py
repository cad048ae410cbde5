"""The shape of a night: every trial by number, what was kept, the best so far, and how far noise alone reaches.

Pure data for a figure; nothing here draws. Many trials are summed up in columns, so that a figure of 10,000 of them is
neither slow nor a blot.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from memory.figures.campaign import ReportData, result_of
from memory.keep.comparison import CONFIDENCE
from memory.keep.evidence import Direction, better
from memory.records import Trial
from memory.statistics.noise import Noise
from memory.statistics.student_t import t_quantile
from rails.status import FINISHED, Status

MOST_POINTS = 1200
"""More finished trials than this are summed up in columns."""
COLUMNS = 100
STOPPED_EARLY = "stopped early"
"""The lane of discarded trials that were stopped as hopeless: no failure, but no score either."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """A program with a mean worth trusting: the baseline, a keep, or one of them measured again at the end."""

    trial: int
    metric: float
    """The mean of all its measurements."""
    low: float | None
    """Ends of the 95 % interval of that mean; None when nothing is known of the noise."""
    high: float | None
    n: int
    label: str
    confirmed: bool = True
    """Of a keep: whether its gain's interval lies above zero."""
    simpler: bool = False
    """Whether it was kept as simpler, which is no gain."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """A finished trial that was not kept."""

    trial: int
    metric: float
    label: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """The finished trials that were not kept, in a run of trial numbers."""

    first: int
    last: int
    count: int
    low: float
    quarter: float
    median: float
    three_quarters: float
    high: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Lane:
    """Trials of one kind that have no score, by number."""

    name: str
    trials: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """From this trial on the best so far had this mean."""

    trial: int
    metric: float
    band: float | None
    """Half the width of where 95 % of single measurements of the very same program fall; None: noise is unknown."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trajectory:
    """What the main figure shows."""

    metric: str
    direction: Direction
    last: int
    """The highest trial number."""
    baseline: Mark | None
    keeps: tuple[Mark, ...]
    points: tuple[Point, ...]
    columns: tuple[Column, ...]
    """Instead of `points`, when there are too many."""
    lanes: tuple[Lane, ...]
    steps: tuple[Step, ...]
    fresh: tuple[Mark, Mark] | None
    """Baseline and incumbent as they were measured again after the search."""
    noise: Noise

    @property
    def empty(self) -> bool:
        """Whether no trial has a score."""
        return self.baseline is None and not self.keeps and not self.points and not self.columns


def trajectory_of(data: ReportData) -> Trajectory:
    """The figure's data for a campaign."""
    scored = [t for t in data.search if t.status is Status.DISCARD and t.metric is not None]
    points = [Point(trial=t.seq, metric=t.metric, label=_label(t)) for t in scored if t.metric is not None]
    baseline = None if data.baseline is None else _mark(data, data.baseline)
    keeps = tuple(_mark(data, trial) for trial in data.keeps if trial.metric is not None)
    many = len(points) > MOST_POINTS
    return Trajectory(
        metric=data.metric_name,
        direction=data.direction,
        last=max((t.seq for t in data.trials), default=0),
        baseline=baseline,
        keeps=keeps,
        points=() if many else tuple(points),
        columns=_columns(points) if many else (),
        lanes=_lanes(data.search),
        steps=_steps([*([baseline] if baseline else []), *keeps], data.noise, data.direction),
        fresh=_fresh(data),
        noise=data.noise,
    )


def band_of(noise: Noise, n: int) -> float | None:
    """How far 95 % of new measurements fall from the mean of `n` of the same program: t(df) · sd · √(1 + 1/n)."""
    if noise.sd is None or noise.df < 1 or n < 1:
        return None
    return t_quantile((1 + CONFIDENCE) / 2, noise.df) * noise.sd * math.sqrt(1 + 1 / n)


def margin_of(noise: Noise, n: int) -> float | None:
    """Half the width of the 95 % interval of a mean of `n` measurements: t(df) · sd / √n."""
    if noise.sd is None or noise.df < 1 or n < 1:
        return None
    return t_quantile((1 + CONFIDENCE) / 2, noise.df) * noise.sd / math.sqrt(n)


def _mark(data: ReportData, trial: Trial) -> Mark:
    scores = [metric for _, metric in data.scores(trial)]
    # A log may tell a metric without a measurement behind it.
    metric = math.fsum(scores) / len(scores) if scores else trial.metric or 0.0
    return _marked(trial, metric, max(1, len(scores)), data.noise, confirmed=trial.seq in data.confirmed)


def _marked(trial: Trial, metric: float, n: int, noise: Noise, *, confirmed: bool) -> Mark:
    margin = margin_of(noise, n)
    return Mark(
        trial=trial.seq,
        metric=metric,
        low=None if margin is None else metric - margin,
        high=None if margin is None else metric + margin,
        n=n,
        label="baseline" if trial.seq == 0 else _label(trial),
        confirmed=confirmed,
        simpler=trial.kept_as_simpler,
    )


def _fresh(data: ReportData) -> tuple[Mark, Mark] | None:
    result = result_of(data)
    if result.fresh is None or data.baseline is None or data.incumbent is None:
        return None
    final, found = data.campaign.final or {}, result.fresh
    sd, df = final.get("sd"), final.get("df")
    noise = Noise(sd=sd, df=df) if isinstance(sd, float) and isinstance(df, int) else Noise(sd=None, df=0)
    return (
        _marked(data.baseline, found.baseline, found.n_baseline, noise, confirmed=True),
        _marked(data.incumbent, found.incumbent, found.n_incumbent, noise, confirmed=found.proven),
    )


def _label(trial: Trial) -> str:
    return trial.edit_key or trial.hypothesis or ""


def _lanes(search: Sequence[Trial]) -> tuple[Lane, ...]:
    """One lane a kind, in the order of the statuses; what was merely stopped early comes first."""
    found: dict[str, list[int]] = {}
    for trial in search:
        if trial.metric is None and trial.status is not None:
            name = STOPPED_EARLY if trial.status in FINISHED else str(trial.status)
            found.setdefault(name, []).append(trial.seq)
    order = [STOPPED_EARLY, *map(str, Status)]
    return tuple(Lane(name=name, trials=tuple(found[name])) for name in sorted(found, key=order.index))


def _steps(marks: Sequence[Mark], noise: Noise, direction: Direction) -> tuple[Step, ...]:
    """The best so far by replicated means: the baseline, then each keep that is better than all before it."""
    steps: list[Step] = []
    for mark in marks:
        if not steps or better(mark.metric, steps[-1].metric, direction):
            steps.append(Step(trial=mark.trial, metric=mark.metric, band=band_of(noise, mark.n)))
    return tuple(steps)


def _columns(points: Sequence[Point]) -> tuple[Column, ...]:
    """The points in `COLUMNS` runs of equally many trial numbers."""
    first, last = points[0].trial, points[-1].trial
    width = max(1, math.ceil((last - first + 1) / COLUMNS))
    runs: dict[int, list[float]] = {}
    for point in points:
        runs.setdefault((point.trial - first) // width, []).append(point.metric)
    return tuple(_column(first + run * width, width, sorted(metrics)) for run, metrics in sorted(runs.items()))


def _column(first: int, width: int, ordered: list[float]) -> Column:
    return Column(
        first=first,
        last=first + width - 1,
        count=len(ordered),
        low=ordered[0],
        quarter=quantile(ordered, 0.25),
        median=quantile(ordered, 0.5),
        three_quarters=quantile(ordered, 0.75),
        high=ordered[-1],
    )


def quantile(ordered: Sequence[float], share: float) -> float:
    """The value below which this share of sorted values lies, interpolated between neighbours.

    Args:
        ordered: at least one value, ascending.
        share: 0 to 1.
    """
    place = share * (len(ordered) - 1)
    below = math.floor(place)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (place - below) * (ordered[above] - ordered[below])


def shown_range(trajectory: Trajectory) -> tuple[float, float]:
    """The metrics that a figure should reach over, lowest and highest; what lies far on the worse side is left out.

    Marks, their intervals and the band are always inside. Trials that are worse than that are shown up to the 90th
    percentile and a quarter of its distance beyond: one trial that went wrong must not press all others into a line.
    """
    must = [v for m in (*_marks(trajectory),) for v in (m.metric, m.low, m.high) if v is not None]
    must += [s.metric + side * (s.band or 0.0) for s in trajectory.steps for side in (-1, 1)]
    others = sorted(
        [p.metric for p in trajectory.points]
        or [v for c in trajectory.columns for v in (c.low, c.quarter, c.median, c.three_quarters, c.high)]
    )
    if not must and not others:
        return 0.0, 1.0
    low, high = min(must or others), max(must or others)
    if others:
        far, near = quantile(others, 0.9), quantile(others, 0.1)
        slack = 0.25 * (max(far, high) - min(near, low)) + 1e-12
        if trajectory.direction == "minimize":
            low, high = min(low, others[0]), max(high, min(others[-1], far + slack))
        else:
            low, high = min(low, max(others[0], near - slack)), max(high, others[-1])
    return (low, high) if high > low else (low - abs(low or 1.0) * 0.01, high + abs(high or 1.0) * 0.01)


def _marks(trajectory: Trajectory) -> list[Mark]:
    return [
        *([trajectory.baseline] if trajectory.baseline else []),
        *trajectory.keeps,
        *(trajectory.fresh or ()),
    ]
