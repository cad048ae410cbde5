"""Finds where a campaign goes on, from the store: which trial, attempt and measurement come next."""

from dataclasses import dataclass

from graph.campaign.disqualified import undone_commits
from graph.campaign.result import is_measured, planned_measurements, unfinished_result
from graph.measuring.judging import first_seed
from graph.services import Services
from graph.watching.events import Observer
from graph.watching.resume_point import ResumePoint, Step
from graph.workspace import Workspace
from memory.exports.results_tsv import render_results_tsv
from memory.git.ratchet import Ratchet
from memory.publish import publish
from memory.records import Campaign, CampaignState, Measurement, MeasurementState, Phase, Purpose, Trial, TrialKind
from memory.records.metric import metric_of
from memory.store import Store
from rails.task import LimitsConfig


@dataclass(frozen=True, slots=True)
class Terms:
    """What a person may change about a campaign that goes on."""

    limits: LimitsConfig
    fallback: str | None


def find_resume_point(services: Services) -> ResumePoint:
    """Where the services' campaign goes on."""
    trials = services.store.trials(services.campaign_id)
    if unfinished_result(services) is not None:
        return _in_finale(services, trials)
    trial = next((t for t in trials if t.phase is not Phase.DECIDED), None)
    if trial is None:
        return ResumePoint(step=Step.OPEN, trial_seq=len(trials))
    if trial.kind is TrialKind.BASELINE:
        return _in_baseline(services, trial)
    return _in_search(services, trial)


def _in_baseline(services: Services, trial: Trial) -> ResumePoint:
    done, planned = services.measured(trial.trial_id), services.baseline_seeds
    if len(done) >= planned:
        return ResumePoint(step=Step.DECIDE, trial_seq=trial.seq, stored=len(done), planned=planned)
    return ResumePoint(
        step=Step.TRAIN,
        trial_seq=trial.seq,
        target_seq=trial.seq,
        seed_index=len(done),
        stored=len(done),
        planned=planned,
    )


def _in_search(services: Services, trial: Trial) -> ResumePoint:
    if trial.phase is Phase.OPENED:
        return ResumePoint(step=Step.PROPOSE, trial_seq=trial.seq)
    if trial.phase is Phase.PROPOSED:
        return _after_reply(services, trial)
    begun = _under_way(services, trial)
    done = services.measured(trial.trial_id)
    if begun is not None:
        target, measurement = begun
        return ResumePoint(
            step=Step.TRAIN,
            trial_seq=trial.seq,
            attempt=trial.attempt,
            target_seq=target.seq,
            seed_index=measurement.seed_index,
            stored=len(done),
        )
    if trial.phase is Phase.RAILED:
        seed = first_seed(services, trial)
        return ResumePoint(
            step=Step.TRAIN, trial_seq=trial.seq, attempt=trial.attempt, target_seq=trial.seq, seed_index=seed
        )
    return ResumePoint(step=Step.DECIDE, trial_seq=trial.seq, attempt=trial.attempt, stored=len(done))


def _after_reply(services: Services, trial: Trial) -> ResumePoint:
    """Its last reply is stored; either nobody has judged it yet, or it was refused."""
    verdicts = [v for v in services.store.verdicts(trial.trial_id) if v.attempt == trial.attempt]
    if not verdicts:
        return ResumePoint(step=Step.CHECK, trial_seq=trial.seq, attempt=trial.attempt)
    refused = len({v.attempt for v in services.store.verdicts(trial.trial_id) if not v.ok})
    if refused > services.task.rails.corrections:
        return ResumePoint(step=Step.DECIDE, trial_seq=trial.seq, attempt=trial.attempt)
    return ResumePoint(step=Step.PROPOSE, trial_seq=trial.seq, attempt=trial.attempt + 1)


def _under_way(services: Services, trial: Trial) -> tuple[Trial, Measurement] | None:
    """The measurement that was begun and has no end: of the candidate, or of the incumbent on its behalf."""
    for target_id in (trial.trial_id, trial.parent_trial_id):
        for measurement in services.store.measurements(target_id) if target_id else ():
            if measurement.state is MeasurementState.RUNNING and measurement.purpose is Purpose.SEARCH:
                return services.trial(measurement.trial_id), measurement
    return None


def _in_finale(services: Services, trials: list[Trial]) -> ResumePoint:
    """Every fresh seed is measured twice, on incumbent and baseline, before the next one is."""
    incumbent_id = services.campaign.incumbent_trial_id
    plan = planned_measurements(services)
    open_seeds = [seed for target, seed in plan if not is_measured(services, target, seed)]
    return ResumePoint(
        step=Step.RESULT,
        trial_seq=next(t.seq for t in trials if t.trial_id == incumbent_id),
        seed_index=open_seeds[0] if open_seeds else None,
        stored=len(plan) - len(open_seeds),
        planned=len(plan),
    )


def roll_forward(store: Store, ratchet: Ratchet, workspace: Workspace, campaign: Campaign, terms: Terms) -> None:
    """Roll the branch and every projection forward to what the store says, and put on record that a loop is at work.

    A result that was measured already is forgotten, for the search goes on; its measurements stay.
    """
    ratchet.resume(campaign.tag, campaign.head_commit, undone_commits(store, campaign))
    store.update_campaign(
        campaign.campaign_id,
        state=CampaignState.RUNNING,
        state_reason=None,
        stop_reason=None,
        ended_at=None,
        final=campaign.final if (campaign.final or {}).get("state") == "running" else None,
        limits=terms.limits.model_dump(),
        fallback=terms.fallback,
    )
    trials = store.trials(campaign.campaign_id)
    open_candidates = [t.candidate_commit for t in trials if t.phase is not Phase.DECIDED and t.candidate_commit]
    ratchet.drop_candidates(keep=open_candidates)
    peaks, metric = store.peak_bytes(campaign.campaign_id), metric_of(campaign.task).name
    ratchet.project(campaign.head_commit, render_results_tsv(trials, peaks, metric))
    publish(store, workspace.snapshot_dir)


def note_isolation(store: Store, campaign: Campaign, isolation: str, observer: Observer) -> None:
    """Say so when a campaign goes on at another level than it had: measurements keep theirs, it has the last."""
    if campaign.isolation != isolation:
        observer.note(f"trials run at isolation {isolation} from here on; before they ran at {campaign.isolation}")
        store.update_campaign(campaign.campaign_id, isolation=isolation)
