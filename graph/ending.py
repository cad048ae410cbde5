"""Ending a trial without a verdict on its hypothesis: interrupted, or given up by the harness."""

import time

from graph.nodes.curate import project
from graph.services import Services
from memory.records import Phase, Trial, utc_now
from memory.snapshot import publish
from rails.status import Status


def end_trial(services: Services, trial: Trial, status: Status, reason: str) -> None:
    """Decide a search trial as `interrupted` or `harness_abort`. What it cost stays on record.

    Raises:
        HaltError: the record cannot be written.
    """
    calls = services.store.calls(trial.trial_id)
    measurements = services.store.measurements(trial.trial_id)
    prices = [call.usd for call in calls if call.usd is not None]
    final = trial.model_copy(
        update={
            "phase": Phase.DECIDED,
            "status": status,
            "reason": reason,
            "metric": None,
            "propose_s": sum(call.latency_s for call in calls),
            "train_s": sum(m.train_s or 0.0 for m in measurements),
            "score_s": sum(m.score_s or 0.0 for m in measurements),
            "total_s": time.monotonic() - services.trial_started,
            "usd": sum(prices) if prices else None,
            "decided_at": utc_now(),
        }
    )
    services.decide(final, None, None, None)
    decided = services.trial(trial.trial_id)
    if status is Status.INTERRUPTED:
        project(services, decided)
    else:
        publish(services.store, services.workspace.snapshot_dir)  # the trouble may be git's: leave it alone
    services.observer.decided(decided)
