"""What a night came to: the rows that its report is made of, and its result with what stands behind it.

Pure functions of stored rows, as in `memory/figures/analysis.py`. Each number says how it was won: re-measured on fresh
seeds after the search, or estimated in the search, which flatters, for a search keeps what looked best.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, TypeAlias

from memory.database.queries import ModelCalls, TrialCalls
from memory.figures.analysis import Analysis, analyze_trials
from memory.figures.findings import Findings, findings_of
from memory.keep.comparable import direction_of, evidence_of, measured_on
from memory.keep.comparison import compare
from memory.keep.evidence import Direction, Points
from memory.records import Campaign, Event, Measurement, Phase, Purpose, Trial, TrialKind
from memory.statistics.noise import Noise
from rails.status import Status

Kind: TypeAlias = Literal["fresh", "search", "nothing", "unmeasured"]


@dataclass(frozen=True, kw_only=True)
class ReportData:
    """Everything that a report tells of one campaign, read once; and what follows from it at once."""

    campaign: Campaign
    trials: Sequence[Trial]
    """All of the campaign by number, the one in hand included."""
    measurements: Sequence[Measurement]
    events: Sequence[Event]
    noise: Noise
    """As keep rules see it."""
    own_noise: Noise
    """From this campaign alone."""
    seconds_by_part: dict[tuple[str, str], float]
    calls: ModelCalls
    calls_by_trial: Sequence[TrialCalls] = ()

    @property
    def direction(self) -> Direction:
        """Which way the metric is better."""
        return direction_of(self.campaign)

    @property
    def metric_name(self) -> str:
        """What is measured."""
        return str(self.part("metric").get("name", "val_bpb"))

    @cached_property
    def knobs(self) -> dict[str, dict[str, Any]]:
        """The menu's knobs by name, as they were at the start."""
        knobs = self.part("menu").get("knobs")
        found = knobs.items() if isinstance(knobs, dict) else ()
        return {str(name): knob for name, knob in found if isinstance(knob, dict)}

    def part(self, name: str) -> dict[str, Any]:
        """A table of the campaign's task; empty where it has none, as in some logs."""
        found = self.campaign.task.get(name)
        return found if isinstance(found, dict) else {}

    @cached_property
    def decided(self) -> list[Trial]:
        """The trials that are over, by number."""
        return [t for t in self.trials if t.phase is Phase.DECIDED and t.status is not None]

    @cached_property
    def search(self) -> list[Trial]:
        """Those of them that were proposed."""
        return [t for t in self.decided if t.kind is TrialKind.SEARCH]

    @cached_property
    def keeps(self) -> list[Trial]:
        """Those that were kept, for whatever reason."""
        return [t for t in self.search if t.status is Status.KEEP]

    @cached_property
    def gains(self) -> list[Trial]:
        """Those that were kept for being better: all but those that were kept as simpler."""
        return [t for t in self.keeps if not t.kept_as_simpler]

    @cached_property
    def undone(self) -> list[Trial]:
        """Those whose keep was undone, because they were disqualified when the result was measured."""
        return [t for t in self.search if t.keep_undone]

    @cached_property
    def by_id(self) -> dict[str, Trial]:
        """All trials by id."""
        return {t.trial_id: t for t in self.trials}

    @cached_property
    def by_seq(self) -> dict[int, Trial]:
        """All trials by number."""
        return {t.seq: t for t in self.trials}

    @cached_property
    def baseline(self) -> Trial | None:
        """The trial that measured the starting point, once it has a metric."""
        return next((t for t in self.decided if t.kind is TrialKind.BASELINE and t.metric is not None), None)

    @cached_property
    def incumbent(self) -> Trial | None:
        """The best trial kept so far; the baseline until there is one."""
        return self.by_id.get(self.campaign.incumbent_trial_id or "")

    @cached_property
    def measurements_of(self) -> dict[str, list[Measurement]]:
        """Trial id to its measurements, whatever became of them."""
        found: dict[str, list[Measurement]] = {}
        for measurement in self.measurements:
            found.setdefault(measurement.trial_id, []).append(measurement)
        return found

    @cached_property
    def points(self) -> dict[str, Points]:
        """Program to its scores of the search on the campaign's machine, over all trials that had this program.

        What a log only states, with no measurement behind it, counts as one.
        """
        found: dict[str, dict[object, tuple[int, float]]] = {}
        for trial in self.decided:
            done = measured_on(self.measurements_of.get(trial.trial_id, []), self.campaign.hardware_fingerprint)
            by_seed = found.setdefault(program_of(trial), {})
            for m in done:
                if m.score is not None:  # the same program with the same seed is no new information
                    by_seed.setdefault(m.seed, (m.seed_index, m.score))
            if not done and trial.metric is not None and self.campaign.source is not None:
                by_seed[trial.trial_id] = (0, trial.metric)
        return {program: tuple(by_seed.values()) for program, by_seed in found.items()}

    @cached_property
    def analysis(self) -> Analysis:
        """The figures of `nightshift analyze`."""
        searched = [m for m in self.measurements if m.purpose is Purpose.SEARCH]
        return analyze_trials(self.trials, searched, list(self.knobs), self.direction)

    @cached_property
    def confirmed(self) -> frozenset[int]:
        """Numbers of the keeps whose gain is above zero with its whole 95 % interval."""
        return frozenset(t.seq for t in self.gains) - frozenset(self.analysis.unconfirmed_keeps)

    @cached_property
    def found(self) -> Findings:
        """Who proposed what, and what it came to."""
        return findings_of(self.search, self.calls_by_trial, self.confirmed, list(self.part("specialists")))

    def scores(self, trial: Trial) -> Points:
        """All scores of a trial's program in the search: (seed index, metric)."""
        return self.points.get(program_of(trial), ())


def program_of(trial: Trial) -> str:
    """What tells its program from others."""
    return trial.program_key or trial.trial_id


@dataclass(frozen=True, slots=True, kw_only=True)
class MeasuredGain:
    """The incumbent against the baseline; gains are relative to the baseline's mean, and positive when better."""

    incumbent: float
    baseline: float
    n_incumbent: int
    """Measurements behind `incumbent`."""
    n_baseline: int
    gain: float
    gain_low: float | None
    """Lower end of the 95 % interval; None when nothing is known of the noise."""
    gain_high: float | None

    @property
    def margin(self) -> float | None:
        """Half the width of the interval."""
        return None if self.gain_low is None or self.gain_high is None else (self.gain_high - self.gain_low) / 2

    @property
    def proven(self) -> bool:
        """Whether the interval lies above zero."""
        return self.gain_low is not None and self.gain_low > 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What the night came to."""

    kind: Kind
    """`fresh`: re-measured after the search; `search`: only estimated in it; `nothing`: nothing was kept;
    `unmeasured`: not even the baseline has a score."""
    trial: int | None
    """The incumbent's number."""
    fresh: MeasuredGain | None
    test: MeasuredGain | None
    """On the held-back test text."""
    search: MeasuredGain | None
    true: bool = False
    """Whether `fresh` holds the true means of a recorded table, which nothing was measured for."""
    test_looks: int | None = None
    """How often the test text had been scored in this store when the result was; None where nobody counted."""

    @property
    def told(self) -> MeasuredGain | None:
        """The comparison that the first sentence tells."""
        return self.fresh or self.search


def result_of(data: ReportData) -> Result:
    """The incumbent against the baseline, by everything that was measured for it."""
    baseline, incumbent = data.baseline, data.incumbent
    if baseline is None:
        return Result(kind="unmeasured", trial=None, fresh=None, test=None, search=None)
    final = data.campaign.final or {}
    looks = final.get("test_looks")
    test_looks = looks if isinstance(looks, int) else None
    if incumbent is None or incumbent.trial_id == baseline.trial_id:
        return Result(kind="nothing", trial=None, fresh=None, test=None, search=None, test_looks=test_looks)
    of_this = final.get("state") != "running" and final.get("incumbent") == incumbent.seq
    fresh, test = (_final(final, text) if of_this else None for text in ("val", "test"))
    search = _searched(data, baseline, incumbent)
    kind: Kind = "fresh" if fresh is not None else "search"
    true = fresh is not None and final.get("true") is True
    return Result(
        kind=kind, trial=incumbent.seq, fresh=fresh, test=test, search=search, true=true, test_looks=test_looks
    )


def _final(final: dict[str, Any], text: str) -> MeasuredGain | None:
    side, n = final.get(text), final.get("n")
    if not isinstance(side, dict) or not isinstance(n, int):
        return None
    found = {name: side.get(name) for name in ("incumbent", "baseline", "gain", "gain_low", "gain_high")}
    numbers = {name: float(value) for name, value in found.items() if isinstance(value, int | float)}
    if not {"incumbent", "baseline", "gain"} <= numbers.keys():
        return None
    return MeasuredGain(
        n_incumbent=n,
        n_baseline=n,
        incumbent=numbers["incumbent"],
        baseline=numbers["baseline"],
        gain=numbers["gain"],
        gain_low=numbers.get("gain_low"),
        gain_high=numbers.get("gain_high"),
    )


def _searched(data: ReportData, baseline: Trial, incumbent: Trial) -> MeasuredGain | None:
    """Over all draws of either program: what a lucky one comes down to."""
    ours, theirs = data.scores(incumbent), data.scores(baseline)
    if not ours or not theirs:
        return None
    found = compare(evidence_of(data.campaign, data.noise, ours, theirs))
    return MeasuredGain(
        incumbent=found.candidate_mean,
        baseline=found.incumbent_mean,
        n_incumbent=found.n_candidate,
        n_baseline=found.n_incumbent,
        gain=found.gain,
        gain_low=found.gain_low,
        gain_high=found.gain_high,
    )
