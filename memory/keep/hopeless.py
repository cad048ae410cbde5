"""Which trainings are hopeless: so far behind the incumbent that no recorded training has ever made up as much.

Everything is a pure function of loss curves, given as (share of the budget used, training loss). Definitions:

- The *losses at a checkpoint* are the means over the third and over the last quarter of what was trained by then; each
  report stands for the stretch since the one before, so that it does not matter how densely a training reports. Both
  ends lie on the first report at or past them: a training that reports there says the same whatever it reports in
  between.
- A *deficit* is how much higher a loss is than the incumbent's at the same checkpoint, relative to it: at an equal
  share of the budget, whatever number of steps that is, as schedules follow the share. On the same seed where pairs
  vary less (`memory.keep.curves`). One that has shrunk from the one quarter to the next is expected to shrink once
  more by the same factor: what warms up for long is far behind at first, and catches up fast.
- A *recovery* is the expected deficit at a checkpoint minus the one at the end, in the metric: what a training made up
  beyond that. Every trial that ran to its end has shown one for each checkpoint.
- The *margin* is what a training might make up, from wherever: the greatest recovery seen from any checkpoint that is
  not a single program's claim, and at least what the next one stays below with probability `CONFIDENCE`; then one
  standard deviation of a comparison on top (of a pair, where it is on one seed), because a candidate that only ties
  must not be stopped either. It does not shrink as a training goes on, though recoveries do: with a margin for each
  checkpoint, a wider model that was 4 % behind at 45 % and won was stopped.

The bound takes recoveries as normal around nothing and looks at the lucky side alone: t(n) · s · sqrt(1 + 1/n) with
s² = 2 · mean(max(0, recovery)²). So it is wide while few curves are known, a trial that fell back teaches nothing about
catching up, and no recovery, wherever it lies, makes the rule stricter than a smaller one would.

Losses are what the trial process claims, so no program counts for much. One that claims a late recovery has one vote,
and the greatest of twenty votes (of fewer, the greatest one) counts as the next. A process that lies can have itself
stopped; as an incumbent it switches this rule off for as long as it is the incumbent, because the first trials against
it run to their end and show how little its curve means: at least what half of them made up is allowed. Of an earlier
incumbent what half of its rivals made up is taken for its own doing, and says nothing.
"""

import math
from bisect import bisect_left
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import median_low
from typing import Any, Final, NamedTuple

from memory.records import Trial, percent
from memory.statistics.student_t import t_quantile

CHECKPOINTS: Final = tuple(percent / 100 for percent in range(20, 85, 5))
"""Shares of the budget at which a training is looked at. Earlier says little, later saves little."""

PAIRS_NEEDED: Final = 10
"""Programs that must have run past a checkpoint to their end before anything is stopped there."""

PAIRS_WITH_INCUMBENT: Final = 2
"""So many of them against the incumbent of the day: its curve is one draw too, and its process's claim."""

CONFIDENCE: Final = 0.95
"""One-sided level of the prediction bound."""

VOTES_A_CLAIM: Final = 20
"""Of so many recoveries one may be made up: the greatest counts as the next one. Of fewer, one as well."""

_TELLING_RIVALS = 3
"""So many trials against an earlier incumbent show what its curve alone does to a recovery."""

_ROUNDING = 1e-9
"""A share of the budget that is reached but for this is reached."""

_LARGEST_LOSS = 1e6
"""Beyond this a loss only says that the training diverged."""

ByCheckpoint = tuple[float | None, ...]
"""One value for each of `CHECKPOINTS`; None where it is not known."""


class Losses(NamedTuple):
    """Mean losses over two quarters of what was trained by a checkpoint."""

    before: float
    """Over the third quarter."""
    latest: float
    """Over the last."""


LossesByCheckpoint = tuple[Losses | None, ...]
"""For each of `CHECKPOINTS`; None where it was not reached."""


class Trace:
    """A loss curve that grows: reports go in, losses at checkpoints come out."""

    def __init__(self, points: Iterable[tuple[float, float]] = ()) -> None:
        self._shares, self._sums = [0.0], [0.0]
        for share, loss in points:
            self.add(share, loss)

    def add(self, share: float, loss: float) -> None:
        """One more report: `share` of the budget is used. One that did not get further is passed over."""
        before = self._shares[-1]
        if share > before:
            self._shares.append(share)
            self._sums.append(self._sums[-1] + (share - before) * max(-_LARGEST_LOSS, min(loss, _LARGEST_LOSS)))

    @property
    def share(self) -> float:
        """How far the training is, as a share of its budget."""
        return self._shares[-1]

    def losses_at(self, checkpoint: float) -> Losses | None:
        """The losses at a checkpoint; None before it is reached."""
        if self.share < checkpoint - _ROUNDING:
            return None
        return Losses(self._mean(checkpoint / 2, 0.75 * checkpoint), self._mean(0.75 * checkpoint, checkpoint))

    def losses(self) -> LossesByCheckpoint:
        """`losses_at` every checkpoint."""
        return tuple(self.losses_at(checkpoint) for checkpoint in CHECKPOINTS)

    def _mean(self, start: float, end: float) -> float:
        last = self._first_at(end)
        first = min(self._first_at(start), last - 1)
        return (self._sums[last] - self._sums[first]) / (self._shares[last] - self._shares[first])

    def _first_at(self, share: float) -> int:
        """The first report at this share of the budget or past it."""
        return bisect_left(self._shares, share - _ROUNDING)


@dataclass(frozen=True, slots=True, kw_only=True)
class CurveComparison:
    """A trial that ran to its end, held against its parent."""

    trial_id: str
    program: str
    """Equal for trials of one program."""
    parent_trial_id: str | None
    recoveries: ByCheckpoint


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """Why a training was stopped."""

    checkpoint: float
    loss: float
    incumbent_loss: float
    deficit: float
    expected_deficit: float
    margin: float
    on_seed: bool
    """Whether the incumbent's curve is that on the same seed."""
    pairs: int
    """Recorded comparisons behind the margin."""
    allowed: float = 0.0
    """What might have been lost beside it, for being simpler."""

    @property
    def reason(self) -> str:
        """One sentence, for a person and for the next proposer."""
        beside = "the incumbent's on the same seed" if self.on_seed else "the incumbent's"
        trend = f", {percent(self.expected_deficit)} if that goes on shrinking"
        lost = f", nor may more than {percent(self.allowed)} be lost for being simpler" if self.allowed else ""
        return (
            f"hopeless at {percent(self.checkpoint, 0)}: its loss was {percent(self.deficit)} above {beside}"
            f"{trend if self.expected_deficit < self.deficit else ''}, "
            f"and no more than {percent(self.margin)} is ever made up ({self.pairs} trials known){lost}"
        )

    @property
    def evidence(self) -> dict[str, Any]:
        """The decision as it is stored with the trial."""
        return {
            "action": "discard",
            "reason": self.reason,
            "rule": "early_stop",
            "checkpoint": self.checkpoint,
            "loss": self.loss,
            "incumbent_loss": self.incumbent_loss,
            "deficit": self.deficit,
            "expected_deficit": self.expected_deficit,
            "margin": self.margin,
            "allowed": self.allowed,
            "on_seed": self.on_seed,
            "pairs": self.pairs,
            "confidence": CONFIDENCE,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Yardstick:
    """What a candidate's curve is held against."""

    incumbent: LossesByCheckpoint
    """The incumbent's losses."""
    on_seed: bool
    """Whether they are those on the candidate's own seed; else the mean over its measurements."""
    margins: ByCheckpoint
    """What may still be made up, relative to the incumbent's loss; None where too little is known."""
    pairs: int
    allowed: float = 0.0
    """What may be lost beyond that, because the candidate may be kept as simpler."""

    def judge(self, index: int, losses: Losses) -> Verdict | None:
        """A verdict if a training with these losses at checkpoint number `index` is hopeless."""
        reference, margin = self.incumbent[index], self.margins[index]
        expected = expected_deficit(losses, reference)
        if expected is None or reference is None or margin is None or expected <= margin + self.allowed:
            return None
        return Verdict(
            checkpoint=CHECKPOINTS[index],
            loss=losses.latest,
            incumbent_loss=reference.latest,
            deficit=losses.latest / reference.latest - 1.0,
            expected_deficit=expected,
            margin=margin,
            on_seed=self.on_seed,
            pairs=self.pairs,
            allowed=self.allowed,
        )


def expected_deficit(losses: Losses | None, reference: Losses | None) -> float | None:
    """How much worse than the reference a training is, relative to it, if that goes on shrinking as it did.

    None when either is missing or there is no scale.
    """
    if losses is None or reference is None or min(reference) <= 0:
        return None
    before, latest = (own / other - 1.0 for own, other in zip(losses, reference, strict=True))
    return latest * latest / before if before > latest > 0 else latest


def mean_losses(curves: Sequence[LossesByCheckpoint]) -> LossesByCheckpoint:
    """The mean over several measurements of one program, at each checkpoint that all of them have."""
    if not curves:
        return (None,) * len(CHECKPOINTS)
    return tuple(_mean_of_known(values) for values in zip(*curves, strict=True))


def compare(
    trial: Trial, losses: LossesByCheckpoint, parent: LossesByCheckpoint, final_deficit: float
) -> CurveComparison:
    """What a finished trial made up from each checkpoint to its end.

    Args:
        trial: it.
        losses: its losses.
        parent: those of its parent.
        final_deficit: its first score against the parent's mean, relative, positive when worse.
    """
    deficits = (expected_deficit(own, other) for own, other in zip(losses, parent, strict=True))
    recoveries = tuple(None if deficit is None else deficit - final_deficit for deficit in deficits)
    return CurveComparison(
        trial_id=trial.trial_id,
        program=trial.program_key or trial.trial_id,
        parent_trial_id=trial.parent_trial_id,
        recoveries=recoveries,
    )


def margins(known: Sequence[CurveComparison], incumbent_trial_id: str, noise: float) -> ByCheckpoint:
    """What a training may still make up, as a share of the incumbent's loss: the same at every checkpoint.

    Args:
        known: the comparisons on record.
        incumbent_trial_id: whom the next candidate is held against.
        noise: standard deviation of a comparison of two programs, relative to the metric.

    Returns:
        None at a checkpoint where too few are known.
    """
    votes = list({c.program: c for c in known}.values())  # of a program that ran again, the newest
    rivals: dict[str | None, list[CurveComparison]] = {}
    for comparison in votes:
        rivals.setdefault(comparison.parent_trial_id, []).append(comparison)
    own = rivals.pop(incumbent_trial_id, [])
    bounds: list[float | None] = []
    for index in range(len(CHECKPOINTS)):
        with_incumbent = _known_at(own, index)
        reached = [*with_incumbent, *(r for group in rivals.values() for r in _beside_their_rivals(group, index))]
        enough = len(reached) >= PAIRS_NEEDED and len(with_incumbent) >= PAIRS_WITH_INCUMBENT
        bounds.append(_allowed(reached, with_incumbent) if enough else None)
    greatest = max((bound for bound in bounds if bound is not None), default=0.0)
    return tuple(None if bound is None else greatest + noise for bound in bounds)


def _known_at(comparisons: Sequence[CurveComparison], index: int) -> list[float]:
    return [recovery for c in comparisons if (recovery := c.recoveries[index]) is not None]


def _beside_their_rivals(against_one: Sequence[CurveComparison], index: int) -> list[float]:
    """The recoveries against one earlier incumbent, less what half of them show: that is said by its curve alone."""
    found = _known_at(against_one, index)
    offset = max(0.0, median_low(found)) if len(found) >= _TELLING_RIVALS else 0.0
    return [recovery - offset for recovery in found]


def _allowed(recoveries: Sequence[float], with_incumbent: Sequence[float]) -> float:
    """What may be made up from a checkpoint, by all votes; at least by half of those against the incumbent."""
    by_all = _greatest_recovery(recoveries, max(1, len(recoveries) // VOTES_A_CLAIM))
    return max(by_all, _greatest_recovery(with_incumbent, len(with_incumbent) // 2))


def _greatest_recovery(recoveries: Sequence[float], claims: int) -> float:
    """The greatest one seen, and at least the prediction bound for the next; some count as the greatest but those."""
    ordered = sorted(recoveries)
    believed = ordered[-1 - claims]
    lucky = [min(recovery, believed) for recovery in ordered if recovery > 0.0 and believed > 0.0]
    n = len(recoveries)
    spread = math.sqrt(2.0 * math.fsum([value * value for value in lucky]) / n)
    return max(0.0, believed, t_quantile(CONFIDENCE, n) * spread * math.sqrt(1.0 + 1.0 / n))


def _mean_of_known(values: Sequence[Losses | None]) -> Losses | None:
    known = [value for value in values if value is not None]
    if len(known) < len(values):
        return None
    before, latest = (math.fsum(part) / len(known) for part in zip(*known, strict=True))
    return Losses(before, latest)
