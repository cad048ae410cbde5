"""The keep rules by name. What a rule reads and returns is in `memory.keep.evidence`."""

import sys

from memory.keep.comparison import conclude, estimate
from memory.keep.evidence import Decision, Evidence, KeepRule, better, first_step, next_seed, seeds_without
from memory.keep.sequential import SequentialRule
from rails.task import KeepConfig


class ThresholdRule:
    """Keeps iff the mean over the shared seeds is better by at least `min_gain` times the baseline's mean.

    With `max_measurements` above 1, a candidate that passes is measured again, on seeds the incumbent has or gets, and
    judged on the mean each time: it is kept after its last allowed measurement, and discarded as soon as it falls
    below.

    Args:
        min_gain: relative to the baseline's mean, 0.003 is 0.3 %; a tie is never kept, even with 0.
        max_measurements: most measurements of one candidate, 1 or more.
    """

    name = "threshold"

    def __init__(self, *, min_gain: float, max_measurements: int) -> None:
        self._min_gain = min_gain
        self.most_measurements = max_measurements

    def decide(self, evidence: Evidence) -> Decision:
        """Discard below the threshold; above it ask for further shared seeds up to the cap, then keep."""
        early = first_step(evidence, self.name)
        if early is not None:
            return early
        found = estimate(evidence)
        needed = f", {self._min_gain:.2%}".replace("%", " %") + " needed"
        if not found.better or not found.gain >= self._min_gain:
            return conclude("discard", found, evidence, needed, rule=self.name)
        missing = seeds_without(evidence.candidate, evidence.incumbent)
        if missing:
            ask = ("incumbent", missing[0])
            return conclude("measure", found, evidence, f"{needed}; measuring the incumbent", rule=self.name, ask=ask)
        if len({seed for seed, _ in evidence.candidate}) < self.most_measurements:
            ask = ("candidate", next_seed(evidence))
            return conclude("measure", found, evidence, f"{needed}; measuring again", rule=self.name, ask=ask)
        return conclude("keep", found, evidence, needed, rule=self.name)


class StrictRule:
    """Keeps iff the candidate's mean over the shared seeds is better, by however little."""

    name = "strict"
    most_measurements = 1

    def decide(self, evidence: Evidence) -> Decision:
        """One shared measurement, then keep or discard."""
        early = first_step(evidence, self.name)
        if early is not None:
            return early
        found = estimate(evidence)
        return conclude("keep" if found.better else "discard", found, evidence, "", rule=self.name)


__all__ = ["Decision", "Evidence", "KeepRule", "better", "make_rule", "simpler_rule"]

SEQUENTIAL_CAP = 8
"""Most measurements of one candidate under `sequential`, unless the task says otherwise."""


def make_rule(config: KeepConfig, *, most: int = sys.maxsize) -> KeepRule:
    """The keep rule that a task asks for.

    Args:
        config: of the task.
        most: measurements that there can be of one program.
    """
    match config.rule:
        case "strict":
            return StrictRule()
        case "threshold":
            return ThresholdRule(min_gain=config.min_gain, max_measurements=min(most, config.max_measurements or 1))
        case "sequential":
            return SequentialRule(max_measurements=min(most, config.max_measurements or SEQUENTIAL_CAP))


def simpler_rule(config: KeepConfig) -> SequentialRule:
    """The rule by which a simplification is kept, whatever the rule for gains: a loss takes replicates to rule out."""
    most = config.max_measurements if config.rule == "sequential" else None
    return SequentialRule(max_measurements=most or SEQUENTIAL_CAP)
