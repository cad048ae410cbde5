"""What was measured of a trial, as far as it may be compared with what is measured now."""

from graph.services import Services
from memory.keep.comparable import measured_on
from memory.records import Measurement


def measured(services: Services, trial_id: str) -> list[Measurement]:
    """A trial's evidence: scores that were made to decide, on the machine that the campaign runs on now."""
    return measured_on(services.store.measurements(trial_id), services.campaign.hardware_fingerprint)
