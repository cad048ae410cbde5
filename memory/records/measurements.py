"""Measurements: one train-and-score each, with its training curve."""

from datetime import datetime
from enum import StrEnum
from typing import Any

from memory.records.base import Record
from rails.status import Status


class MeasurementState(StrEnum):
    """How one train-and-score ended, or that it has not."""

    RUNNING = "running"
    MEASURED = "measured"
    STOPPED = "stopped"
    """Training was cut short because its curve was hopeless: no score, and no failure either."""
    FAILED = "failed"


class Purpose(StrEnum):
    """Why a measurement was made."""

    SEARCH = "search"
    """To decide about a trial."""
    FINAL = "final"
    """To report the campaign: incumbent and baseline on common, fresh seeds, scored on the test text as well."""


class Measurement(Record):
    """One train-and-score of a trial's program with one seed."""

    measurement_id: str
    campaign_id: str
    trial_id: str
    seed_index: int
    """Which of the campaign's shared seeds: candidate and incumbent are compared on equal indices."""
    seed: int
    state: MeasurementState
    attempt: int = 1
    """How often it was started; more than 1 after a crash of the loop."""
    isolation: str
    """The level at which its process ran."""
    score: float | None = None
    """In the task's metric."""
    total_nats: float | None = None
    total_bytes: int | None = None
    scored_tokens: int | None = None
    status: Status | None = None
    """The failure, when the state is `failed`."""
    reason: str | None = None
    startup_s: float | None = None
    """Process start, imports, building the model: before the budget's clock."""
    train_s: float | None = None
    """By the parent's monotonic clock."""
    score_s: float | None = None
    steps: int | None = None
    tokens: int | None = None
    params: int | None = None
    flops: float | None = None
    mfu: float | None = None
    peak_rss_bytes: int | None = None
    peak_device_bytes: int | None = None
    summary: dict[str, Any] | None = None
    """What the trial process said of itself. Shown to people, never decided on."""
    log_tail: str | None = None
    started_at: datetime
    finished_at: datetime | None = None
    purpose: Purpose = Purpose.SEARCH
    answer_s: float | None = None
    """How long the first answer of the trained model took."""
    test_score: float | None = None
    """On what was held back, as the test text; only of a measurement whose purpose is `final`."""
    probes: dict[str, Any] | None = None
    """What the probes of the trained model found: how many cuts, and the largest effect of each kind in nats."""
    machine: str = ""
    """Fingerprint of the hardware it ran on: only scores of one machine are compared."""
    startup_cpu_s: float | None = None
    """CPU seconds of all its processes until the start of the budget's clock."""
    cpu_s: float | None = None
    """CPU seconds of training, of all its processes; None where they could not all be counted."""
    answer_cpu_s: float | None = None
    """CPU seconds from the end of training to the first answer."""
    for_trial_id: str | None = None
    """On behalf of which trial it was made: of an incumbent often a candidate's. None in stores of before: its own."""


class Curve(Record):
    """The training curve of one measurement, as equally long columns."""

    measurement_id: str
    trial_id: str
    step: list[int]
    tokens: list[int]
    elapsed_s: list[float]
    """By the budget's clock: seconds as the process counted them; on a budget of CPU seconds those, by the parent."""
    loss: list[float]
