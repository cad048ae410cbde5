"""curate: the trial's final row, the ratchet forward or back, the lesson, and what readers see."""

from dataclasses import dataclass, field
from typing import Any

from graph.asking.lesson import draw_lesson
from graph.projection import mean_metric, project, refresh_parent
from graph.services import Services
from graph.state import Route, TrialState, Update
from memory.git.ratchet import commit_message
from memory.records import CallRole, MeasurementState, Phase, Trial, TrialKind, utc_now
from rails.guard import blocked_status
from rails.status import FINISHED, Status


@dataclass(frozen=True, slots=True)
class Outcome:
    """A trial's status, why, and the numbers that only a finished trial has."""

    status: Status
    reason: str
    numbers: dict[str, Any] = field(default_factory=dict[str, Any])


def curate(services: Services, state: TrialState) -> Update:
    """Write the final row with the new head in one transaction, then let everything else follow from it."""
    trial = services.trial(state["trial_id"])
    if trial.phase is not Phase.DECIDED:
        refresh_parent(services, trial)  # before a keep's table is made: a loop that goes on does it then, too
        trial = _commit(services, trial, outcome_of(services, state, trial), state["attempt"])
    project(services, trial)
    services.observer.decided(trial)
    return {"route": Route.RECORDED}


def outcome_of(services: Services, state: TrialState, trial: Trial) -> Outcome:
    """What became of the trial, from what the store holds about it."""
    if state["route"] is Route.BLOCKED:
        return _blocked(services, state, trial)
    target = state["target_trial_id"]
    last = next(m for m in services.store.measurements(target) if m.measurement_id == state["measurement_id"])
    metric = mean_metric(services, trial.trial_id)
    if last.state is MeasurementState.STOPPED or (last.state is MeasurementState.FAILED and target == trial.trial_id):
        status = Status.DISCARD if last.state is MeasurementState.STOPPED else last.status or Status.CRASH
        return Outcome(status, last.reason or "the measurement failed")
    if last.state is MeasurementState.FAILED:
        if last.status is Status.INTERRUPTED:
            return Outcome(Status.INTERRUPTED, last.reason or "interrupted")
        return Outcome(Status.DISCARD, f"not proven: the incumbent could not be measured again ({last.reason})", metric)
    if trial.kind is TrialKind.BASELINE:
        return Outcome(Status.BASELINE, "the starting point", metric)
    decision = trial.decision or {}
    status = Status.KEEP if decision.get("action") == "keep" else Status.DISCARD
    return Outcome(status, str(decision.get("reason", "")), metric)


def _blocked(services: Services, state: TrialState, trial: Trial) -> Outcome:
    attempt = state["attempt"]
    verdict = next(v for v in services.store.verdicts(trial.trial_id) if v.attempt == attempt and not v.ok)
    return Outcome(blocked_status(verdict.rail), f"{verdict.rail}: {verdict.reason}")


def _commit(services: Services, trial: Trial, outcome: Outcome, attempt: int) -> Trial:
    """The commit point: final row, new head and lesson in one transaction."""
    numbers = outcome.numbers if outcome.status in FINISHED else {}
    decided = {"phase": Phase.DECIDED, "status": outcome.status, "reason": outcome.reason, **numbers}
    final = trial.model_copy(update=decided)
    lesson = draw_lesson(services, final, attempt)  # first of all: what it costs belongs to the trial
    final = final.model_copy(update={**used_up(services, trial), "lesson": lesson.text if lesson else None})
    head, incumbent = None, None
    if outcome.status is Status.BASELINE:
        incumbent = trial.trial_id
    if outcome.status is Status.KEEP:
        head, incumbent = _commit_keep(services, final), trial.trial_id
        final = final.model_copy(update={"commit_sha": head})
    services.decide(Trial.model_validate(final.model_dump()), head, incumbent, lesson)
    return services.trial(trial.trial_id)


def used_up(services: Services, trial: Trial) -> dict[str, Any]:
    """What the trial took: seconds by part, and dollars. Calls for a lesson cost, but are no proposing."""
    calls = services.store.calls(trial.trial_id)
    measurements = services.store.measurements(trial.trial_id)
    prices = [call.usd for call in calls if call.usd is not None]
    return {
        "propose_s": sum(call.latency_s for call in calls if call.role is not CallRole.LESSON),
        "train_s": sum(m.train_s or 0.0 for m in measurements),
        "score_s": sum(m.score_s or 0.0 for m in measurements),
        "total_s": _seconds(services, trial),
        "usd": sum(prices) if prices else None,
        "decided_at": utc_now(),
    }


def _seconds(services: Services, trial: Trial) -> float:
    """How long the trial took; where a measurement always takes the same, what all that were made for it took."""
    if not services.trainer.deterministic:
        return services.hands[trial.trial_id].seconds
    known = (services.store.measurements(t) for t in (trial.trial_id, trial.parent_trial_id) if t is not None)
    return sum(m.train_s or 0.0 for found in known for m in found if m.for_trial_id == trial.trial_id)


def _commit_keep(services: Services, trial: Trial) -> str:
    """The amended commit: the candidate with the results table folded in and the result in trailers."""
    if trial.parent_commit is None or trial.metric is None:
        raise ValueError(f"trial {trial.seq} cannot be kept without a parent and a metric")
    others = [t for t in services.store.trials(trial.campaign_id) if t.trial_id != trial.trial_id]
    metric = services.task.metric.name
    trailers = {
        "Nightshift-Trial": str(trial.seq),
        "Nightshift-Metric": f"{metric}={trial.metric:.6f}",
        **_gain_trailer(trial),
        "Nightshift-Measurements": str(trial.n_measurements),
        "Nightshift-Candidate": trial.candidate_commit or "",
    }
    return services.ratchet.commit_keep(
        trial.parent_commit,
        services.source_of(trial),
        services.results.render([*others, trial], services.store.peak_bytes(trial.campaign_id)),
        commit_message(f"trial {trial.seq}: {trial.edit_key}", trial.hypothesis or "", trailers),
        trial.created_at,
    )


def _gain_trailer(trial: Trial) -> dict[str, str]:
    """The gain that it was kept for; of what was kept as simpler, what it may cost."""
    gain = f"{trial.gain:.6f}" if trial.gain is not None else "unknown"
    return {"Nightshift-Kept-As": f"simpler ({gain})"} if trial.kept_as_simpler else {"Nightshift-Gain": gain}


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
