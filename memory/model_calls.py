"""What was asked of models in a campaign, summed up."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelCalls:
    """The requests of a campaign to models, proposals and lessons together."""

    requests: int
    """To a model; asking a built-in proposer is none."""
    priced: int
    """Those whose price is known."""
    usd: float | None
    """Sum of the known prices; None when none is."""
    prompt_tokens: int | None
    completion_tokens: int | None
