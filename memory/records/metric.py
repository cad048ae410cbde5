"""What a campaign's scores are: their name, which way they are better, and how people read them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

BITS_PER_BYTE = "bits per byte"


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """The metric of a task."""

    name: str
    direction: Literal["minimize", "maximize"]
    unit: str
    """Empty: a plain number, or one of a log that does not say."""
    decimals: int

    @property
    def with_unit(self) -> str:
        """The unit behind a number, with the space before it."""
        return f" {self.unit}" if self.unit else ""

    def in_bpb(self, score: float | None) -> float | None:
        """The score, if it is bits per byte; None if it is something else."""
        return score if self.unit == BITS_PER_BYTE else None


def metric_of(task: Mapping[str, Any], *, foreign: bool = False) -> Metric:
    """The metric that a stored task states.

    Args:
        task: of a campaign. Before tasks stated a unit, scores were bits per byte.
        foreign: whether another loop ran it: then only the metric's name tells whether they were.
    """
    table = task.get("metric")
    stated: Mapping[str, Any] = table if isinstance(table, dict) else {}
    name, unit, decimals = str(stated.get("name") or "val_bpb"), stated.get("unit"), stated.get("decimals")
    known = BITS_PER_BYTE if not foreign or "bpb" in name else ""
    return Metric(
        name=name,
        direction="maximize" if stated.get("direction") == "maximize" else "minimize",
        unit=unit if isinstance(unit, str) else known,
        decimals=decimals if isinstance(decimals, int) else 4,
    )
