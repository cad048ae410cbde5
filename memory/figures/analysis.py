"""The figures of `nightshift analyze`: whether a search gets anywhere, in our own campaigns and in other loops' logs.

Everything is a pure function of neutral rows, so that an importer only has to make those. Definitions:

- A *repeat* is a proposal whose (knob, value) stood in an earlier trial, whatever became of that one.
- *Noise* is pooled over replicates: the same program measured more than once, with another seed where seeds are known.
  A baseline that a log only states, with no measurement of its own, is no replicate.
- The *replicated best* is the mean over all measurements of the best trial's program: what a lucky draw comes down to.
- A *keep* is a gain: what was kept as simpler is counted under a name of its own.
- A keep is *unconfirmed* when the 95 % interval of its gain reaches down to zero, or there is no interval. Where the
  loop gives none, it is that of all draws of its program against all of the baseline's, a stated one included.

Trials that were interrupted or aborted by the harness say nothing: they count as trials and seconds, and nowhere else.
"""

import json
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict

from memory.keep.evidence import Direction, better
from memory.records import KEPT_AS_SIMPLER, SIMPLER, Measurement, MeasurementState, Phase, Trial
from memory.statistics.noise import Noise, pooled_noise
from memory.statistics.student_t import t_quantile
from rails.status import FINISHED, QUARANTINED, Status

if TYPE_CHECKING:
    from memory.database.queries import Queries

WINDOW = 10
TOP_PAIRS = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialRow:
    """One decided trial of any loop."""

    trial: int
    status: Status
    metric: float | None = None
    """None unless the status is a finished one."""
    pair: tuple[str, str | int | float | bool] | None = None
    """Knob and new value; None when the edit is something else or was not understood."""
    program: str | None = None
    """Equal programs have equal keys."""
    draws: tuple[tuple[int | None, float], ...] = ()
    """Independent measurements as (seed, metric), the seed None where it is not known. None at all: only stated."""
    gain: float | None = None
    """Improvement over what it was compared with, relative to the baseline; positive is better."""
    gain_low: float | None = None
    """Lower end of the gain's 95 % interval, where the loop computed one."""
    seconds: float | None = None
    """None where it was not measured."""
    simpler: bool = False
    """Whether it was kept as simpler: that is no gain."""

    @property
    def is_gain(self) -> bool:
        """Whether it was kept for being better."""
        return self.status is Status.KEEP and not self.simpler

    @property
    def ended_as(self) -> str:
        """As what it is counted; see `Trial.ended_as`."""
        return KEPT_AS_SIMPLER if self.status is Status.KEEP and self.simpler else str(self.status)


class Best(BaseModel):
    """The best finished trial."""

    trial: int
    metric: float


class Repeats(BaseModel):
    """How often a proposal had been made before."""

    count: int
    rate: float | None
    windows: list[float]
    """The rate in each run of ten proposals."""


class Coverage(BaseModel):
    """How much of the menu was tried."""

    knobs_total: int
    knobs_touched: int
    untouched: list[str]
    counts: dict[str, int]


class Pair(BaseModel):
    """A knob and value, and how often it was proposed."""

    knob: str
    value: str | int | float | bool
    count: int


class NoiseFigures(BaseModel):
    """The spread of one measurement; `groups` is the number of programs measured more than once."""

    sd: float | None
    df: int
    groups: int


class ReplicatedBest(BaseModel):
    """All measurements of the best trial's program."""

    n: int
    mean: float
    improvement_frac: float | None


class Seconds(BaseModel):
    """Where the time went, the baseline included; `wasted` went into trials that did not finish.

    None, and no status, where no time was measured.
    """

    total: float | None
    wasted: float | None
    by_status: dict[str, float]


class Unreadable(BaseModel):
    """A line of a log that could not be read."""

    line: int
    why: str


class Analysis(BaseModel):
    """The figures. The baseline row is not among `trials` and `statuses`."""

    model_config = ConfigDict(frozen=True)

    trials: int
    statuses: dict[str, int]
    keep_rate: float | None
    """Keeps among the trials that say something."""
    first_keep: int | None
    best: Best | None
    baseline: float | None
    improvement_frac: float | None
    repeats: Repeats
    coverage: Coverage
    top_pairs: list[Pair]
    noise: NoiseFigures
    replicated_best: ReplicatedBest | None
    unconfirmed_keeps: list[int]
    """Their numbers."""
    seconds: Seconds
    unreadable: list[Unreadable]


def analyze_trials(
    trials: Sequence[Trial],
    measurements: Sequence[Measurement],
    knobs: Sequence[str],
    direction: Direction = "minimize",
) -> Analysis:
    """The figures of one of our own campaigns.

    Args:
        trials: all trials of one campaign; undecided ones are left out.
        measurements: all measurements of that campaign.
        knobs: names of the menu's knobs.
        direction: which way the metric is better.
    """
    return analyze_rows(rows_of(trials, measurements), knobs, direction)


def rows_of(trials: Sequence[Trial], measurements: Sequence[Measurement]) -> list[TrialRow]:
    """Our own records as neutral rows, by number."""
    measured: dict[str, list[Measurement]] = {}
    for done in measurements:
        measured.setdefault(done.trial_id, []).append(done)
    rows = (row_of(trial, measured.get(trial.trial_id, ())) for trial in trials)
    return sorted((row for row in rows if row is not None), key=lambda row: row.trial)


def row_of(trial: Trial, measurements: Sequence[Measurement]) -> TrialRow | None:
    """A trial of ours with its measurements as a neutral row; None while it is undecided."""
    if trial.phase is not Phase.DECIDED or trial.status is None:
        return None
    return TrialRow(
        trial=trial.seq,
        status=trial.status,
        metric=trial.metric,
        pair=pair_of(trial.edit),
        program=trial.program_key or trial.trial_id,
        draws=tuple(
            (done.seed, done.score)
            for done in measurements
            if done.state is MeasurementState.MEASURED and done.score is not None
        ),
        gain=trial.gain,
        gain_low=trial.gain_low,
        seconds=trial.total_s or None,
        simpler=trial.kept_as_simpler,
    )


def stored_rows(queries: "Queries", campaign_id: str) -> list[TrialRow]:
    """The same as `rows_of`, straight from the tables: 10,000 trials in a tenth of a second."""
    trials, measured = queries.outcomes(campaign_id)
    draws: dict[str, list[tuple[int | None, float]]] = {}
    for trial_id, seed, metric in measured:
        draws.setdefault(trial_id, []).append((seed, metric))
    return [
        TrialRow(
            trial=seq,
            status=Status(status),
            metric=metric,
            pair=None if edit is None else pair_of(json.loads(edit)),
            program=program or trial_id,
            draws=tuple(draws.get(trial_id, ())),
            gain=gain,
            gain_low=gain_low,
            seconds=total_s or None,
            simpler=kind == SIMPLER,
        )
        for trial_id, seq, status, metric, edit, program, gain, gain_low, total_s, kind in trials
    ]


def pair_of(edit: Mapping[str, Any] | None) -> tuple[str, str | int | float | bool] | None:
    """Knob and value of a knob edit; None for anything else, a damaged one of somebody's log included."""
    if not isinstance(edit, dict) or edit.get("kind") != "knob":
        return None
    knob, value = edit.get("knob"), edit.get("value")
    return (knob, value) if isinstance(knob, str) and isinstance(value, str | int | float) else None


def analyze_rows(
    rows: Sequence[TrialRow],
    knobs: Sequence[str],
    direction: Direction = "minimize",
    unreadable: Sequence[Unreadable] = (),
) -> Analysis:
    """The figures of any loop's trials, given in the order of proposing, its baseline first where it has one."""
    search = [row for row in rows if row.status is not Status.BASELINE]
    telling = [row for row in search if row.status not in QUARANTINED]
    keeps = [row for row in search if row.is_gain]
    baseline = next((row for row in rows if row.status is Status.BASELINE), None)
    start = None if baseline is None else baseline.metric
    groups = _programs(rows)
    noise = pooled_noise(groups.values())
    best = _best(rows, direction)
    pairs = [row.pair for row in telling if row.pair is not None]
    return Analysis(
        trials=len(search),
        statuses=dict(Counter(row.ended_as for row in search).most_common()),
        keep_rate=len(keeps) / len(telling) if telling else None,
        first_keep=keeps[0].trial if keeps else None,
        best=None if best is None else Best(trial=best.trial, metric=best.metric or 0.0),
        baseline=start,
        improvement_frac=None if best is None else _improvement(best.metric, start, direction),
        repeats=_repeats(pairs),
        coverage=_coverage(pairs, knobs),
        top_pairs=[Pair(knob=k, value=v, count=n) for (k, v), n in Counter(pairs).most_common(TOP_PAIRS)],
        noise=NoiseFigures(sd=noise.sd, df=noise.df, groups=sum(len(group) > 1 for group in groups.values())),
        replicated_best=_replicated(best, groups, start, direction),
        unconfirmed_keeps=_unconfirmed(keeps, baseline, groups, noise, direction),
        seconds=_seconds(rows),
        unreadable=list(unreadable),
    )


def _programs(rows: Sequence[TrialRow]) -> dict[str, list[float]]:
    """Program to its independent measurements. The same program with the same seed again is no news."""
    groups: dict[str, list[float]] = {}
    seen: set[tuple[str, int]] = set()
    for row in rows:
        if row.program is None or row.status not in FINISHED:
            continue
        for seed, metric in row.draws:
            if seed is None or (row.program, seed) not in seen:
                groups.setdefault(row.program, []).append(metric)
            if seed is not None:
                seen.add((row.program, seed))
    return groups


def _best(rows: Sequence[TrialRow], direction: Direction) -> TrialRow | None:
    best: TrialRow | None = None
    for row in rows:
        if row.metric is None or row.status not in FINISHED:
            continue
        if best is None or best.metric is None or better(row.metric, best.metric, direction):
            best = row
    return best


def _improvement(metric: float | None, baseline: float | None, direction: Direction) -> float | None:
    if metric is None or not baseline:
        return None
    gain = baseline - metric if direction == "minimize" else metric - baseline
    return gain / abs(baseline)


def _repeats(pairs: Sequence[tuple[str, Any]]) -> Repeats:
    seen: set[tuple[str, Any]] = set()
    flags: list[bool] = []
    for pair in pairs:
        flags.append(pair in seen)
        seen.add(pair)
    windows = [flags[start : start + WINDOW] for start in range(0, len(flags), WINDOW)]
    return Repeats(
        count=sum(flags),
        rate=sum(flags) / len(flags) if flags else None,
        windows=[sum(window) / len(window) for window in windows],
    )


def _coverage(pairs: Sequence[tuple[str, Any]], knobs: Sequence[str]) -> Coverage:
    counts = dict(Counter(knob for knob, _ in pairs).most_common())
    return Coverage(
        knobs_total=len(knobs),
        knobs_touched=sum(knob in counts for knob in knobs),
        untouched=[knob for knob in knobs if knob not in counts],
        counts=counts,
    )


def _replicated(
    best: TrialRow | None, groups: Mapping[str, list[float]], baseline: float | None, direction: Direction
) -> ReplicatedBest | None:
    draws = [] if best is None or best.program is None else groups.get(best.program, [])
    if not draws:
        return None
    mean = math.fsum(draws) / len(draws)
    return ReplicatedBest(n=len(draws), mean=mean, improvement_frac=_improvement(mean, baseline, direction))


def _unconfirmed(
    keeps: Sequence[TrialRow],
    baseline: TrialRow | None,
    groups: Mapping[str, Sequence[float]],
    noise: Noise,
    direction: Direction,
) -> list[int]:
    """Keeps whose gain is not above zero: by their own interval, else by all their draws against the baseline's."""
    means = {program: (len(draws), math.fsum(draws) / len(draws)) for program, draws in groups.items()}
    before = [] if baseline is None else list(groups.get(baseline.program or "", ()))
    if baseline is not None and baseline.metric is not None and not baseline.draws:
        before.append(baseline.metric)
    known = noise.sd is not None and bool(before)
    start = math.fsum(before) / len(before) if known else 0.0
    width = t_quantile(0.975, noise.df) * noise.sd if noise.sd is not None else 0.0

    def confirmed(keep: TrialRow) -> bool:
        if keep.gain_low is not None:
            return keep.gain_low > 0
        n, mean = means.get(keep.program or "", (0, 0.0))
        gain = start - mean if direction == "minimize" else mean - start
        return known and n > 0 and gain > width * math.sqrt(1 / n + 1 / len(before))

    return [keep.trial for keep in keeps if not confirmed(keep)]


def _seconds(rows: Sequence[TrialRow]) -> Seconds:
    timed = [(row, row.seconds) for row in rows if row.seconds is not None]
    if not timed:
        return Seconds(total=None, wasted=None, by_status={})
    by_status: dict[str, list[float]] = {}
    for row, took in timed:
        by_status.setdefault(str(row.status), []).append(took)
    return Seconds(
        total=math.fsum(took for _, took in timed),
        wasted=math.fsum(took for row, took in timed if row.status not in FINISHED),
        by_status={status: math.fsum(parts) for status, parts in by_status.items()},
    )
