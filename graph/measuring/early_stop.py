"""Watches a candidate's first training and ends it when its curve is hopeless (`memory/keep/hopeless.py`)."""

from collections.abc import Callable
from dataclasses import replace
from functools import cached_property, partial

from graph.measuring.judging import may_be_simpler
from graph.services import Services
from memory.keep.curves import Share
from memory.keep.hopeless import CHECKPOINTS, Trace, Verdict, Yardstick
from memory.records import Curve, Measurement, Trial, TrialKind
from tools.backend import Progress


class HopelessError(Exception):
    """Raised out of a training to end it: not a failure, a finding."""

    def __init__(self, verdict: Verdict, seen: list[Progress]) -> None:
        super().__init__(verdict.reason)
        self.verdict = verdict
        self.seen = seen
        """The reports up to the end, in order."""

    def curve(self, measurement: Measurement) -> Curve:
        """The part of the curve that there is, as it is stored."""
        return Curve(
            measurement_id=measurement.measurement_id,
            trial_id=measurement.trial_id,
            step=[progress.step for progress in self.seen],
            tokens=[progress.tokens for progress in self.seen],
            elapsed_s=[progress.elapsed_s for progress in self.seen],
            loss=[progress.loss for progress in self.seen],
        )


class Watch:
    """Follows one training from report to report.

    Args:
        yardstick: what its curve is held against, asked for at the first report: until then the process starts, and
            the loop does not wait for an answer that nobody needs.
        share: progress of the budget.
    """

    def __init__(self, yardstick: Callable[[], Yardstick | None], share: Share) -> None:
        self._ask, self._share = yardstick, share
        self._trace, self._seen, self._next = Trace(), list[Progress](), 0

    @cached_property
    def _yardstick(self) -> Yardstick | None:
        return self._ask()

    def see(self, progress: Progress) -> None:
        """Take one report.

        Raises:
            HopelessError: with this report the training passed a checkpoint too far behind.
        """
        if self._yardstick is None:
            return
        self._seen.append(progress)
        self._trace.add(self._share(progress.step, progress.tokens, progress.elapsed_s), progress.loss)
        while self._next < len(CHECKPOINTS) and (losses := self._trace.losses_at(CHECKPOINTS[self._next])) is not None:
            verdict = self._yardstick.judge(self._next, losses)
            self._next += 1
            if verdict is not None:
                raise HopelessError(verdict, self._seen)


def watch_for(services: Services, trial: Trial, target: Trial, seed_index: int) -> Watch | None:
    """The watch over a training that starts now; None when it is not to be stopped.

    Only a candidate's first measurement can be stopped: never the baseline, the incumbent, or a candidate that looked
    good enough to be measured again. What it decides by is in the store, so a trial that is trained again after a
    crash of the loop is judged by the same yardstick.
    """
    if not services.task.early_stop.enabled or not services.trainer.reports_progress:
        return None
    if trial.kind is not TrialKind.SEARCH or target.trial_id != trial.trial_id:
        return None
    if services.measured(trial.trial_id):
        return None
    allowed = services.task.keep.simpler_margin if may_be_simpler(services, trial) else 0.0
    return Watch(partial(_yardstick, services, trial, seed_index, allowed), services.known_curves.share)


def _yardstick(services: Services, trial: Trial, seed_index: int, allowed: float) -> Yardstick | None:
    """What the curve is held against; how many parameters a program saves is not known before its score is."""
    found = services.known_curves.yardstick(services.campaign, trial.parent_trial_id or "", seed_index)
    return None if found is None else replace(found, allowed=allowed)
