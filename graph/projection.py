"""Brings branch, working tree, results table and snapshot in line with the store; safe to repeat."""

from typing import Any

from graph.services import Services
from memory.records import Trial
from rails.status import Status


def mean_metric(services: Services, trial_id: str) -> dict[str, Any]:
    """The metric of a trial, the mean over its measurements, and their number; nothing where there are none."""
    scores = [m.score for m in services.measured(trial_id) if m.score is not None]
    return {"metric": sum(scores) / len(scores), "n_measurements": len(scores)} if scores else {}


def project(services: Services, trial: Trial) -> None:
    """Bring branch, worktree, results table and snapshot in line with the store. Safe to repeat."""
    refresh_parent(services, trial)
    store = services.store
    results = services.results.render(store.trials(trial.campaign_id), store.peak_bytes(trial.campaign_id))
    head = services.campaign.head_commit
    if trial.status is Status.KEEP and trial.parent_commit and trial.commit_sha:
        for name in services.ratchet.advance(trial.parent_commit, trial.commit_sha):
            services.observer.note(
                f"{name} has your uncommitted changes and stays as it is; the branch has what was kept"
            )
    if trial.keep_undone and trial.commit_sha and trial.parent_commit == head:
        for name in services.ratchet.take_back(trial.commit_sha, head):
            services.observer.note(f"{name} has your uncommitted changes and stays as it is; the branch is back")
    if trial.candidate_commit is not None:
        services.ratchet.discard(trial.candidate_commit)
    services.ratchet.project(head, results)
    if trial.status not in {Status.KEEP, Status.BASELINE}:
        services.costs.forget(trial.trial_id)
    services.publish()


def refresh_parent(services: Services, trial: Trial) -> None:
    """Refresh the metric of a trial's parent. Not the campaign's incumbent's: a keep has just replaced it."""
    if trial.parent_trial_id is not None:
        refresh_metric(services, trial.parent_trial_id)


def refresh_metric(services: Services, trial_id: str) -> None:
    """An incumbent's measurements accumulate over the night, and its metric is the mean of those of this machine."""
    known, numbers = services.trial(trial_id), mean_metric(services, trial_id)
    if known.keep_undone:
        return  # what is disqualified has no metric
    if numbers and numbers != {"metric": known.metric, "n_measurements": known.n_measurements}:
        services.store.update_trial(trial_id, **numbers)
