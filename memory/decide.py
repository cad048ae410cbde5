"""The keep rules by name. What a rule reads and returns is in `memory.rules_base`."""

from memory.rules_base import Decision, Evidence, KeepRule, better
from memory.rules_sequential import SequentialRule
from memory.rules_strict import StrictRule
from memory.rules_threshold import ThresholdRule
from rails.task import KeepConfig

__all__ = ["Decision", "Evidence", "KeepRule", "better", "make_rule"]

SEQUENTIAL_CAP = 7
"""Most measurements of one candidate under `sequential`, unless the task says otherwise."""


def make_rule(config: KeepConfig) -> KeepRule:
    """The keep rule that a task asks for."""
    match config.rule:
        case "strict":
            return StrictRule()
        case "threshold":
            return ThresholdRule(min_gain=config.min_gain, max_measurements=config.max_measurements or 1)
        case "sequential":
            return SequentialRule(max_measurements=config.max_measurements or SEQUENTIAL_CAP)
