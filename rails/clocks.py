"""Which budgets count time: what a training gets done under those depends on the machine."""

CLOCKS = frozenset({"seconds", "cpu_seconds"})
"""Seconds of the wall clock, and seconds of computing. A busy machine takes from both: from the first what others use,
from the second still what a shared cache, a shared core and a changing frequency cost."""


def counts_time(kind: object) -> bool:
    """Whether a budget of this kind counts time; steps, tokens and FLOPs repeat exactly. None is no budget at all."""
    return kind in CLOCKS
