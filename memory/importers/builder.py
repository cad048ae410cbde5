"""Making one campaign of the trials that an importer finds in a foreign log."""

import math
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from memory.figures.analysis import TrialRow, Unreadable, pair_of
from memory.importers.log import IMPORTED, UNKNOWN, Log, LogFormat, Origin, RowError
from memory.importers.placed import Found, Placed, records_of
from memory.importers.values import storable
from memory.keep.evidence import Direction, better
from memory.records import Campaign, CampaignState
from rails.status import FINISHED, Status
from rails.text import clean_text

LARGEST_NUMBER = 10**9
"""A trial's own number beyond this is not taken for one."""

LARGEST_METRIC = 1e100
"""As in memory/keep/evidence.py: beyond this a number is no measurement, and squares of it would overflow."""

_WHY_LIMIT = 200


class LogBuilder:
    """Gathers trials in the order of the log, and ends with the campaign that they are."""

    def __init__(self, origin: Origin, log_format: LogFormat) -> None:
        self.origin, self.format = origin, log_format
        self.campaign_id = f"log-{origin.sha256[:16]}"
        self.trials: dict[int, Placed] = {}
        """Those added so far by number, in the order of the log."""
        self.unreadable: list[Unreadable] = []
        self.notes: list[str] = []
        self.direction: Direction = "minimize"
        self.metric_name = "val_bpb"
        self._newest = 0
        self._last_keep: int | None = None

    def refuse(self, line: int, why: str) -> None:
        """List a line that cannot be read."""
        self.unreadable.append(Unreadable(line=line, why=clean_text(why, _WHY_LIMIT)))

    def add(self, found: Found) -> None:
        """Add one trial.

        Raises:
            RowError: what the line says contradicts itself.
        """
        seq = self._number(found)
        _check_metric(found)
        parent, rival = (found.parent, found.rival) if seq else (None, None)
        self.trials[seq] = Placed(
            seq=seq,
            trial_id=f"{self.campaign_id}-{seq:06d}",
            found=found,
            parent=self._last_keep if parent is None else parent,
            rival=self._last_keep if rival is None else rival,
        )
        self._newest = max(self._newest, seq)
        if found.status in _KEPT:
            self._last_keep = seq

    def _number(self, found: Found) -> int:
        if found.status is Status.BASELINE:
            if 0 in self.trials:
                raise RowError("there is a second baseline")
            return 0
        own = found.number
        if own is not None and 0 < own <= LARGEST_NUMBER and own not in self.trials:
            return own
        if own is not None:
            self.notes.append(f"the trial number {own} stands twice or is none: counted as {self._newest + 1}")
        return self._newest + 1

    def finish(self, *, task: Mapping[str, Any] | None = None, campaign: Mapping[str, Any] | None = None) -> Log:
        """The log: one campaign, its trials by number and with gains.

        Args:
            task: what is known of the task besides the metric.
            campaign: what is known of the campaign.
        """
        placed = [self.trials[seq] for seq in sorted(self.trials)]
        rows = [self._row(trial) for trial in placed]
        made = self._campaign(placed, task or {}, campaign or {})
        return Log(
            format=self.format,
            campaign=made,
            rows=rows,
            make=partial(records_of, placed=placed, rows=rows, first=made.created_at),
            unreadable=sorted(self.unreadable, key=lambda found: found.line),
            notes=list(dict.fromkeys(self.notes)),
        )

    def _row(self, placed: Placed) -> TrialRow:
        found = placed.found
        return TrialRow(
            trial=placed.seq,
            status=found.status,
            metric=found.metric,
            pair=pair_of(found.trial.get("edit")),
            program=found.trial.get("program_key") or placed.trial_id,
            draws=() if found.metric is None or not found.measured else ((placed.seq, found.metric),),
            gain=self._gain(placed),
            seconds=found.trial.get("total_s") or None,
        )

    def _gain(self, placed: Placed) -> float | None:
        """Over what it was compared with, by the log's own numbers; relative to the baseline."""
        rival, metric = self.trials.get(-1 if placed.rival is None else placed.rival), placed.found.metric
        if metric is None or rival is None or rival.found.metric is None or rival is placed:
            return None
        start = self.trials.get(0, rival).found.metric or rival.found.metric
        gain = rival.found.metric - metric if self.direction == "minimize" else metric - rival.found.metric
        gain /= abs(start) or 1.0
        return gain if math.isfinite(gain) else None

    def _campaign(self, placed: Sequence[Placed], task: Mapping[str, Any], campaign: Mapping[str, Any]) -> Campaign:
        times = [done for trial in placed if (done := trial.found.trial.get("created_at")) is not None]
        first = min(times, default=self.origin.modified_at)
        best, start = self._best(placed), self.trials.get(0)
        metric = {"name": self.metric_name, "direction": self.direction}
        known: dict[str, Any] = {
            "proposer": UNKNOWN,
            "lineage": False,
            "seed": 0,
            "keep_rule": IMPORTED,
            "baseline_commit": (start.found.trial.get("candidate_commit") or "") if start else "",
            "head_commit": (best.found.trial.get("candidate_commit") or "") if best else "",
            **storable(dict(campaign)),
        }
        return Campaign(
            campaign_id=self.campaign_id,
            tag=self.origin.tag,
            branch=f"autoresearch/{self.origin.tag}",
            task=storable({"name": self.origin.tag, "metric": metric, "menu": {"knobs": {}}, **task}),
            limits={},
            corpus_sha256="",
            hardware={},
            hardware_fingerprint=IMPORTED,
            isolation=UNKNOWN,
            versions={},
            incumbent_trial_id=None if best is None else best.trial_id,
            stop_reason=f"imported from a {self.format}",
            created_at=first,
            ended_at=max(times, default=first),
            state=CampaignState.ENDED,
            active_s=math.fsum(trial.found.trial.get("total_s") or 0.0 for trial in placed),
            source=str(self.origin.path),
            **known,
        )

    def _best(self, placed: Sequence[Placed]) -> Placed | None:
        """The best kept trial; the baseline when there is none."""
        best: Placed | None = None
        for trial in placed:
            metric = trial.found.metric
            if metric is None or trial.found.status not in _KEPT:
                continue
            if best is None or best.found.metric is None or better(metric, best.found.metric, self.direction):
                best = trial
        return best


_KEPT = frozenset({Status.KEEP, Status.BASELINE})


def _check_metric(found: Found) -> None:
    finished, metric = found.status in FINISHED, found.metric
    if finished and metric is None:
        raise RowError(f"its status is {found.status}, but it has no metric")
    if metric is not None and not (math.isfinite(metric) and abs(metric) <= LARGEST_METRIC):
        raise RowError(f"its metric is no measurement: {metric!r}")
