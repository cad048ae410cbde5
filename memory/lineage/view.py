"""What of the record concerns one specialist: its own trials, and whatever was done to its knobs."""

from dataclasses import dataclass

from memory.lineage.knobs import knobs_after
from memory.records import Trial


@dataclass(frozen=True, slots=True)
class View:
    """The record as one specialist of the planner sees it."""

    specialist: str
    knobs: frozenset[str]
    """Those that it may change; none: all of them."""

    def owns(self, trial: Trial) -> bool:
        """Whether it proposed the trial."""
        return trial.specialist == self.specialist

    def reaches(self, knob: str) -> bool:
        """Whether it may change the knob."""
        return not self.knobs or knob in self.knobs

    def concerns(self, trial: Trial) -> bool:
        """Whether the trial is its own, or changed one of its knobs."""
        return self.owns(trial) or not self.knobs or not self.knobs.isdisjoint(knobs_after(trial))
