"""Which trainings are hopeless: so far behind the incumbent that no recorded training has ever made up as much.

Everything is a pure function of loss curves, given as (share of the budget used, training loss). Definitions:

- The *loss at a checkpoint* is the mean over the latter half of what was trained by then; each report stands for the
  stretch since the one before, so that it does not matter how densely a training reports. Both ends lie on the first
  report at or past them: a training that reports there says the same whatever it reports in between.
- A *deficit* is how much higher that loss is than the incumbent's at the same checkpoint, relative to it.
- A *recovery* is the deficit at a checkpoint minus the one at the end, in the metric: what a training made up from
  there. Every trial that ran to its end has shown one for each checkpoint.
- The *margin* is what a training might make up, from wherever: the greatest recovery seen from any checkpoint, and
  at least what the next one stays below with probability `CONFIDENCE`; then one standard deviation of a comparison on
  top, because a candidate that only ties must not be stopped either. It does not shrink as a training goes on, though
  recoveries do: with a margin for each checkpoint, a wider model that was 4 % behind at 45 % and won was stopped.

The bound takes recoveries as normal around nothing and looks at the lucky side alone: t(n) · s · sqrt(1 + 1/n) with
s² = 2 · mean(max(0, recovery)²). So it is wide while few curves are known, a trial that fell back teaches nothing about
catching up, and no recovery, wherever it lies, makes the rule stricter than a smaller one would.

Losses are what the trial process claims. A process that lies about them can have itself stopped; as an incumbent it can
switch this rule off, because the first trials against it run to their end and show how little its curve means.
"""

import math
from bisect import bisect_left
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from memory.records import Trial, percent
from memory.statistics.student_t import t_quantile

CHECKPOINTS: Final = tuple(percent / 100 for percent in range(20, 85, 5))
"""Shares of the budget at which a training is looked at. Earlier says little, later saves little."""

PAIRS_NEEDED: Final = 10
"""Trials that must have run past a checkpoint to their end before anything is stopped there."""

PAIRS_WITH_INCUMBENT: Final = 2
"""So many of them against the incumbent of the day: its curve is one draw too, and its process's claim."""

CONFIDENCE: Final = 0.95
"""One-sided level of the prediction bound."""

_ROUNDING = 1e-9
"""A share of the budget that is reached but for this is reached."""

_LARGEST_LOSS = 1e6
"""Beyond this a loss only says that the training diverged."""

ByCheckpoint = tuple[float | None, ...]
"""One value for each of `CHECKPOINTS`; None where it is not known."""


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

    def loss_at(self, checkpoint: float) -> float | None:
        """Mean loss over the latter half of what was trained by the checkpoint; None before it is reached."""
        if self.share < checkpoint - _ROUNDING:
            return None
        last = self._first_at(checkpoint)
        first = min(self._first_at(checkpoint / 2), last - 1)
        return (self._sums[last] - self._sums[first]) / (self._shares[last] - self._shares[first])

    def losses(self) -> ByCheckpoint:
        """`loss_at` every checkpoint."""
        return tuple(self.loss_at(checkpoint) for checkpoint in CHECKPOINTS)

    def _first_at(self, share: float) -> int:
        """The first report at this share of the budget or past it."""
        return bisect_left(self._shares, share - _ROUNDING)


@dataclass(frozen=True, slots=True, kw_only=True)
class CurveComparison:
    """A trial that ran to its end, held against its parent."""

    trial_id: str
    parent_trial_id: str | None
    recoveries: ByCheckpoint


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """Why a training was stopped."""

    checkpoint: float
    loss: float
    incumbent_loss: float
    deficit: float
    margin: float
    pairs: int
    """Recorded comparisons behind the margin."""

    @property
    def reason(self) -> str:
        """One sentence, for a person and for the next proposer."""
        return (
            f"hopeless at {percent(self.checkpoint, 0)}: its loss was {percent(self.deficit)} above the incumbent's, "
            f"and no more than {percent(self.margin)} is ever made up ({self.pairs} trials known)"
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
            "margin": self.margin,
            "pairs": self.pairs,
            "confidence": CONFIDENCE,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Yardstick:
    """What a candidate's curve is held against."""

    incumbent: ByCheckpoint
    """The incumbent's losses, the mean over its measurements."""
    margins: ByCheckpoint
    """What may still be made up, relative to the incumbent's loss; None where too little is known."""
    pairs: int

    def judge(self, index: int, loss: float) -> Verdict | None:
        """A verdict if a training with this loss at checkpoint number `index` is hopeless."""
        reference, margin = self.incumbent[index], self.margins[index]
        deficit = relative_deficit(loss, reference)
        if deficit is None or reference is None or margin is None or deficit <= margin:
            return None
        return Verdict(
            checkpoint=CHECKPOINTS[index],
            loss=loss,
            incumbent_loss=reference,
            deficit=deficit,
            margin=margin,
            pairs=self.pairs,
        )


def relative_deficit(value: float | None, reference: float | None) -> float | None:
    """How much worse than the reference, relative to it; None when either is missing or there is no scale."""
    if value is None or reference is None or reference <= 0:
        return None
    return value / reference - 1.0


def mean_losses(curves: Sequence[ByCheckpoint]) -> ByCheckpoint:
    """The mean over several measurements of one program, at each checkpoint that all of them have."""
    if not curves:
        return (None,) * len(CHECKPOINTS)
    return tuple(_mean_of_known(values) for values in zip(*curves, strict=True))


def compare(trial: Trial, losses: ByCheckpoint, parent: ByCheckpoint, final_deficit: float) -> CurveComparison:
    """What a finished trial made up from each checkpoint to its end.

    Args:
        trial: it.
        losses: its losses.
        parent: those of its parent.
        final_deficit: its first score against the parent's mean, relative, positive when worse.
    """
    deficits = (relative_deficit(own, other) for own, other in zip(losses, parent, strict=True))
    recoveries = tuple(None if deficit is None else deficit - final_deficit for deficit in deficits)
    return CurveComparison(trial_id=trial.trial_id, parent_trial_id=trial.parent_trial_id, recoveries=recoveries)


def margins(known: Sequence[CurveComparison], incumbent_trial_id: str, noise: float) -> ByCheckpoint:
    """What a training may still make up, as a share of the incumbent's loss: the same at every checkpoint.

    Args:
        known: the comparisons on record.
        incumbent_trial_id: whom the next candidate is held against.
        noise: standard deviation of a comparison of two programs, relative to the metric.

    Returns:
        None at a checkpoint where too few are known.
    """
    bounds: list[float | None] = []
    own = [c for c in known if c.parent_trial_id == incumbent_trial_id]
    for index in range(len(CHECKPOINTS)):
        reached = [recovery for c in known if (recovery := c.recoveries[index]) is not None]
        with_incumbent = sum(c.recoveries[index] is not None for c in own)
        enough = len(reached) >= PAIRS_NEEDED and with_incumbent >= PAIRS_WITH_INCUMBENT
        bounds.append(_greatest_recovery(reached) if enough else None)
    greatest = max((bound for bound in bounds if bound is not None), default=0.0)
    return tuple(None if bound is None else greatest + noise for bound in bounds)


def _greatest_recovery(recoveries: Sequence[float]) -> float:
    """The greatest one seen, and at least the prediction bound for the next."""
    lucky = [recovery for recovery in recoveries if recovery > 0.0]
    n = len(recoveries)
    spread = math.sqrt(2.0 * math.fsum([value * value for value in lucky]) / n)
    return max(0.0, *lucky, t_quantile(CONFIDENCE, n) * spread * math.sqrt(1.0 + 1.0 / n))


def _mean_of_known(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return math.fsum(known) / len(known) if len(known) == len(values) else None
