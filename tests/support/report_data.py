"""Data of reports, from made-up records: as a store would give them, without a store."""

from datetime import timedelta
from typing import Any

from memory.figures.campaign import ReportData
from memory.figures.reading import data_of_records
from memory.record_set import RecordSet
from memory.records import Campaign, Measurement, Phase, Purpose, Trial
from rails.status import Status
from tests.support.many_trials import many_trials
from tests.support.rows import CampaignRecords, make_campaign, make_measurement, make_trial

FINAL: dict[str, Any] = {
    "state": "done",
    "stop_reason": "limit",
    "incumbent": 1,
    "n": 2,
    "seeds": [1000, 1001],
    "sd": 0.01,
    "df": 4,
    "val": {"baseline": 2.0, "incumbent": 1.96, "gain": 0.02, "gain_low": 0.006, "gain_high": 0.034},
    "test": {"baseline": 2.1, "incumbent": 2.08, "gain": 0.0095, "gain_low": -0.01, "gain_high": 0.029},
    "failures": [],
}
"""A result on fresh seeds of a campaign that kept its first trial."""


def data_of(records: CampaignRecords, **campaign: Any) -> ReportData:
    """The data of a made-up campaign, with changes to its row."""
    return data_of_records(
        RecordSet(
            campaign=records.campaign.model_copy(update=campaign),
            trials=records.trials,
            measurements=records.measurements,
            calls=records.calls,
            spans=records.spans,
        )
    )


def many_trials_data(trials: int, **campaign: Any) -> ReportData:
    """A long made-up campaign."""
    return data_of(many_trials(trials), **campaign)


class Night:
    """A small campaign that is made trial by trial, with the scores that a test wants."""

    def __init__(self, baseline: list[float], **campaign: Any) -> None:
        self.campaign: Campaign = make_campaign().model_copy(update=campaign)
        self.trials: list[Trial] = []
        self.measurements: list[Measurement] = []
        self.best = self.add(Status.BASELINE, baseline)

    def add(self, status: Status, scores: list[float], **fields: Any) -> Trial:
        """One decided trial on top of the best so far, with a measurement a score."""
        seq = len(self.trials)
        numbers = {"metric": sum(scores) / len(scores)} if scores else {}
        defaults: dict[str, Any] = {
            "phase": Phase.DECIDED,
            "status": status,
            "reason": f"{status} it is",
            "n_measurements": len(scores),
            "parent_trial_id": self.best.trial_id if seq else None,
            "program_key": f"program-{seq}",
            "total_s": 10.0,
            "decided_at": self.campaign.created_at + timedelta(seconds=60 * seq + 50),
            **numbers,
        }
        trial = make_trial(self.campaign, seq, **{**defaults, **fields})
        self.trials.append(trial)
        self.measurements += [make_measurement(trial, index, score) for index, score in enumerate(scores)]
        if status in {Status.KEEP, Status.BASELINE}:
            self.best = trial
        return trial

    def finals(self, trial: Trial, scores: list[float]) -> None:
        """Measurements after the search."""
        self.measurements += [
            make_measurement(trial, 1000 + index, score, purpose=Purpose.FINAL) for index, score in enumerate(scores)
        ]

    def data(self, **campaign: Any) -> ReportData:
        """What it came to."""
        fields = {"incumbent_trial_id": self.best.trial_id, **campaign}
        records = CampaignRecords(self.campaign, self.trials, self.measurements)
        return data_of(records, **fields)
