"""How deeply a measurement is probed, and what is tolerated: read from the store, so that a crash changes neither."""

from collections.abc import Iterable
from typing import Any

from graph.services import Services
from memory.records import Measurement, MeasurementState
from trainer.scoring.probes import DEEP_CUTS, calibrated_tolerance


def tolerance_nats(services: Services, measured: Measurement) -> float:
    """The effect of a probe that is tolerated in this campaign, as its baseline calibrated it on this machine.

    Until it is, the baseline itself is judged without its own help: with the most that is ever tolerated.
    """
    baseline, machine = services.store.trial_by_seq(services.campaign_id, 0), services.campaign.hardware_fingerprint
    if baseline is None:
        return calibrated_tolerance([])
    passed = _passed(m for m in services.store.measurements(baseline.trial_id) if m.machine == machine)
    if measured.trial_id == baseline.trial_id and len(passed) < services.task.baseline.seeds:
        return calibrated_tolerance([])
    return calibrated_tolerance(passed)


def probed_deeply(measurements: Iterable[Measurement]) -> bool:
    """Whether these measurements of one program passed `DEEP_CUTS` cuts in all, or as many as a short text has."""
    reports = _passed(measurements)
    needed = max((report["cuts_drawn"] for report in reports), default=DEEP_CUTS)
    return sum(report["cuts"] for report in reports) >= needed


def _passed(measurements: Iterable[Measurement]) -> list[dict[str, Any]]:
    return [m.probes for m in measurements if m.state is MeasurementState.MEASURED and m.probes is not None]
