"""A trial as a line of a foreign log tells of it, its place among the others, and the records that come of both."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from memory.figures.analysis import TrialRow
from memory.importers.log import IMPORTED, UNKNOWN
from memory.record_set import RecordSet
from memory.records import Campaign, Measurement, MeasurementState, Phase, Trial, TrialKind
from rails.status import FINISHED, Status


@dataclass(slots=True, kw_only=True)
class Found:
    """One trial as a line of a log tells of it, in values that a store can keep."""

    status: Status
    metric: float | None = None
    """Of a finished trial; else None."""
    claimed: float | None = None
    """The number that the log gives for a trial that did not finish. It is kept, but it is no metric."""
    number: int | None = None
    """The log's own; None: the next one. A baseline is always 0."""
    parent: int | None = None
    """Number of the trial whose program was changed; None: of the last keep before this line."""
    rival: int | None = None
    """Number of the trial that it was compared with; None: the last keep before this line."""
    measured: bool = True
    """False when the metric is only stated, and no run of this loop."""
    trial: dict[str, Any] = field(default_factory=dict[str, Any])
    """Further fields of the trial."""
    measurement: dict[str, Any] = field(default_factory=dict[str, Any])
    """Further fields of its measurement."""


@dataclass(slots=True, kw_only=True)
class Placed:
    """A trial among the others of its log."""

    seq: int
    trial_id: str
    found: Found
    parent: int | None
    """Number of the trial whose program was changed; there may be none of that number."""
    rival: int | None
    """Number of the trial that it was compared with, likewise."""


def records_of(campaign: Campaign, placed: Sequence[Placed], rows: Sequence[TrialRow], first: datetime) -> RecordSet:
    """The records of a log.

    Args:
        campaign: of the log.
        placed: its trials by number.
        rows: the same as neutral rows.
        first: stands in for times that the log does not tell.
    """
    by_number = {trial.seq: trial for trial in placed}
    records = RecordSet(campaign=campaign)
    for one, row in zip(placed, rows, strict=True):
        parent = by_number.get(-1 if one.parent is None else one.parent)
        trial = _trial(campaign, one, parent if parent is not None and parent.seq < one.seq else None, row, first)
        records.trials.append(trial)
        if row.draws or row.status not in FINISHED:
            records.measurements.extend(_measurement(trial, one.found))
    return records


def _trial(campaign: Campaign, placed: Placed, parent: Placed | None, row: TrialRow, first: datetime) -> Trial:
    found = placed.found
    fields = {name: value for name, value in found.trial.items() if value is not None}
    fields.setdefault("created_at", first)
    fields.setdefault("decided_at", fields["created_at"])
    if found.status not in FINISHED and not fields.get("reason"):
        fields["reason"] = f"{found.status} in the log, which does not say why"
    if parent is not None:
        fields |= {"parent_trial_id": parent.trial_id, "parent_commit": parent.found.trial.get("candidate_commit")}
    return Trial(
        trial_id=placed.trial_id,
        campaign_id=campaign.campaign_id,
        seq=placed.seq,
        kind=TrialKind.SEARCH if placed.seq else TrialKind.BASELINE,
        phase=Phase.DECIDED,
        status=found.status,
        metric=found.metric,
        gain=row.gain,
        n_measurements=len(row.draws),
        **fields,
    )


def _measurement(trial: Trial, found: Found) -> list[Measurement]:
    """What was measured. The log gives no seeds: the trial's number stands for one, so that each is its own."""
    finished = trial.status in FINISHED
    summary = {name: value for name, value in found.measurement.get("summary", {}).items() if value is not None}
    if found.claimed is not None:
        summary["claimed"] = found.claimed
    fields = {name: value for name, value in found.measurement.items() if name != "summary" and value is not None}
    if not finished and not summary and not fields:
        return []
    measurement = Measurement(
        measurement_id=f"{trial.trial_id}-m",
        campaign_id=trial.campaign_id,
        trial_id=trial.trial_id,
        seed_index=trial.seq,
        seed=trial.seq,
        state=MeasurementState.MEASURED if finished else MeasurementState.FAILED,
        isolation=UNKNOWN,
        machine=IMPORTED,
        score=trial.metric,
        status=None if finished else trial.status,
        reason=None if finished else trial.reason,
        summary=summary or None,
        started_at=trial.created_at,
        finished_at=trial.decided_at,
        **fields,
    )
    return [measurement]
