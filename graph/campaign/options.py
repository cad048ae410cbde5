"""What the person asked for on the command line."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from rails.task import LimitsConfig


@dataclass(frozen=True, slots=True, kw_only=True)
class RunOptions:
    """What the person asked for on the command line; None means: as the task or the campaign has it."""

    trials: int | None = None
    hours: float | None = None
    usd: float | None = None
    joules: float | None = None
    proposer: str | None = None
    fallback: str | None = None
    lineage: bool | None = None
    seed: int | None = None
    tag: str | None = None
    fresh: bool = False
    require_isolation: Literal["L1", "L2", "L3", "L4"] | None = None
    overrides: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """What a new campaign does otherwise than its workspace says; see `graph.campaign.overrides`."""


def limits_of(limits: LimitsConfig, options: RunOptions) -> LimitsConfig:
    """The limits of the task, or of the campaign that is gone on with, with the command line's on top."""
    asked = {name: getattr(options, name) for name in ("trials", "hours", "usd", "joules")}
    return limits.model_copy(update={name: value for name, value in asked.items() if value is not None})
