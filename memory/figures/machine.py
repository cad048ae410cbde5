"""How evenly the machine ran: a figure of a campaign's measurements."""

from collections.abc import Sequence
from typing import Any, Protocol

from memory.records import Campaign, Measurement, MeasurementState, Trial
from rails.clocks import counts_time

UNEVEN = 0.1
"""From this spread of speed on, between measurements of one program, a person is told that the machine changed."""


class Measured(Protocol):
    """Anything that knows the measurements of trials."""

    def measurements(self, trial_id: str) -> list[Measurement]:
        """The measurements of a trial."""
        ...


def machine_spread(records: Measured, campaign: Campaign, trials: Sequence[Trial]) -> dict[str, Any] | None:
    """How evenly the machine ran: of these programs the one whose steps per second differ most between measurements.

    Steps per second of the budget's clock. None on a budget that counts no time, where speed moves no score, and before
    anything was measured twice.
    """
    budget = campaign.task.get("budget")
    kind = budget.get("kind") if isinstance(budget, dict) else None
    if not counts_time(kind):
        return None
    uneven: dict[str, Any] | None = None
    for trial in trials:
        done = [(m.steps, m.cpu_s if kind == "cpu_seconds" else m.train_s) for m in _measured(records, campaign, trial)]
        speeds = [steps / took_s for steps, took_s in done if steps and took_s]
        if len(speeds) < 2:
            continue
        spread = max(speeds) / min(speeds) - 1
        if uneven is None or spread > uneven["spread"]:
            uneven = {
                "trial": trial.seq,
                "clock": kind,
                "slowest_steps_per_s": min(speeds),
                "fastest_steps_per_s": max(speeds),
                "spread": spread,
            }
    return uneven


def _measured(records: Measured, campaign: Campaign, trial: Trial) -> list[Measurement]:
    """Also what was measured of the result: it tells of the machine as well. Another machine's speed does not."""
    stored = records.measurements(trial.trial_id)
    return [m for m in stored if m.state is MeasurementState.MEASURED and m.machine == campaign.hardware_fingerprint]
