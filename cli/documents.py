"""The JSON documents of the commands: stable keys, built from records alone."""

from collections import Counter
from statistics import stdev
from typing import Any, Protocol

from cli.output import bpb, gain_text, seconds
from memory.decide import Evidence
from memory.noise import Noise
from memory.records import Campaign, Measurement, MeasurementState, Trial, TrialKind, utc_now
from memory.rules_base import Points, estimate


class Records(Protocol):
    """What a store and a reader of its snapshot have in common."""

    def trials(self, campaign_id: str) -> list[Trial]:
        """The trials of a campaign, by seq."""
        ...

    def measurements(self, trial_id: str) -> list[Measurement]:
        """The measurements of a trial."""
        ...

    def noise(self, campaign_id: str) -> Noise:
        """The spread between measurements of identical programs."""
        ...


def status_document(records: Records, campaign: Campaign) -> dict[str, Any]:
    """Where a campaign is. `trials` leaves the baseline row out; gains are relative to the baseline."""
    rows = records.trials(campaign.campaign_id)
    search = [t for t in rows if t.kind is TrialKind.SEARCH]
    baseline = next((t for t in rows if t.kind is TrialKind.BASELINE and t.metric is not None), None)
    incumbent = next((t for t in rows if t.trial_id == campaign.incumbent_trial_id), None)
    end = campaign.ended_at or max([campaign.created_at, *(t.decided_at for t in rows if t.decided_at)])
    return {
        "campaign": campaign.campaign_id,
        "tag": campaign.tag,
        "branch": campaign.branch,
        "proposer": campaign.proposer,
        "lineage": campaign.lineage,
        "keep_rule": campaign.keep_rule,
        "trials": len(search),
        "statuses": dict(sorted(Counter(str(t.status) for t in search if t.status is not None).items())),
        "baseline": _baseline(records, baseline),
        "incumbent": _incumbent(records, campaign, baseline, incumbent),
        "isolation": campaign.isolation,
        "stop_reason": campaign.stop_reason,
        "elapsed_s": ((end if campaign.stop_reason else max(end, utc_now())) - campaign.created_at).total_seconds(),
        "usd": sum(t.usd for t in rows if t.usd is not None) if any(t.usd is not None for t in rows) else None,
        "corpus_sha256": campaign.corpus_sha256,
        "hardware": campaign.hardware,
    }


def _points(records: Records, trial: Trial) -> Points:
    done = [m for m in records.measurements(trial.trial_id) if m.state is MeasurementState.MEASURED]
    return tuple((m.seed_index, m.val_bpb) for m in done if m.val_bpb is not None)


def _baseline(records: Records, baseline: Trial | None) -> dict[str, Any] | None:
    if baseline is None:
        return None
    values = [value for _, value in _points(records, baseline)]
    return {
        "trial": baseline.seq,
        "val_bpb": baseline.metric,
        "sd": stdev(values) if len(values) > 1 else None,
        "values": values,
    }


def _incumbent(
    records: Records, campaign: Campaign, baseline: Trial | None, incumbent: Trial | None
) -> dict[str, Any] | None:
    """The incumbent against the baseline on the seeds that both have, with the noise of identical programs."""
    if baseline is None or incumbent is None:
        return None
    document: dict[str, Any] = {"trial": incumbent.seq, "val_bpb": incumbent.metric, "edit": incumbent.edit_key}
    if incumbent.trial_id == baseline.trial_id:
        return {**document, "gain": 0.0, "gain_low": None, "gain_high": None}
    noise = records.noise(campaign.campaign_id)
    points = _points(records, baseline)
    found = estimate(
        Evidence(
            candidate=_points(records, incumbent),
            incumbent=points,
            baseline=points,
            noise_sd=noise.sd,
            noise_df=noise.df,
            direction=campaign.task["metric"]["direction"],
        )
    )
    return {**document, "gain": found.gain, "gain_low": found.gain_low, "gain_high": found.gain_high}


def status_sentence(document: dict[str, Any]) -> str:
    """The status as a person wants to hear it."""
    baseline, incumbent = document["baseline"], document["incumbent"]
    counts = ", ".join(f"{count} {status}" for status, count in document["statuses"].items())
    lines = [
        f"{document['branch']}: {document['trials']} trials ({counts or 'none decided'}) in "
        f"{seconds(document['elapsed_s'])}, isolation {document['isolation']}"
    ]
    if baseline is not None:
        spread = "" if baseline["sd"] is None else f" ± {baseline['sd']:.4f} over {len(baseline['values'])} seeds"
        lines.append(f"baseline: {bpb(baseline['val_bpb'])} bits per byte{spread}")
    if incumbent is not None:
        gain = gain_text(incumbent["gain"], incumbent["gain_low"], incumbent["gain_high"])
        what = (
            "the baseline itself" if incumbent["trial"] == 0 else f"trial {incumbent['trial']}, {gain} on the baseline"
        )
        lines.append(f"incumbent: {bpb(incumbent['val_bpb'])}, {what}")
    lines.append(f"stopped: {document['stop_reason']}" if document["stop_reason"] else "not finished")
    return "\n".join(lines)
