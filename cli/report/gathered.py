"""Everything that the page shows of one campaign, computed once from its rows."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from cli.show.status import state_text, uneven_text
from memory.figures.analysis import Unreadable
from memory.figures.campaign import Result, Story, result_of
from memory.figures.costs import Costs, costs_of
from memory.figures.failures import FailureKind, failures_of
from memory.figures.knobs import Coverage, coverage_of
from memory.figures.machine import UNEVEN, machine_spread
from memory.figures.seconds import TimeStory, time_of
from memory.figures.trajectory import Trajectory, trajectory_of
from memory.figures.tree import Branch, flattened, near_of, tree_of
from memory.keep.near_misses import NearMiss
from memory.lineage.digest import digest_of
from memory.lineage.prospects import Combination, Opposite, Prospects
from memory.records import CampaignState, Measurement, Trial

_NEAREST = 12
"""So many near misses are shown and combined."""


@dataclass(frozen=True, kw_only=True)
class Reading:
    """Where the record came from, and how well it could be read."""

    source: str
    at_work: bool = False
    """Whether a loop holds the workspace."""
    unreadable: Sequence[Unreadable] = ()
    """Lines of a log that could not be read."""
    notes: Sequence[str] = ()
    """What had to be assumed of a log."""


@dataclass(frozen=True, kw_only=True)
class Gathered:
    """The figures of a report, before they are put into words and drawings."""

    story: Story
    reading: Reading
    state: str
    """What the loop does, or why it does no more."""
    result: Result
    trajectory: Trajectory
    coverage: Coverage
    failures: tuple[FailureKind, ...]
    time: TimeStory
    tree: Sequence[tuple[int, Branch]]
    near: Sequence[NearMiss]
    combinations: Sequence[Combination]
    opposites: Sequence[Opposite]
    costs: Costs
    uneven: str | None
    """That the machine did not run evenly."""


def gather(story: Story, reading: Reading, usd_per_kwh: float | None = None) -> Gathered:
    """Compute everything that a report shows.

    Args:
        story: the campaign.
        reading: where it came from.
        usd_per_kwh: price of energy; None: the task's.
    """
    tree = tree_of(story)
    near = near_of(story)
    combinations, opposites = _ideas(story, near)
    return Gathered(
        story=story,
        reading=reading,
        state=_state(story, reading.at_work),
        result=result_of(story),
        trajectory=trajectory_of(story),
        coverage=coverage_of(story),
        failures=failures_of(story),
        time=time_of(story),
        tree=[] if tree is None else flattened(tree),
        near=near,
        combinations=combinations,
        opposites=opposites,
        costs=costs_of(story, usd_per_kwh),
        uneven=_uneven(story),
    )


def _ideas(story: Story, near: Sequence[NearMiss]) -> tuple[list[Combination], list[Opposite]]:
    """What the near misses and the losses suggest; nothing while there is nothing to build on."""
    best = story.incumbent or story.baseline
    if best is None:
        return [], []
    prospects = Prospects(digest_of(story.campaign, story.trials), best)
    nearest = [story.by_seq[miss.trial] for miss in near[:_NEAREST]]
    return prospects.combinations(nearest, 5), prospects.opposites(5)


class _Measured:
    """The story's measurements, as `machine_spread` asks for them."""

    def __init__(self, story: Story) -> None:
        self._story = story

    def measurements(self, trial_id: str) -> list[Measurement]:
        """Of one trial."""
        return self._story.measurements_of.get(trial_id, [])


def _uneven(story: Story) -> str | None:
    known: list[Trial] = [t for t in (story.baseline, story.incumbent) if t is not None]
    spread = machine_spread(_Measured(story), story.campaign, known)
    return uneven_text(spread) if spread is not None and spread["spread"] > UNEVEN else None


def _state(story: Story, at_work: bool) -> str:
    campaign = story.campaign
    if campaign.source is not None:
        return f"imported from {campaign.source}"
    document: dict[str, Any] = {
        "stop_reason": campaign.stop_reason,
        "state_reason": campaign.state_reason,
        "state": str(campaign.state) if at_work or campaign.state is CampaignState.ENDED else "dead",
    }
    return state_text(document)
