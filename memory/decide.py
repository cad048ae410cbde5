"""The keep rules by name. What a rule reads and returns is in `memory.rules_base`."""

from memory.rules_base import Decision, Evidence, KeepRule, better
from memory.rules_strict import StrictRule
from memory.rules_threshold import ThresholdRule
from rails.task import KeepConfig

__all__ = ["Decision", "Evidence", "KeepRule", "better", "make_rule"]


def make_rule(config: KeepConfig) -> KeepRule:
    """The keep rule that a task asks for."""
    match config.rule:
        case "strict":
            return StrictRule()
        case "threshold":
            return ThresholdRule(min_gain=config.min_gain, max_measurements=config.max_measurements)
