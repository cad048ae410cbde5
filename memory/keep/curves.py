"""What the store's curves say about catching up: rows in, comparisons and a yardstick for the next candidate out."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Protocol, TypeAlias

from memory.keep.comparable import direction_of, measured_on, measures_as, on_logarithms, points_of
from memory.keep.hopeless import CurveComparison, LossesByCheckpoint, Trace, Yardstick, compare, margins, mean_losses
from memory.keep.machine_change import since_change
from memory.records import Campaign, Curve, Measurement, Trial, TrialKind, stopped_at
from memory.statistics.noise import Noise
from memory.statistics.pairs import PairSpread, pair_sd
from rails.clocks import counts_time
from rails.status import FINISHED

Share: TypeAlias = Callable[[int, int, float], float]
"""The share of the budget that is used after so many steps, tokens and seconds of its own clock."""

STOPPED_IN_A_ROW: Final = 9
"""After so many trials stopped one after the other the next runs to its end: the margin must go on being tested, and a
machine that has become slower be noticed."""


class CurveSource(Protocol):
    """What a store is asked, as far as curves need it."""

    def campaigns(self) -> list[Campaign]:
        """All campaigns."""
        ...

    def trials(self, campaign_id: str) -> list[Trial]:
        """The trials of a campaign, by number."""
        ...

    def measurements(self, trial_id: str) -> list[Measurement]:
        """The measurements of a trial."""
        ...

    def curve(self, measurement_id: str) -> Curve | None:
        """The curve of a measurement."""
        ...

    def compared_noise(self, campaign_id: str) -> Noise:
        """The spread of one measurement, on the scale on which the campaign compares scores."""
        ...

    def store_pairs(self, campaign_id: str) -> list[PairSpread]:
        """How candidates differed from their incumbents from seed to seed."""
        ...


class KnownCurves:
    """Comparisons of finished trials with their parents, over all campaigns that measure alike.

    Two trainings with one seed see the same data in the same order. Where earlier pairs show that they therefore differ
    less, a curve is compared with the parent's on the same seed; else, or where the parent has none there, with the
    mean of the parent's.

    Args:
        source: where the rows are.
        share: progress of the budget, to put curves of different speed beside each other.
    """

    def __init__(self, source: CurveSource, share: Share) -> None:
        self._source, self.share = source, share
        self._losses: dict[str, LossesByCheckpoint | None] = {}
        self._programs: dict[str, _Program | None] = {}
        self._compared: dict[tuple[str, bool], tuple[Trial, str, _Program | None, CurveComparison | None]] = {}

    def yardstick(self, campaign: Campaign, incumbent_trial_id: str, seed_index: int) -> Yardstick | None:
        """What a candidate's curve on a seed is held against; None when nothing may be stopped now."""
        if self._due_to_finish(campaign):
            return None
        noise = self._source.compared_noise(campaign.campaign_id)
        incumbent = self._program(campaign, incumbent_trial_id, noise.sd)
        if noise.sd is None or incumbent is None:
            return None
        by_mean = noise.sd * math.sqrt(1.0 + 1.0 / len(incumbent.runs))
        by_seed = pair_sd(self._source.store_pairs(campaign.campaign_id), noise.sd, noise.df)
        paired = seed_index in incumbent.runs and by_seed < by_mean
        known, beside = self.comparisons(campaign, paired=paired), incumbent.beside(seed_index if paired else None)
        scale = 1.0 if on_logarithms(campaign) else abs(beside.score) or 1.0
        found = margins(known, incumbent_trial_id, (by_seed if paired else by_mean) / scale)
        if all(margin is None for margin in found):
            return None
        return Yardstick(incumbent=beside.losses, on_seed=paired, margins=found, pairs=len(known))

    def losses_of(self, measurement: Measurement) -> LossesByCheckpoint | None:
        """A measurement's losses at the checkpoints; None when it has no curve."""
        key = measurement.measurement_id
        if key not in self._losses:  # a stored curve never changes
            curve = self._source.curve(key)
            self._losses[key] = None if curve is None else self._trace(curve).losses()
        return self._losses[key]

    def comparisons(self, campaign: Campaign, *, paired: bool) -> list[CurveComparison]:
        """Every finished search trial that has a curve, of this campaign and of those that measure alike.

        Args:
            campaign: this one.
            paired: whether each is compared on one seed, where its parent was measured on that as well.
        """
        alike = [c for c in self._source.campaigns() if measures_as(c) == measures_as(campaign)]
        trials = [(c, t) for c in alike for t in self._source.trials(c.campaign_id)]
        sd = self._source.compared_noise(campaign.campaign_id).sd
        programs: dict[str, _Program | None] = {}
        found: list[CurveComparison | None] = []
        for its_campaign, trial in trials:
            parent_id = trial.parent_trial_id
            if trial.kind is TrialKind.SEARCH and trial.status in FINISHED and parent_id is not None:
                if parent_id not in programs:
                    programs[parent_id] = self._same_program(its_campaign, parent_id, sd)
                found.append(self._same_comparison(its_campaign, trial, programs[parent_id], paired))
        return [comparison for comparison in found if comparison is not None]

    def _same_program(self, campaign: Campaign, trial_id: str, sd: float | None) -> "_Program | None":
        """As `_program`, and the same object for as long as nothing about it changes."""
        program = self._program(campaign, trial_id, sd)
        if self._programs.get(trial_id) != program:
            self._programs[trial_id] = program
        return self._programs.get(trial_id)

    def _same_comparison(
        self, campaign: Campaign, trial: Trial, parent: "_Program | None", paired: bool
    ) -> CurveComparison | None:
        """As `_comparison`, and the same object for as long as the finished trial and its parent stay as they are."""
        machine, key = campaign.hardware_fingerprint, (trial.trial_id, paired)
        known = self._compared.get(key)
        if known is None or known[0] is not trial or known[1] != machine or known[2] is not parent:
            known = trial, machine, parent, self._comparison(campaign, trial, parent, paired)
            self._compared[key] = known
        return known[3]

    def _comparison(
        self, campaign: Campaign, trial: Trial, parent: "_Program | None", paired: bool
    ) -> CurveComparison | None:
        runs = self._runs(self._measured(campaign, trial.trial_id))
        if not runs or parent is None:
            return None
        # One seed of each trial, as the next candidate is judged by one. Of those that the parent has as well the
        # first; on a budget of time the newest, as the two were then trained soonest after each other. Times of day
        # would not say which that is, on a clock that is put back.
        shared = sorted(runs.keys() & parent.runs.keys()) or sorted(runs)
        seed = shared[-1 if _counts_time(campaign) else 0]
        own, beside = runs[seed], parent.beside(seed if paired else None)
        sign = -1.0 if direction_of(campaign) == "maximize" else 1.0
        final_deficit = sign * (own.score - beside.score) / (abs(beside.score) or 1.0)
        return compare(trial, own.losses, beside.losses, final_deficit)

    def _program(self, campaign: Campaign, trial_id: str, sd: float | None) -> "_Program | None":
        """A program by all its measurements; on a budget of time by those since the machine last changed."""
        done = self._measured(campaign, trial_id)
        if _counts_time(campaign):
            scores = points_of(done)
            if on_logarithms(campaign):
                scores = tuple((seed, math.log(score)) for seed, score in scores if score > 0)
            since = {seed for seed, _ in since_change(scores, sd)}
            done = [m for m in done if m.seed_index in since]
        runs = self._runs(done)
        return _Program(runs=runs) if runs else None

    def _runs(self, measurements: Sequence[Measurement]) -> dict[int, "_Run"]:
        """By seed, those that have a curve."""
        return {
            m.seed_index: _Run(losses=losses, score=m.score)
            for m in measurements
            if m.score is not None and (losses := self.losses_of(m)) is not None
        }

    def _measured(self, campaign: Campaign, trial_id: str) -> list[Measurement]:
        return measured_on(self._source.measurements(trial_id), campaign.hardware_fingerprint)

    def _due_to_finish(self, campaign: Campaign) -> bool:
        """Whether the latest trials that got as far as training were all stopped."""
        told = [t for t in self._source.trials(campaign.campaign_id) if t.status in FINISHED]
        latest = told[-STOPPED_IN_A_ROW:]
        return len(latest) == STOPPED_IN_A_ROW and all(stopped_at(trial) for trial in latest)

    def _trace(self, curve: Curve) -> Trace:
        points = zip(curve.step, curve.tokens, curve.elapsed_s, curve.loss, strict=True)
        return Trace((self.share(step, tokens, elapsed_s), loss) for step, tokens, elapsed_s, loss in points)


def _counts_time(campaign: Campaign) -> bool:
    return counts_time((campaign.task.get("budget") or {}).get("kind"))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Run:
    """A training to its end, or the mean of several."""

    losses: LossesByCheckpoint
    score: float


@dataclass(frozen=True, slots=True, kw_only=True)
class _Program:
    """The measurements of one program, by seed."""

    runs: dict[int, _Run]

    def beside(self, seed_index: int | None) -> _Run:
        """What another program's training on a seed is held against: its own on that seed, else the mean of all."""
        if seed_index in self.runs:
            return self.runs[seed_index]
        runs = list(self.runs.values())
        score = math.fsum(run.score for run in runs) / len(runs)
        return _Run(losses=mean_losses([run.losses for run in runs]), score=score)
