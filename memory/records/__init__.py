"""The rows of the store, as frozen, strict records. Times of day are UTC; units are in the names.

One record per table (`curves` keeps its columns as lists, one row a measurement). Records are what every other package
reads and writes: nobody outside `memory` handles SQL rows.
"""

from memory.records.base import Record, percent, utc_now
from memory.records.calls import Call, CallRole, Verdict
from memory.records.campaigns import Campaign, CampaignState, Event, EventKind
from memory.records.measurements import Curve, Measurement, MeasurementState, Purpose
from memory.records.trials import (
    INCUMBENT_FAILED,
    KEPT_AS_SIMPLER,
    SIMPLER,
    Lesson,
    LineageBlock,
    Origin,
    Phase,
    Span,
    Trial,
    TrialKind,
    stopped_at,
)

__all__ = [
    "INCUMBENT_FAILED",
    "KEPT_AS_SIMPLER",
    "SIMPLER",
    "Call",
    "CallRole",
    "Campaign",
    "CampaignState",
    "Curve",
    "Event",
    "EventKind",
    "Lesson",
    "LineageBlock",
    "Measurement",
    "MeasurementState",
    "Origin",
    "Phase",
    "Purpose",
    "Record",
    "Span",
    "Trial",
    "TrialKind",
    "Verdict",
    "percent",
    "stopped_at",
    "utc_now",
]
