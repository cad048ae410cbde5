"""One campaign with everything that hangs off it: what an import makes, an export writes, a store takes in whole."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from memory.database.rows import (
    CALLS,
    CAMPAIGNS,
    CURVES,
    EVENTS,
    LESSONS,
    LINEAGE_BLOCKS,
    MEASUREMENTS,
    SPANS,
    TRIALS,
    VERDICTS,
    Table,
)
from memory.records import (
    Call,
    Campaign,
    Curve,
    Event,
    Lesson,
    LineageBlock,
    Measurement,
    Record,
    Span,
    Trial,
    Verdict,
)

if TYPE_CHECKING:
    from memory.database.queries import Queries


@dataclass(slots=True, kw_only=True)
class RecordSet:
    """The rows of one campaign: trials by number, what belongs to a trial in the order of the trials."""

    campaign: Campaign
    trials: list[Trial] = field(default_factory=list[Trial])
    measurements: list[Measurement] = field(default_factory=list[Measurement])
    curves: list[Curve] = field(default_factory=list[Curve])
    calls: list[Call] = field(default_factory=list[Call])
    verdicts: list[Verdict] = field(default_factory=list[Verdict])
    lessons: list[Lesson] = field(default_factory=list[Lesson])
    spans: list[Span] = field(default_factory=list[Span])
    lineage_blocks: list[LineageBlock] = field(default_factory=list[LineageBlock])
    events: list[Event] = field(default_factory=list[Event])

    def tables(self) -> Iterable[tuple[Table[Any], list[Record]]]:
        """Every table with its rows."""
        yield CAMPAIGNS, [self.campaign]
        yield TRIALS, [*self.trials]
        yield MEASUREMENTS, [*self.measurements]
        yield CURVES, [*self.curves]
        yield CALLS, [*self.calls]
        yield VERDICTS, [*self.verdicts]
        yield LESSONS, [*self.lessons]
        yield SPANS, [*self.spans]
        yield LINEAGE_BLOCKS, [*self.lineage_blocks]
        yield EVENTS, [*self.events]


def read_record_set(queries: "Queries", campaign_id: str) -> RecordSet:
    """All rows of one campaign.

    Raises:
        KeyError: there is no such campaign.
    """
    return RecordSet(
        campaign=queries.campaign(campaign_id),
        trials=queries.trials(campaign_id),
        measurements=queries.rows_of_trials(MEASUREMENTS, campaign_id),
        curves=queries.rows_of_trials(CURVES, campaign_id),
        calls=queries.rows_of_trials(CALLS, campaign_id),
        verdicts=queries.rows_of_trials(VERDICTS, campaign_id),
        lessons=queries.rows_of_trials(LESSONS, campaign_id),
        spans=queries.rows_of_trials(SPANS, campaign_id),
        lineage_blocks=queries.lineage_blocks(campaign_id),
        events=queries.events(campaign_id),
    )
