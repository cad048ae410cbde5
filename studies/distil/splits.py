"""What is held out: the last trials of each campaign, or whole campaigns. Never anything before what is trained on."""

from collections.abc import Sequence

from rails.errors import UserError
from studies.distil.corpus import CampaignCard, Example

DEFAULT_HOLDOUT = 8
"""Last trials of each campaign that are held out."""

LARGEST_SHARE = 4
"""At most one in so many trials of a campaign is held out by time."""


def split_by_time(examples: Sequence[Example], holdout: int) -> tuple[list[Example], list[Example]]:
    """The first choices of a campaign, and the last ones.

    Args:
        examples: of one campaign, by number.
        holdout: how many of the last to hold out; of a short campaign at most a quarter is.
    """
    held = min(holdout, len(examples) // LARGEST_SHARE)
    return list(examples[: len(examples) - held]), list(examples[len(examples) - held :])


def refuse_twice(campaigns: Sequence[CampaignCard]) -> None:
    """A campaign that is in a corpus twice could be trained on and held out at once.

    Raises:
        UserError: two are the same, by their identity or by what was chosen and gained in them.
    """
    for key in ("campaign_id", "fingerprint"):
        seen: dict[str, CampaignCard] = {}
        for campaign in campaigns:
            before = seen.setdefault(getattr(campaign, key), campaign)
            if before is not campaign:
                what = f"{campaign.source} is the same campaign as {before.source}"
                fix = "name each campaign once: else it could be trained on and held out at the same time"
                raise UserError(what, fix=fix)


def split_of(index: int, held_out: Sequence[int]) -> str:
    """How a campaign is split, as its card says it."""
    return "campaign" if index in held_out else "time"
