"""Everything that the page shows of one campaign, computed once from its rows."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from cli.show.status import state_text, uneven_text
from memory.figures.analysis import Unreadable
from memory.figures.campaign import ReportData, Result, result_of
from memory.figures.costs import Costs, costs_of
from memory.figures.failures import FailureKind, failures_of
from memory.figures.knobs import Coverage, coverage_of
from memory.figures.machine import UNEVEN, machine_spread
from memory.figures.seconds import TimeSpent, time_of
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

    data: ReportData
    reading: Reading
    state: str
    """What the loop does, or why it does no more."""
    result: Result
    trajectory: Trajectory
    coverage: Coverage
    failures: tuple[FailureKind, ...]
    time: TimeSpent
    tree: Sequence[tuple[int, Branch]]
    near: Sequence[NearMiss]
    combinations: Sequence[Combination]
    opposites: Sequence[Opposite]
    costs: Costs
    uneven: str | None
    """That the machine did not run evenly."""


def gather(data: ReportData, reading: Reading, usd_per_kwh: float | None = None) -> Gathered:
    """Compute everything that a report shows.

    Args:
        data: the campaign.
        reading: where it came from.
        usd_per_kwh: price of energy; None: the task's.
    """
    tree = tree_of(data)
    near = near_of(data)
    combinations, opposites = _ideas(data, near)
    return Gathered(
        data=data,
        reading=reading,
        state=_state(data, reading.at_work),
        result=result_of(data),
        trajectory=trajectory_of(data),
        coverage=coverage_of(data),
        failures=failures_of(data),
        time=time_of(data),
        tree=[] if tree is None else flattened(tree),
        near=near,
        combinations=combinations,
        opposites=opposites,
        costs=costs_of(data, usd_per_kwh),
        uneven=_uneven(data),
    )


def _ideas(data: ReportData, near: Sequence[NearMiss]) -> tuple[list[Combination], list[Opposite]]:
    """What the near misses and the losses suggest; nothing while there is nothing to build on."""
    best = data.incumbent or data.baseline
    if best is None:
        return [], []
    prospects = Prospects(digest_of(data.campaign, data.trials), best)
    nearest = [data.by_seq[miss.trial] for miss in near[:_NEAREST]]
    return prospects.combinations(nearest, 5), prospects.opposites(5)


class _Measured:
    """The data's measurements, as `machine_spread` asks for them."""

    def __init__(self, data: ReportData) -> None:
        self._data = data

    def measurements(self, trial_id: str) -> list[Measurement]:
        """Of one trial."""
        return self._data.measurements_of.get(trial_id, [])


def _uneven(data: ReportData) -> str | None:
    known: list[Trial] = [t for t in (data.baseline, data.incumbent) if t is not None]
    spread = machine_spread(_Measured(data), data.campaign, known)
    return uneven_text(spread) if spread is not None and spread["spread"] > UNEVEN else None


def _state(data: ReportData, at_work: bool) -> str:
    campaign = data.campaign
    if campaign.source is not None:
        return f"imported from {campaign.source}"
    document: dict[str, Any] = {
        "stop_reason": campaign.stop_reason,
        "state_reason": campaign.state_reason,
        "state": str(campaign.state) if at_work or campaign.state is CampaignState.ENDED else "dead",
    }
    return state_text(document)
