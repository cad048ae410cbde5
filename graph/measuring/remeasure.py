"""Measuring a decided trial once more, apart from any trial in hand."""

from collections.abc import Sequence

from graph.limits.disk import require_room
from graph.measuring.attempts import given_up, new_measurement, stored_measurement
from graph.measuring.scoring import score_trained
from graph.measuring.training import run_training
from graph.services import Services
from memory.records import Measurement, MeasurementState, Purpose, Trial


def measure(
    services: Services, target: Trial, seed_index: int, purpose: Purpose, node: str, ahead: Sequence[int] = ()
) -> Measurement:
    """One measurement of a decided trial's program, from its start to how it ended; a pause comes before it.

    Args:
        services: of the campaign.
        target: whose program.
        seed_index: with which of the campaign's shared seeds.
        purpose: what for.
        node: under which name its seconds are stored, beside those of the five nodes.
        ahead: seeds with which it is measured next: trained beside this one, as far as there is room.

    Raises:
        TrialError: interrupted; the measurement is made anew when the campaign goes on.
        HaltError: the machine cannot start a process, or (`DiskFullError`) has no room.
    """
    services.wait_while_paused()
    require_room(services.workspace)
    before = stored_measurement(services, target, seed_index)
    with services.in_hand(target, apart=node) as hand:
        if not given_up(services, target, before):
            measurement = new_measurement(services, target, target, seed_index, before, purpose)
            services.store.open_measurement(measurement)
            run_training(services, target, target, measurement, ahead)
            if (model := hand.models.pop(measurement.measurement_id, None)) is not None:
                score_trained(services, target, measurement, model)
    after = stored_measurement(services, target, seed_index)
    if after is None or after.state is MeasurementState.RUNNING:
        raise ValueError(f"the measurement of trial {target.seq} with seed {seed_index} has no end")
    return after
