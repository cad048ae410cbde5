"""One trial that is being worked on: what is of that trial alone, and not in the store."""

import time
from collections.abc import Callable

from graph.limits.meters import TrialEnergy
from memory.records import Span
from tools.backend import Trained


class TrialInHand:
    """What must not outlive the work on a trial, so that several can be worked on side by side.

    Args:
        trial_id: the trial.
        energy: counts what the machine takes for it.
        record: takes its seconds.
        apart: a decided trial that is measured once more: the name under which its seconds are stored, beside those of
            the five nodes. They are the campaign's, and must not look like those of the trial that is measured.
    """

    def __init__(
        self, trial_id: str, energy: TrialEnergy, record: Callable[[Span], None], apart: str | None = None
    ) -> None:
        self.trial_id, self.energy = trial_id, energy
        self._record, self._apart = record, apart
        self._started = time.monotonic()
        self.models = dict[str, Trained]()
        """Trained models waiting to be scored, by measurement id."""

    @property
    def seconds(self) -> float:
        """Since this loop took the trial in hand."""
        return time.monotonic() - self._started

    def waited(self, node: str, part: str, seconds: float) -> None:
        """Note seconds that a node spent waiting for somebody else (proposer, process start, training, scoring)."""
        if self._apart is not None:
            node, part = self._apart, f"{self._apart}_{part}"
        self._record(Span(trial_id=self.trial_id, node=node, part=part, seconds=seconds))

    def close(self) -> None:
        """Kill every process that is still waiting to be scored."""
        for model in self.models.values():
            model.close()
        self.models.clear()
