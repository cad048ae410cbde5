"""Making one campaign of the trials that an importer finds in a foreign log."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pydantic import ValidationError

from memory.analysis import Unreadable
from memory.importers.log import IMPORTED, UNKNOWN, Log, LogFormat, Origin, RowError
from memory.importers.values import storable
from memory.record_set import RecordSet
from memory.records import Campaign, CampaignState, Measurement, MeasurementState, Phase, Trial, TrialKind
from memory.rules_base import Direction, better
from rails.status import FINISHED, Status
from rails.text import clean_text

LARGEST_NUMBER = 10**9
"""A trial's own number beyond this is not taken for one."""

LARGEST_METRIC = 1e100
"""As in memory/rules_base.py: beyond this a number is no measurement, and squares of it would overflow."""

_WHY_LIMIT = 200


@dataclass(slots=True, kw_only=True)
class Found:
    """One trial as a line of a log tells of it."""

    status: Status
    metric: float | None = None
    """Of a finished trial."""
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


class LogBuilder:
    """Gathers trials in the order of the log, and ends with the campaign that they are."""

    def __init__(self, origin: Origin, log_format: LogFormat) -> None:
        self.origin, self.format = origin, log_format
        self.campaign_id = f"log-{origin.sha256[:16]}"
        self.unreadable: list[Unreadable] = []
        self.notes: list[str] = []
        self.direction: Direction = "minimize"
        self.metric_name = "val_bpb"
        self._trials: dict[int, Trial] = {}
        self._family: dict[int, tuple[int | None, int | None]] = {}
        self._measurements: dict[int, Measurement] = {}
        self._timeless: set[int] = set()
        self._newest = 0
        self._last_keep: int | None = None

    def refuse(self, line: int, why: str) -> None:
        """List a line that cannot be read."""
        self.unreadable.append(Unreadable(line=line, why=clean_text(why, _WHY_LIMIT)))

    def add(self, found: Found) -> Trial:
        """Add one trial.

        Raises:
            RowError: what the line says contradicts itself, or cannot be stored.
        """
        seq = self._number(found)
        finished = found.status in FINISHED
        _check_metric(found)
        fields = {name: storable(value) for name, value in found.trial.items() if value is not None}
        if "created_at" not in fields:
            self._timeless.add(seq)
        fields.setdefault("created_at", self.origin.modified_at)
        fields.setdefault("decided_at", fields["created_at"])
        if not finished and not fields.get("reason"):
            fields["reason"] = f"{found.status} in the log, which does not say why"
        try:
            trial = Trial(
                trial_id=self._trial_id(seq),
                campaign_id=self.campaign_id,
                seq=seq,
                kind=TrialKind.SEARCH if seq else TrialKind.BASELINE,
                phase=Phase.DECIDED,
                status=found.status,
                metric=found.metric if finished else None,
                n_measurements=int(finished and found.measured),
                **fields,
            )
            measurement = self._measurement(trial, found)
        except ValidationError as error:
            detail = error.errors(include_url=False)[0]
            place = ".".join(map(str, detail["loc"]))
            raise RowError(f"{place}: {detail['msg']}" if place else detail["msg"]) from None
        self._keep(trial, found, measurement)
        return trial

    @property
    def trials(self) -> list[Trial]:
        """Those added so far, in the order of the log."""
        return list(self._trials.values())

    def _trial_id(self, seq: int) -> str:
        return f"{self.campaign_id}-{seq:06d}"

    def _number(self, found: Found) -> int:
        if found.status is Status.BASELINE:
            if 0 in self._trials:
                raise RowError("there is a second baseline")
            return 0
        own = found.number
        if own is not None and 0 < own <= LARGEST_NUMBER and own not in self._trials:
            return own
        if own is not None:
            self.notes.append(f"the trial number {own} stands twice or is none: counted as {self._newest + 1}")
        return self._newest + 1

    def _keep(self, trial: Trial, found: Found, measurement: Measurement | None) -> None:
        family = (found.parent, found.rival) if trial.seq else (None, None)
        self._family[trial.seq] = (
            self._last_keep if family[0] is None else family[0],
            self._last_keep if family[1] is None else family[1],
        )
        self._trials[trial.seq] = trial
        self._newest = max(self._newest, trial.seq)
        if trial.status in {Status.KEEP, Status.BASELINE}:
            self._last_keep = trial.seq
        if measurement is not None:
            self._measurements[trial.seq] = measurement

    def _measurement(self, trial: Trial, found: Found) -> Measurement | None:
        """What was measured. The log gives no seeds: the trial's number stands for one, so that each is its own."""
        finished = trial.status in FINISHED
        summary = {name: value for name, value in found.measurement.get("summary", {}).items() if value is not None}
        if found.claimed is not None:
            summary["claimed"] = found.claimed
        fields = {name: storable(v) for name, v in found.measurement.items() if name != "summary" and v is not None}
        if (finished and not found.measured) or (not finished and not summary and not fields):
            return None
        return Measurement(
            measurement_id=f"{trial.trial_id}-m",
            campaign_id=trial.campaign_id,
            trial_id=trial.trial_id,
            seed_index=trial.seq,
            seed=trial.seq,
            state=MeasurementState.MEASURED if finished else MeasurementState.FAILED,
            isolation=UNKNOWN,
            machine=IMPORTED,
            val_bpb=trial.metric,
            status=None if finished else trial.status,
            reason=None if finished else trial.reason,
            summary=storable(summary) or None,
            started_at=trial.created_at,
            finished_at=trial.decided_at,
            **fields,
        )

    def finish(self, *, task: Mapping[str, Any] | None = None, campaign: Mapping[str, Any] | None = None) -> Log:
        """The log: one campaign, its trials by number and with gains.

        Args:
            task: what is known of the task besides the metric.
            campaign: what is known of the campaign.
        """
        known_times = [trial.created_at for seq, trial in self._trials.items() if seq not in self._timeless]
        first = min(known_times, default=self.origin.modified_at)
        last = max(known_times, default=first)
        for seq in self._timeless & self._trials.keys():
            self._trials[seq] = self._trials[seq].model_copy(update={"created_at": first, "decided_at": first})
        trials = [self._related(self._trials[seq]) for seq in sorted(self._trials)]
        best = self._best(trials)
        start = self._trials.get(0)
        metric = {"name": self.metric_name, "direction": self.direction}
        known: dict[str, Any] = {
            "proposer": UNKNOWN,
            "lineage": False,
            "seed": 0,
            "keep_rule": IMPORTED,
            "baseline_commit": (start.candidate_commit or "") if start else "",
            "head_commit": (best.candidate_commit or "") if best else "",
            **storable(dict(campaign or {})),
        }
        made = Campaign(
            campaign_id=self.campaign_id,
            tag=self.origin.tag,
            branch=f"autoresearch/{self.origin.tag}",
            task=storable({"name": self.origin.tag, "metric": metric, "menu": {"knobs": {}}, **(task or {})}),
            limits={},
            corpus_sha256="",
            hardware={},
            hardware_fingerprint=IMPORTED,
            isolation=UNKNOWN,
            versions={},
            incumbent_trial_id=None if best is None else best.trial_id,
            stop_reason=f"imported from a {self.format}",
            created_at=first,
            ended_at=last,
            state=CampaignState.ENDED,
            active_s=math.fsum(trial.total_s for trial in trials),
            source=str(self.origin.path),
            **known,
        )
        measurements = [self._measurements[seq] for seq in sorted(self._measurements)]
        return Log(
            format=self.format,
            records=RecordSet(campaign=made, trials=trials, measurements=measurements),
            unreadable=sorted(self.unreadable, key=lambda found: found.line),
            notes=list(dict.fromkeys(self.notes)),
        )

    def _best(self, trials: list[Trial]) -> Trial | None:
        """The best kept trial; the baseline when there is none."""
        best: Trial | None = None
        for trial in trials:
            if trial.metric is None or trial.status not in {Status.KEEP, Status.BASELINE}:
                continue
            if best is None or best.metric is None or better(trial.metric, best.metric, self.direction):
                best = trial
        return best

    def _related(self, trial: Trial) -> Trial:
        """With its parent, and its gain over what it was compared with, both by the log's own numbers."""
        parent, rival = (self._trials.get(-1 if seq is None else seq) for seq in self._family[trial.seq])
        news: dict[str, Any] = {}
        if parent is not None and parent is not trial:
            news = {"parent_trial_id": parent.trial_id, "parent_commit": parent.candidate_commit}
        if trial.metric is not None and rival is not None and rival.metric is not None and rival is not trial:
            start = self._trials.get(0, rival).metric or rival.metric
            gain = rival.metric - trial.metric if self.direction == "minimize" else trial.metric - rival.metric
            news["gain"] = gain / (abs(start) or 1.0)
        return trial.model_copy(update=news)


def _check_metric(found: Found) -> None:
    finished, metric = found.status in FINISHED, found.metric
    if finished and metric is None:
        raise RowError(f"its status is {found.status}, but it has no metric")
    if metric is not None and not (math.isfinite(metric) and abs(metric) <= LARGEST_METRIC):
        raise RowError(f"its metric is no measurement: {metric!r}")
