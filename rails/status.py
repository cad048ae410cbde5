"""What became of a trial: one closed enum for code, store, command line and documents."""

from enum import StrEnum


class Status(StrEnum):
    """The final word on a trial. Only `FINISHED` statuses can carry a metric; the others carry a reason."""

    BASELINE = "baseline"
    KEEP = "keep"
    DISCARD = "discard"
    CRASH = "crash"
    PREFLIGHT_CRASH = "preflight_crash"
    TRAIN_BUDGET_OVERRUN = "train_budget_overrun"
    EVAL_BUDGET_OVERRUN = "eval_budget_overrun"
    SIZE_BLOCKED = "size_blocked"
    RAIL_BLOCKED = "rail_blocked"
    DISQUALIFIED = "disqualified"
    INTERRUPTED = "interrupted"
    HARNESS_ABORT = "harness_abort"


FINISHED = frozenset({Status.BASELINE, Status.KEEP, Status.DISCARD})
"""Statuses of a trial about which a decision was made. It has a metric, unless it was discarded as hopeless midway."""

QUARANTINED = frozenset({Status.INTERRUPTED, Status.HARNESS_ABORT})
"""Statuses that say nothing about the hypothesis: they stay out of the lineage block."""
