"""Where a report's rows come from: a store or its snapshot, or the records of a log."""

import math
from collections.abc import Sequence
from typing import Protocol

from memory.database.queries import ModelCalls, TrialCalls
from memory.figures.analysis import analyze_rows, rows_of
from memory.figures.campaign import ReportData
from memory.record_set import RecordSet
from memory.records import Call, CallRole, Campaign, Event, Measurement, Purpose, Span, Trial
from memory.statistics.noise import Noise

TABLES = ("trials", "measurements", "calls", "spans", "events")
"""What `read_report_data` reads of a snapshot, besides its campaigns."""


class ReportSource(Protocol):
    """What a store and a reader of its snapshot have in common, as far as a report needs it."""

    def trials(self, campaign_id: str) -> list[Trial]:
        """All trials, by number."""
        ...

    def campaign_measurements(self, campaign_id: str) -> list[Measurement]:
        """All measurements, by start."""
        ...

    def events(self, campaign_id: str) -> list[Event]:
        """What happened to the loop, in order."""
        ...

    def noise(self, campaign_id: str) -> Noise:
        """The spread of one measurement in this campaign."""
        ...

    def store_noise(self, campaign_id: str) -> Noise:
        """The same over all campaigns that measure alike: what keep rules use."""
        ...

    def seconds_by_part(self, campaign_id: str) -> dict[tuple[str, str], float]:
        """Where the seconds went: (node, part) to their sum."""
        ...

    def model_calls(self, campaign_id: str) -> ModelCalls:
        """The requests to models, summed up."""
        ...

    def calls_by_trial(self, campaign_id: str) -> list[TrialCalls]:
        """The same for each trial and role."""
        ...


def read_report_data(source: ReportSource, campaign: Campaign) -> ReportData:
    """Read everything that a report of this campaign needs."""
    wanted = campaign.campaign_id
    return ReportData(
        campaign=campaign,
        trials=source.trials(wanted),
        measurements=source.campaign_measurements(wanted),
        events=source.events(wanted),
        noise=source.store_noise(wanted),
        own_noise=source.noise(wanted),
        seconds_by_part=source.seconds_by_part(wanted),
        calls=source.model_calls(wanted),
        calls_by_trial=source.calls_by_trial(wanted),
    )


def data_of_records(records: RecordSet) -> ReportData:
    """The same of records that stand in no store. The noise is that of their campaign alone."""
    searched = [m for m in records.measurements if m.purpose is Purpose.SEARCH]
    found = analyze_rows(rows_of(records.trials, searched), []).noise
    noise = Noise(sd=found.sd, df=found.df)
    return ReportData(
        campaign=records.campaign,
        trials=records.trials,
        measurements=records.measurements,
        events=records.events,
        noise=noise,
        own_noise=noise,
        seconds_by_part=_by_part(records.spans),
        calls=_model_calls(records.calls),
        calls_by_trial=_calls_by_trial(records),
    )


def _by_part(spans: Sequence[Span]) -> dict[tuple[str, str], float]:
    found: dict[tuple[str, str], float] = {}
    for span in spans:
        found[span.node, span.part] = found.get((span.node, span.part), 0.0) + span.seconds
    return found


def _model_calls(calls: Sequence[Call]) -> ModelCalls:
    asked = [call for call in calls if call.model is not None]
    prices = [call.usd for call in asked if call.usd is not None]
    prompt, completion = ([n for c in asked if (n := getattr(c, name)) is not None] for name in _TOKENS)
    return ModelCalls(
        requests=len(asked),
        priced=len(prices),
        usd=math.fsum(prices) if prices else None,
        prompt_tokens=sum(prompt) if prompt else None,
        completion_tokens=sum(completion) if completion else None,
    )


def _calls_by_trial(records: RecordSet) -> list[TrialCalls]:
    groups: dict[tuple[str, CallRole], list[Call]] = {}
    for call in records.calls:
        groups.setdefault((call.trial_id, call.role), []).append(call)
    order = {trial.trial_id: trial.seq for trial in records.trials}
    found: list[TrialCalls] = []
    for (trial_id, role), calls in sorted(groups.items(), key=lambda group: (order[group[0][0]], group[0][1])):
        summed = _model_calls(calls)
        if summed.requests:
            found.append(
                TrialCalls(
                    trial_id=trial_id,
                    role=role,
                    requests=summed.requests,
                    usd=summed.usd,
                    prompt_tokens=summed.prompt_tokens,
                    completion_tokens=summed.completion_tokens,
                    seconds=math.fsum(call.latency_s for call in calls if call.model is not None),
                )
            )
    return found


_TOKENS = ("prompt_tokens", "completion_tokens")
