"""Which measurements may be compared with each other, and the evidence that comes of them."""

import math
from collections.abc import Iterable

from memory.keep.evidence import Direction, Evidence, Points
from memory.records import Campaign, Measurement, MeasurementState, Purpose
from memory.records.metric import metric_of
from memory.statistics.noise import Noise


def measured_on(measurements: Iterable[Measurement], machine: str) -> list[Measurement]:
    """Those that are evidence: with a score, made to decide, on this machine.

    What is measured at the end of a campaign is no evidence in it, and scores of two machines are two things.

    Args:
        measurements: of any trial.
        machine: a hardware fingerprint; a campaign has that of the machine it runs on now.
    """
    return [
        m
        for m in measurements
        if m.state is MeasurementState.MEASURED and m.purpose is Purpose.SEARCH and m.machine == machine
    ]


def points_of(measurements: Iterable[Measurement]) -> Points:
    """Seed index and metric of each measurement that has a score."""
    return tuple((m.seed_index, m.score) for m in measurements if m.score is not None)


def comparable(measurements: Iterable[Measurement], campaign: Campaign) -> Points:
    """The scores of a trial that count in its campaign now: of the search, on the machine that it runs on."""
    return points_of(measured_on(measurements, campaign.hardware_fingerprint))


def evidence_of(
    campaign: Campaign, noise: Noise, candidate: Points, incumbent: Points, baseline: Points | None = None
) -> Evidence:
    """The evidence that scores of two programs are, in the terms of their campaign.

    Args:
        campaign: of both, with the direction of the metric.
        noise: between measurements of identical programs, as the store knows it of this campaign, in the metric's unit.
        candidate: `comparable` scores of the one.
        incumbent: likewise of the other.
        baseline: of the starting point, which gains are relative to; None: `incumbent` is it.
    """
    start = incumbent if baseline is None else baseline
    return Evidence(
        candidate=candidate,
        incumbent=incumbent,
        baseline=start,
        noise_sd=_on_scale(campaign, noise.sd, start),
        noise_df=noise.df,
        noise_campaigns=noise.campaigns,
        direction=direction_of(campaign),
        log_scale=on_logarithms(campaign),
    )


def _on_scale(campaign: Campaign, sd: float | None, start: Points) -> float | None:
    """The spread of a score's logarithm is about the score's, relative to it."""
    if sd is None or not start or not on_logarithms(campaign):
        return sd
    return sd / (abs(math.fsum(metric for _, metric in start) / len(start)) or 1.0)


def direction_of(campaign: Campaign) -> Direction:
    """Which way the campaign's metric is better: as its task states it, down where it states nothing, as some logs."""
    metric = campaign.task.get("metric")
    return "maximize" if isinstance(metric, dict) and metric.get("direction") == "maximize" else "minimize"


def on_logarithms(campaign: Campaign) -> bool:
    """Whether the campaign's scores are compared on logarithms."""
    metric = campaign.task.get("metric")
    return isinstance(metric, dict) and metric.get("scale") == "log"


def measures_as(campaign: Campaign) -> tuple[object, ...]:
    """What two campaigns must have in common for the spread of one to tell of the other's."""
    task = campaign.task
    budget, data = task.get("budget") or {}, task.get("data") or {}
    metric = metric_of(task)
    return (
        campaign.hardware_fingerprint,
        campaign.hardware.get("device"),
        campaign.corpus_sha256,
        *(budget.get(key) for key in ("kind", "amount")),
        *(data.get(key) for key in ("vocab_size", "eval_seq_len", "eval_tokens")),
        (task.get("trial") or {}).get("threads"),
        metric.name,
        metric.direction,
        on_logarithms(campaign),
    )
