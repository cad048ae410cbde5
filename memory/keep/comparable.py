"""Which measurements may be compared with each other."""

from collections.abc import Iterable

from memory.records import (
    Campaign,
    Measurement,
    MeasurementState,
    Purpose,
)


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


def measures_as(campaign: Campaign) -> tuple[object, ...]:
    """What two campaigns must have in common for the spread of one to tell of the other's."""
    task = campaign.task
    budget, data = task.get("budget") or {}, task.get("data") or {}
    return (
        campaign.hardware_fingerprint,
        campaign.hardware.get("device"),
        campaign.corpus_sha256,
        *(budget.get(key) for key in ("kind", "amount")),
        *(data.get(key) for key in ("vocab_size", "eval_seq_len", "eval_tokens")),
        (task.get("trial") or {}).get("threads"),
        task.get("metric"),
    )
