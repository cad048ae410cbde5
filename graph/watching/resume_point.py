"""Where a campaign goes on, as a plain record: what the loop says at its start and watchers show."""

from dataclasses import dataclass
from enum import StrEnum


class Step(StrEnum):
    """What is done first when a campaign goes on."""

    OPEN = "open"
    """The trial is not in the store yet."""
    PROPOSE = "propose"
    CHECK = "check"
    """The reply is stored and was not judged."""
    TRAIN = "train"
    DECIDE = "decide"
    RESULT = "result"
    """The search is over; its result is being measured."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ResumePoint:
    """The trial, attempt and measurement at which a campaign goes on."""

    step: Step
    trial_seq: int
    """The trial in hand, or the next one. While the result is measured: the incumbent's."""
    attempt: int = 0
    """Which proposal of the trial, counting from 0; as in `Trial.attempt`."""
    target_seq: int | None = None
    """Whose program is trained first; None when that is still to be decided."""
    seed_index: int | None = None
    stored: int = 0
    """Measurements that are stored and are not made again."""
    planned: int | None = None
    """How many it will be; None when that depends on what they say."""

    @property
    def sentence(self) -> str:
        """The same for people."""
        if self.step is Step.RESULT:
            seed = "" if self.seed_index is None else f"seed {self.seed_index}, "
            return f"going on with the result: {seed}{self._stored}"
        if self.step is Step.OPEN:
            return f"going on with trial {self.trial_seq}" + ("" if self.trial_seq else ", the baseline")
        what = {
            Step.PROPOSE: "proposing",
            Step.CHECK: "checking the reply that is stored",
            Step.DECIDE: f"deciding, {self._stored}",
            Step.TRAIN: f"training {self._whom}with seed {self.seed_index}, {self._stored}",
        }[self.step]
        return f"going on at trial {self.trial_seq}, attempt {self.attempt + 1}: {what}"

    @property
    def _whom(self) -> str:
        return "" if self.target_seq == self.trial_seq else f"the program of trial {self.target_seq} "

    @property
    def _stored(self) -> str:
        of_all = "" if self.planned is None else f" of {self.planned}"
        return f"{self.stored}{of_all} measured"
