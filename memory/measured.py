"""Which measurements may be compared with each other."""

from collections.abc import Iterable

from memory.records import Measurement, MeasurementState, Purpose


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
