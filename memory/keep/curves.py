"""What the store's curves say about catching up: rows in, comparisons and a yardstick for the next candidate out."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol, TypeAlias

from memory.keep.comparable import measured_on, measures_as
from memory.keep.hopeless import ByCheckpoint, CurveComparison, Trace, Yardstick, compare, margins, mean_losses
from memory.keep.machine_change import since_change
from memory.records import Campaign, Curve, Measurement, Trial, TrialKind, stopped_at
from memory.statistics.noise import Noise
from rails.clocks import counts_time
from rails.status import FINISHED

Share: TypeAlias = Callable[[int, int, float], float]
"""The share of the budget that is used after so many steps, tokens and seconds of its own clock."""

STOPPED_IN_A_ROW: Final = 9
"""After so many trials stopped one after the other the next runs to its end: the margin must go on being tested, and a
machine that has become slower be noticed."""


class CurveSource(Protocol):
    """What the store and a reader have in common, as far as curves need it."""

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

    def store_noise(self, campaign_id: str) -> Noise:
        """The spread of one measurement."""
        ...


class KnownCurves:
    """Comparisons of finished trials with their parents, over all campaigns that measure alike.

    Args:
        source: where the rows are.
        share: progress of the budget, to put curves of different speed beside each other.
    """

    def __init__(self, source: CurveSource, share: Share) -> None:
        self._source, self.share = source, share
        self._losses: dict[str, ByCheckpoint | None] = {}
        self._programs: dict[str, _Program | None] = {}
        self._compared: dict[str, tuple[Trial, str, _Program | None, CurveComparison | None]] = {}

    def yardstick(self, campaign: Campaign, incumbent_trial_id: str) -> Yardstick | None:
        """What the next candidate's curve is held against; None when nothing may be stopped now."""
        if self._due_to_finish(campaign):
            return None
        sd = self._source.store_noise(campaign.campaign_id).sd
        incumbent = self._program(campaign, incumbent_trial_id, sd)
        if sd is None or incumbent is None:
            return None
        known = self.comparisons(campaign)
        found = margins(known, incumbent_trial_id, incumbent.noise(sd))
        if all(margin is None for margin in found):
            return None
        return Yardstick(incumbent=incumbent.losses, margins=found, pairs=len(known))

    def losses(self, campaign: Campaign, trial_id: str) -> ByCheckpoint | None:
        """A program's losses at the checkpoints, the mean over its measurements; None when it has no curve."""
        program = self._program(campaign, trial_id, self._source.store_noise(campaign.campaign_id).sd)
        return None if program is None else program.losses

    def losses_of(self, measurement: Measurement) -> ByCheckpoint | None:
        """A measurement's losses at the checkpoints; None when it has no curve."""
        key = measurement.measurement_id
        if key not in self._losses:  # a stored curve never changes
            curve = self._source.curve(key)
            self._losses[key] = None if curve is None else self._trace(curve).losses()
        return self._losses[key]

    def comparisons(self, campaign: Campaign) -> list[CurveComparison]:
        """Every finished search trial that has a curve, of this campaign and of those that measure alike."""
        alike = [c for c in self._source.campaigns() if measures_as(c) == measures_as(campaign)]
        trials = [(c, t) for c in alike for t in self._source.trials(c.campaign_id)]
        sd = self._source.store_noise(campaign.campaign_id).sd
        programs: dict[str, _Program | None] = {}
        found: list[CurveComparison | None] = []
        for its_campaign, trial in trials:
            parent_id = trial.parent_trial_id
            if trial.kind is TrialKind.SEARCH and trial.status in FINISHED and parent_id is not None:
                if parent_id not in programs:
                    programs[parent_id] = self._same_program(its_campaign, parent_id, sd)
                found.append(self._same_comparison(its_campaign, trial, programs[parent_id]))
        return [comparison for comparison in found if comparison is not None]

    def _same_program(self, campaign: Campaign, trial_id: str, sd: float | None) -> "_Program | None":
        """As `_program`, and the same object for as long as nothing about it changes."""
        program = self._program(campaign, trial_id, sd)
        if self._programs.get(trial_id) != program:
            self._programs[trial_id] = program
        return self._programs.get(trial_id)

    def _same_comparison(self, campaign: Campaign, trial: Trial, parent: "_Program | None") -> CurveComparison | None:
        """As `_comparison`, and the same object for as long as the finished trial and its parent stay as they are."""
        machine = campaign.hardware_fingerprint
        known = self._compared.get(trial.trial_id)
        if known is None or known[0] is not trial or known[1] != machine or known[2] is not parent:
            known = trial, machine, parent, self._comparison(campaign, trial, parent)
            self._compared[trial.trial_id] = known
        return known[3]

    def _comparison(self, campaign: Campaign, trial: Trial, parent: "_Program | None") -> CurveComparison | None:
        # Seeds are in the order of measuring; times of day are not, on a clock that is put back.
        first = min(self._measured(campaign, trial.trial_id), key=lambda m: m.seed_index, default=None)
        losses = first and self.losses_of(first)
        if first is None or first.val_bpb is None or losses is None or parent is None:
            return None
        sign = -1.0 if campaign.task["metric"]["direction"] == "maximize" else 1.0
        final_deficit = sign * (first.val_bpb - parent.score) / (abs(parent.score) or 1.0)
        return compare(trial, losses, parent.losses, final_deficit)

    def _program(self, campaign: Campaign, trial_id: str, sd: float | None) -> "_Program | None":
        """A program by all its measurements; on a budget of time by those since the machine last changed."""
        done = [(m, m.val_bpb) for m in self._measured(campaign, trial_id) if m.val_bpb is not None]
        if counts_time((campaign.task.get("budget") or {}).get("kind")):
            since = {seed for seed, _ in since_change(tuple((m.seed_index, score) for m, score in done), sd)}
            done = [(m, score) for m, score in done if m.seed_index in since]
        curves = [losses for m, _ in done if (losses := self.losses_of(m)) is not None]
        if not curves:
            return None
        score = math.fsum(score for _, score in done) / len(done)
        return _Program(losses=mean_losses(curves), score=score, count=len(done))

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


@dataclass(frozen=True, slots=True, kw_only=True)
class _Program:
    """What several measurements of one program say together."""

    losses: ByCheckpoint
    score: float
    count: int

    def noise(self, sd: float) -> float:
        """Standard deviation of one measurement of another program against this one's mean, relative to that."""
        return sd * math.sqrt(1.0 + 1.0 / self.count) / (abs(self.score) or 1.0)
