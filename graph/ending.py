"""Ending a trial without a verdict on its hypothesis: interrupted, or given up by the harness."""

from graph.nodes.curate import project, used_up
from graph.services import Services
from memory.records import Phase, Trial
from rails.status import Status


def end_trial(services: Services, trial: Trial, status: Status, reason: str) -> None:
    """Decide a search trial as `interrupted` or `harness_abort`. What it cost stays on record.

    Raises:
        HaltError: the record cannot be written.
    """
    final = trial.model_copy(
        update={
            **used_up(services, trial),
            "phase": Phase.DECIDED,
            "status": status,
            "reason": reason,
            "metric": None,
        }
    )
    services.decide(final, None, None, None)
    decided = services.trial(trial.trial_id)
    if status is Status.INTERRUPTED:
        project(services, decided)
    else:
        services.publish()  # the trouble may be git's: leave it alone
    services.observer.decided(decided)
