"""What the loop tells whoever is watching. The command line draws it; tests collect it; nothing depends on it."""

from dataclasses import dataclass

from graph.watching.resume_point import ResumePoint
from memory.records import Campaign, CampaignState, Measurement, Trial


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingProgress:
    """One beat of a running training."""

    trial_seq: int
    """The trial on whose behalf the training runs (its target may be the incumbent)."""
    measured_seq: int
    """The trial whose program is being trained."""
    seed_index: int
    step: int
    tokens: int
    elapsed_s: float
    loss: float
    fraction: float
    """Share of the budget used, 0 to 1."""


class Observer:
    """Base class of observers: every method does nothing until overridden."""

    def preparing(self, stage: str, done: int, total: int) -> None:
        """The training data is being made; `total` is 0 where nobody knows it. Any thread may say so."""

    def campaign_started(self, campaign: Campaign, resume_point: ResumePoint | None) -> None:
        """The loop begins, or goes on where `resume_point` says with a campaign that an earlier loop began."""

    def state_changed(self, state: CampaignState, reason: str | None) -> None:
        """The loop works, is paused, or waits; and why."""

    def trial_opened(self, trial: Trial) -> None:
        """A trial begins."""

    def planning(self, trial: Trial, step: str, text: str) -> None:
        """The planner takes a step on its way to a proposal: which, and what comes of it, in one line."""

    def proposed(self, trial: Trial, attempt: int) -> None:
        """A raw reply is in the store."""

    def railed(self, trial: Trial, rail: str | None, reason: str | None) -> None:
        """The rails have spoken; `rail` is None when all passed."""

    def training(self, progress: TrainingProgress) -> None:
        """A training process reported."""

    def scoring(self, trial: Trial) -> None:
        """A trained model is being scored."""

    def measured(self, trial: Trial, measurement: Measurement) -> None:
        """One train-and-score is over."""

    def decided(self, trial: Trial) -> None:
        """A trial has its final row."""

    def measuring_result(self, target: Trial, seed_index: int) -> None:
        """The search is over; incumbent or baseline is measured again, on a fresh seed."""

    def keep_undone(self, trial: Trial, incumbent: Trial) -> None:
        """What was kept was disqualified when the result was measured; the incumbent is again what was before it."""

    def spent(self, usd: float | None, joules: float | None) -> None:
        """What the campaign has used up so far, the trial in hand included; None without any price, without a meter."""

    def note(self, text: str) -> None:
        """Something a person should know, in one sentence."""

    def campaign_stopped(self, campaign: Campaign) -> None:
        """The loop is over; the campaign says why."""


class Observers(Observer):
    """Tells several observers of everything, in this order.

    Args:
        observers: whom to tell.
    """

    def __init__(self, *observers: Observer) -> None:
        self._observers = observers

    def preparing(self, stage: str, done: int, total: int) -> None:
        """See `Observer`; likewise all others."""
        for observer in self._observers:
            observer.preparing(stage, done, total)

    def campaign_started(self, campaign: Campaign, resume_point: ResumePoint | None) -> None:
        """See `Observer`."""
        for observer in self._observers:
            observer.campaign_started(campaign, resume_point)

    def state_changed(self, state: CampaignState, reason: str | None) -> None:
        """See `Observer`."""
        for observer in self._observers:
            observer.state_changed(state, reason)

    def trial_opened(self, trial: Trial) -> None:
        """See `Observer`."""
        for observer in self._observers:
            observer.trial_opened(trial)

    def planning(self, trial: Trial, step: str, text: str) -> None:
        """See `Observer`."""
        for observer in self._observers:
            observer.planning(trial, step, text)

    def proposed(self, trial: Trial, attempt: int) -> None:
        """See `Observer`."""
        for observer in self._observers:
            observer.proposed(trial, attempt)

    def railed(self, trial: Trial, rail: str | None, reason: str | None) -> None:
        """See `Observer`."""
        for observer in self._observers:
            observer.railed(trial, rail, reason)

    def training(self, progress: TrainingProgress) -> None:
        """See `Observer`."""
        for observer in self._observers:
            observer.training(progress)

    def scoring(self, trial: Trial) -> None:
        """See `Observer`."""
        for observer in self._observers:
            observer.scoring(trial)

    def measured(self, trial: Trial, measurement: Measurement) -> None:
        """See `Observer`."""
        for observer in self._observers:
            observer.measured(trial, measurement)

    def decided(self, trial: Trial) -> None:
        """See `Observer`."""
        for observer in self._observers:
            observer.decided(trial)

    def measuring_result(self, target: Trial, seed_index: int) -> None:
        """See `Observer`."""
        for observer in self._observers:
            observer.measuring_result(target, seed_index)

    def keep_undone(self, trial: Trial, incumbent: Trial) -> None:
        """See `Observer`."""
        for observer in self._observers:
            observer.keep_undone(trial, incumbent)

    def spent(self, usd: float | None, joules: float | None) -> None:
        """See `Observer`."""
        for observer in self._observers:
            observer.spent(usd, joules)

    def note(self, text: str) -> None:
        """See `Observer`."""
        for observer in self._observers:
            observer.note(text)

    def campaign_stopped(self, campaign: Campaign) -> None:
        """See `Observer`."""
        for observer in self._observers:
            observer.campaign_stopped(campaign)
