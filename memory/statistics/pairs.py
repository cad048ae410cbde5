"""How much two programs differ from seed to seed, when both are measured on the same seeds."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from memory.records import Measurement, MeasurementState, Purpose, Trial, TrialKind
from memory.statistics.moderated import fit_prior
from rails.status import FINISHED

BySeed: TypeAlias = Mapping[int, float]
"""One score for each seed index."""


@dataclass(frozen=True, slots=True)
class PairSpread:
    """Sums of squares and products, around their means, of two programs' scores on `df + 1` shared seeds."""

    df: int
    candidate: float
    incumbent: float
    product: float

    def squares(self, slope: float) -> float:
        """Sum of squares of `candidate - slope * incumbent`, around its mean: 0 slope is unpaired, 1 is pairs."""
        return max(0.0, self.candidate - 2 * slope * self.product + slope * slope * self.incumbent)


def pair_spread(candidate: BySeed, incumbent: BySeed) -> PairSpread | None:
    """The spread of two programs on the seeds that both have; None with fewer than two of them."""
    seeds = sorted(candidate.keys() & incumbent.keys())
    if len(seeds) < 2:
        return None
    ours, theirs = ([side[seed] for seed in seeds] for side in (candidate, incumbent))
    ours, theirs = ([value - math.fsum(side) / len(side) for value in side] for side in (ours, theirs))
    return PairSpread(
        df=len(seeds) - 1,
        candidate=math.fsum(value * value for value in ours),
        incumbent=math.fsum(value * value for value in theirs),
        product=math.fsum(mine * other for mine, other in zip(ours, theirs, strict=True)),
    )


def pair_sd(pairs: Sequence[PairSpread], noise_sd: float, noise_df: int) -> float:
    """Standard deviation of the difference of two programs on one seed, as earlier pairs let expect.

    Args:
        pairs: how earlier candidates differed from their incumbents; without any, seeds have nothing in common.
        noise_sd: standard deviation of one measurement, on the same scale.
        noise_df: its degrees of freedom.
    """
    unpaired = 2 * noise_sd**2
    if not unpaired:
        return 0.0
    return math.sqrt(fit_prior([(pair.df, pair.squares(1.0)) for pair in pairs], unpaired, noise_df).variance)


class PairSpreads:
    """The spreads of a campaign's decided trials, each against its parent; a change costs what it is about.

    Args:
        machine: fingerprint of the machine whose measurements count.
        logarithms: whether scores are compared on logarithms.
        trials: of the campaign.
    """

    def __init__(self, machine: str, logarithms: bool, trials: Iterable[Trial]) -> None:
        self._machine, self._logarithms = machine, logarithms
        self._parents: dict[str, str] = {}
        self._children: dict[str, list[str]] = {}
        self._spreads: dict[str, PairSpread | None] = {}
        for trial in trials:
            self.take(trial)

    def take(self, trial: Trial) -> None:
        """Take note of a trial that is new, or has changed: only one that ran to its end says something."""
        parent = trial.parent_trial_id
        counts = trial.kind is TrialKind.SEARCH and trial.status in FINISHED and parent is not None
        self._spreads.pop(trial.trial_id, None)
        if not counts:
            self._parents.pop(trial.trial_id, None)
        elif parent is not None and trial.trial_id not in self._parents:
            self._parents[trial.trial_id] = parent
            self._children.setdefault(parent, []).append(trial.trial_id)

    def measured(self, trial_id: str) -> None:
        """Take note that a trial's measurements have changed."""
        for changed in (trial_id, *self._children.get(trial_id, ())):
            self._spreads.pop(changed, None)

    def spreads(self, measurements_of: Callable[[str], Sequence[Measurement]]) -> list[PairSpread]:
        """All that are known, oldest trial first.

        Args:
            measurements_of: asked only for what has changed since the last time.
        """
        scores: dict[str, BySeed] = {}

        def known(trial_id: str) -> BySeed:
            if trial_id not in scores:
                scores[trial_id] = self._scores(measurements_of(trial_id))
            return scores[trial_id]

        for trial_id, parent in self._parents.items():
            if trial_id not in self._spreads:
                self._spreads[trial_id] = pair_spread(known(trial_id), known(parent))
        found = (self._spreads[trial_id] for trial_id in self._parents)
        return [spread for spread in found if spread is not None]

    def _scores(self, measurements: Sequence[Measurement]) -> BySeed:
        scores = {
            m.seed_index: m.score
            for m in measurements
            if m.machine == self._machine
            and m.state is MeasurementState.MEASURED
            and m.purpose is Purpose.SEARCH
            and m.score is not None
        }
        if not self._logarithms:
            return scores
        return {seed: math.log(score) for seed, score in scores.items() if score > 0}
