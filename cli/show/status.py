"""The JSON documents of the commands: stable keys, built from records alone."""

from collections import Counter
from dataclasses import asdict
from statistics import stdev
from typing import Any, Protocol

from cli.show.found import found_document, found_lines
from cli.terminal.output import gain_text, printable_line, score_text, seconds
from memory.database.queries import TrialCalls
from memory.figures.findings import confirmed_of, findings_of
from memory.figures.machine import UNEVEN, Measured, machine_spread
from memory.keep.comparable import comparable, direction_of, evidence_of
from memory.keep.comparison import compare
from memory.records import Campaign, CampaignState, Event, Trial, TrialKind
from memory.records.metric import Metric, metric_of
from memory.statistics.noise import Noise
from rails.text import UNCORRECTED

_GO_ON = "`nightshift run` goes on with the campaign"
LAST_EVENTS = 10
"""How many events a person sees; `nightshift query` has all of them."""


class Records(Measured, Protocol):
    """What a store and a reader of its snapshot have in common."""

    def trials(self, campaign_id: str) -> list[Trial]:
        """The trials of a campaign, by seq."""
        ...

    def events(self, campaign_id: str) -> list[Event]:
        """What happened to the loop, in order."""
        ...

    def store_noise(self, campaign_id: str) -> Noise:
        """The spread between measurements of identical programs, over all campaigns that measure alike."""
        ...

    def calls_by_trial(self, campaign_id: str) -> list[TrialCalls]:
        """The requests to models for each trial and role, summed up."""
        ...


def status_document(records: Records, campaign: Campaign, *, at_work: bool = True) -> dict[str, Any]:
    """Where a campaign is. `trials` leaves the baseline row out; gains are relative to the baseline.

    Args:
        records: the store, or a reader of its snapshot.
        campaign: to tell of.
        at_work: whether a loop holds the workspace. A campaign that says it goes on, with no loop, is dead.
    """
    rows = records.trials(campaign.campaign_id)
    search = [t for t in rows if t.kind is TrialKind.SEARCH]
    baseline = next((t for t in rows if t.kind is TrialKind.BASELINE and t.metric is not None), None)
    incumbent = next((t for t in rows if t.trial_id == campaign.incumbent_trial_id), None)
    noise = records.store_noise(campaign.campaign_id)
    metric = metric_of(campaign.task, foreign=campaign.source is not None)
    return {
        "campaign": campaign.campaign_id,
        "tag": campaign.tag,
        "branch": campaign.branch,
        "proposer": campaign.proposer,
        "lineage": campaign.lineage,
        "keep_rule": campaign.keep_rule,
        "trials": len(search),
        "statuses": dict(sorted(Counter(str(t.ended_as) for t in search if t.status is not None).items())),
        "metric": asdict(metric),
        "baseline": _baseline(records, campaign, baseline),
        "incumbent": _incumbent(records, campaign, baseline, incumbent),
        "noise": {"sd": noise.sd, "df": noise.df, "campaigns": noise.campaigns},
        "final": campaign.final,
        "found": _found(records, campaign, search),
        "machine": machine_spread(records, campaign, [t for t in (baseline, incumbent) if t is not None]),
        "isolation": campaign.isolation,
        "state": str(campaign.state) if at_work or campaign.state is CampaignState.ENDED else "dead",
        "state_reason": campaign.state_reason,
        "stop_reason": campaign.stop_reason,
        "elapsed_s": campaign.active_s,
        "energy_joules": campaign.joules,
        "usd": sum(t.usd for t in rows if t.usd is not None) if any(t.usd is not None for t in rows) else None,
        "corpus_sha256": campaign.corpus_sha256,
        "source": campaign.source,
        "hardware": campaign.hardware,
        "events": [_event(event) for event in records.events(campaign.campaign_id)[-LAST_EVENTS:]],
    }


def _found(records: Records, campaign: Campaign, search: list[Trial]) -> dict[str, Any]:
    decided = [t for t in search if t.status is not None]
    calls = records.calls_by_trial(campaign.campaign_id)
    named = list(campaign.task.get("specialists") or {})
    return found_document(findings_of(decided, calls, confirmed_of(decided), named))


def _event(event: Event) -> dict[str, Any]:
    return {"at": event.created_at, "trial": event.trial_seq, "kind": str(event.kind), "text": event.text}


def event_line(event: dict[str, Any]) -> str:
    """An event for a person."""
    trial = f"trial {event['trial']}"
    trial = "" if event["trial"] is None or trial in event["text"] else f"{trial}: "
    return printable_line(
        f"{event['at']:%Y-%m-%d %H:%M} UTC  {event['kind'].replace('_', ' '):<16}{trial}{event['text']}"
    )


def _baseline(records: Records, campaign: Campaign, baseline: Trial | None) -> dict[str, Any] | None:
    if baseline is None:
        return None
    values = [value for _, value in comparable(records.measurements(baseline.trial_id), campaign)]
    return {
        "trial": baseline.seq,
        **_scored(campaign, baseline),
        "sd": stdev(values) if len(values) > 1 else None,
        "values": values,
    }


def _scored(campaign: Campaign, trial: Trial) -> dict[str, float | None]:
    """Its score; once more under its former name where it is bits per byte."""
    metric = metric_of(campaign.task, foreign=campaign.source is not None)
    return {"score": trial.metric, "val_bpb": metric.in_bpb(trial.metric)}


def _stated_gain(campaign: Campaign, baseline: Trial, incumbent: Trial) -> float | None:
    """By the two metrics alone: of an imported log that states one of them without a measurement.

    Here that is the baseline against itself, or a campaign that has just moved: its metrics are of two machines.
    """
    if not baseline.metric or incumbent.metric is None:
        return None
    if campaign.source is None and incumbent.trial_id != baseline.trial_id:
        return None
    sign = 1.0 if direction_of(campaign) == "minimize" else -1.0
    return sign * (baseline.metric - incumbent.metric) / abs(baseline.metric)


def _incumbent(
    records: Records, campaign: Campaign, baseline: Trial | None, incumbent: Trial | None
) -> dict[str, Any] | None:
    """The incumbent against the baseline as the search measured them, with the noise of identical programs."""
    if baseline is None or incumbent is None:
        return None
    ours, theirs = (comparable(records.measurements(t.trial_id), campaign) for t in (incumbent, baseline))
    document: dict[str, Any] = {
        "trial": incumbent.seq,
        **_scored(campaign, incumbent),
        "n": len(ours),
        "edit": incumbent.edit_key,
    }
    if incumbent.trial_id == baseline.trial_id or not ours or not theirs:
        return {**document, "gain": _stated_gain(campaign, baseline, incumbent), "gain_low": None, "gain_high": None}
    found = compare(evidence_of(campaign, records.store_noise(campaign.campaign_id), ours, theirs))
    return {**document, "gain": found.gain, "gain_low": found.gain_low, "gain_high": found.gain_high}


def status_sentence(document: dict[str, Any]) -> str:
    """The status as a person wants to hear it: the result first."""
    baseline, incumbent, metric = document["baseline"], document["incumbent"], Metric(**document["metric"])
    counts = ", ".join(f"{count} {status}" for status, count in document["statuses"].items())
    lines = [
        *result_lines(document["final"], metric.decimals),
        f"{document['branch']}: {document['trials']} trials ({counts or 'none decided'}) in "
        f"{seconds(document['elapsed_s'])}, rule {document['keep_rule']}, isolation {document['isolation']}",
    ]
    if baseline is not None:
        sd = score_text(baseline["sd"], metric.decimals)
        spread = "" if baseline["sd"] is None else f" ± {sd} over {len(baseline['values'])} seeds"
        lines.append(f"baseline: {score_text(baseline['score'], metric.decimals)}{metric.with_unit}{spread}")
    if incumbent is not None:
        lines.append(f"incumbent: {_incumbent_text(incumbent, metric, shows_gain=not has_result(document['final']))}")
    lines += found_lines(document["found"])
    if document["machine"] is not None and document["machine"]["spread"] > UNEVEN:
        lines.append(uneven_text(document["machine"]))
    lines.append(state_text(document))
    if document["stop_reason"] and document["final"] is None and document["source"] is None:
        lines.append(f"no result was measured on fresh seeds: {_why_no_result(document)}")
    return "\n".join(map(printable_line, lines))


def state_text(document: dict[str, Any]) -> str:
    """What the loop does, or why it does no more."""
    if document["stop_reason"]:
        return f"stopped: {document['stop_reason']}"
    reason = f": {document['state_reason']}" if document["state_reason"] else ""
    match document["state"]:
        case "dead":
            return f"no loop is at work here any more{reason and f', it was last heard of{reason}'}; {_GO_ON}"
        case "ended":
            return f"not finished, the loop ended{reason}; {_GO_ON}"
        case state:
            return f"{state}{reason}"


def _why_no_result(document: dict[str, Any]) -> str:
    if document["incumbent"] is None or document["incumbent"]["trial"] == 0:
        return "nothing was kept"
    if document["stop_reason"].startswith("interrupted"):
        return "the campaign is not over, `nightshift run` goes on with it"
    return "[final] seeds is 0, or it ended before its result could be measured"


def result_lines(final: dict[str, Any] | None, decimals: int = 4) -> list[str]:
    """The campaign's result, incumbent against baseline on fresh seeds, for a person; none while there is none."""
    if final is None:
        return []
    undone = [f"trial {row['trial']} was disqualified, its keep undone: {row['reason']}" for row in _undone(final)]
    if final["state"] == "running":
        if final["incumbent"] is None:
            return undone
        return [f"result: trial {final['incumbent']} is being measured again on fresh seeds", *undone]
    failed = [f"measuring the result: {failure}" for failure in final["failures"]] + undone + _looks_lines(final)
    if final["incumbent"] is None:
        return ["result: none, everything that was kept was disqualified when it was measured again", *failed]
    if final["val"] is None:
        return ["result: not measured", *failed]
    seeds = f"re-measured on {final['n']} fresh seed{'s' if final['n'] > 1 else ''}"
    if final.get("true"):
        seeds = f"by the true means, over all recorded seeds ({final['n']} or more each)"
    lines = [f"result: trial {final['incumbent']} is {_result_text(final['val'], decimals)} on the baseline, {seeds}"]
    if final["test"] is not None:
        lines.append(f"on the held-back test text: {_result_text(final['test'], decimals)}")
    return lines + failed


def _undone(final: dict[str, Any]) -> list[dict[str, Any]]:
    """The keeps that were undone when the result was measured; a result of an older nightshift does not know any."""
    return final.get("disqualified") or []


def _looks_lines(final: dict[str, Any]) -> list[str]:
    looks = final.get("test_looks")
    return [f"the held-back test text: {looks_text(looks)}"] if looks else []


def looks_text(looks: int) -> str:
    """How often the test text was looked at, and what that means, for a person."""
    times = "once" if looks == 1 else f"{looks} times"
    return f"scored {times} so far, over all campaigns in this store; each look makes the next less of a test"


def _result_text(side: dict[str, Any], decimals: int) -> str:
    gain = gain_text(side["gain"], side["gain_low"], side["gain_high"])
    return f"{gain} ({score_text(side['incumbent'], decimals)} against {score_text(side['baseline'], decimals)})"


def has_result(final: dict[str, Any] | None) -> bool:
    """Whether the gain was measured on fresh seeds. From then on it is shown alone: the search's chose its trial."""
    return final is not None and final.get("val") is not None


def _incumbent_text(incumbent: dict[str, Any], metric: Metric, *, shows_gain: bool) -> str:
    score = score_text(incumbent["score"], metric.decimals)
    if incumbent["trial"] == 0:
        return f"{score}, the baseline itself"
    told = f"{score}, trial {incumbent['trial']}"
    if not shows_gain:
        return f"{told} ({incumbent['n']} x measured in the search)"
    gain = gain_text(incumbent["gain"], incumbent["gain_low"], incumbent["gain_high"])
    return f"{told}, {gain} on the baseline in the search, {UNCORRECTED} ({incumbent['n']} x measured)"


def uneven_text(machine: dict[str, Any]) -> str:
    """That the machine did not run evenly, for a person."""
    second = "CPU second" if machine["clock"] == "cpu_seconds" else "second"
    return (
        f"the machine did not run evenly: the program of trial {machine['trial']} made "
        f"{machine['slowest_steps_per_s']:.3g} to {machine['fastest_steps_per_s']:.3g} steps a {second}; on a budget "
        f"of {second}s that moves scores, so trust what was measured side by side"
    )
