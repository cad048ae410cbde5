"""evaluate: score the trained model from outside, then decide: keep, discard, one more seed, or repair."""

from collections.abc import Sequence

from graph.nodes.train import fail
from graph.services import Services
from graph.state import Node, Route, TrialState, Update
from memory.decide import Decision, Evidence
from memory.records import Curve, Measurement, MeasurementState, Phase, Trial, TrialKind, utc_now
from rails.errors import TrialError
from rails.status import Status
from tools.trainer_tool import TrainedModel

REPAIRABLE = frozenset({Status.CRASH, Status.PREFLIGHT_CRASH})


def evaluate(services: Services, state: TrialState) -> Update:
    """Turn the finished training into a score or a failure, and that into the trial's next step."""
    trial = services.trial(state["trial_id"])
    target = services.trial(state["target_trial_id"])
    measurement = next(
        m for m in services.store.measurements(target.trial_id) if m.measurement_id == state["measurement_id"]
    )
    if measurement.state is MeasurementState.RUNNING:
        measurement = _score(services, trial, measurement, services.live.pop(measurement.measurement_id))
    if measurement.state is MeasurementState.FAILED:
        return _after_failure(services, state, measurement)
    if trial.kind is TrialKind.BASELINE:
        return _next_baseline_seed(services, trial)
    return _decide(services, trial)


def _score(services: Services, trial: Trial, measurement: Measurement, model: TrainedModel) -> Measurement:
    services.observer.scoring(trial)
    try:
        with model:
            score = services.trainer.score(model)
    except TrialError as error:
        return fail(services, trial, measurement, error)
    outcome = model.outcome
    measured = measurement.model_copy(
        update={
            "state": MeasurementState.MEASURED,
            "val_bpb": score.val_bpb,
            "total_nats": score.total_nats,
            "total_bytes": score.total_bytes,
            "scored_tokens": score.scored_tokens,
            "startup_s": outcome.startup_s,
            "train_s": outcome.train_s,
            "score_s": score.score_s,
            "steps": outcome.steps,
            "tokens": outcome.tokens,
            "params": outcome.params,
            "flops": outcome.flops,
            "mfu": services.trainer.mfu(outcome),
            "peak_rss_bytes": outcome.peak_rss_bytes,
            "peak_device_bytes": services.trainer.peak_device_bytes(outcome),
            "summary": dict(outcome.summary),
            "log_tail": outcome.log_tail,
            "finished_at": utc_now(),
        }
    )
    curve = Curve(
        measurement_id=measurement.measurement_id,
        trial_id=measurement.trial_id,
        step=[point.step for point in outcome.curve],
        tokens=[point.tokens for point in outcome.curve],
        elapsed_s=[point.elapsed_s for point in outcome.curve],
        loss=[point.loss for point in outcome.curve],
    )
    services.store.finish_measurement(measured, curve)
    services.waited(trial.trial_id, Node.EVALUATE, "score", score.score_s)
    services.observer.measured(trial, measured)
    return measured


def _after_failure(services: Services, state: TrialState, measurement: Measurement) -> Update:
    """A crash of the candidate may be repaired; an incumbent that fails now says nothing about the candidate."""
    own = measurement.trial_id == state["trial_id"]
    repairs = state["repairs"]
    # A program with a score is not repaired: measurements of two programs must not end in one mean.
    unscored = not measured(services.store.measurements(measurement.trial_id))
    repairable = own and unscored and measurement.status in REPAIRABLE and services.proposer.repairs_crashes
    if repairable and repairs < services.task.rails.repairs:
        return {
            "route": Route.REPAIR,
            "attempt": state["attempt"] + 1,
            "corrections": 0,
            "repairs": repairs + 1,
            "measurement_id": measurement.measurement_id,
        }
    return {"route": Route.DECIDED}


def _next_baseline_seed(services: Services, trial: Trial) -> Update:
    done = len(measured(services.store.measurements(trial.trial_id)))
    if done < services.task.baseline.seeds:
        return {"route": Route.MEASURE, "target_trial_id": trial.trial_id, "seed_index": done}
    return {"route": Route.DECIDED}


def _decide(services: Services, trial: Trial) -> Update:
    decision = services.rule.decide(evidence_for(services, trial))
    services.store.update_trial(
        trial.trial_id,
        phase=Phase.MEASURED,
        gain=decision.gain,
        gain_low=decision.gain_low,
        gain_high=decision.gain_high,
        p_improve=decision.p_improve,
        decision=decision_row(decision),
    )
    if decision.action != "measure":
        return {"route": Route.DECIDED}
    target = trial.trial_id if decision.target == "candidate" else trial.parent_trial_id
    if target is None or decision.seed_index is None:
        raise ValueError(f"rule {services.rule.name} asked for a measurement of nothing")
    return {"route": Route.MEASURE, "target_trial_id": target, "seed_index": decision.seed_index}


def decision_row(decision: Decision) -> dict[str, object]:
    """The decision as it is stored: the action, its reason and all the evidence the rule stated."""
    return {"action": decision.action, "reason": decision.reason, **decision.evidence}


def evidence_for(services: Services, trial: Trial) -> Evidence:
    """All that is known of candidate, incumbent and baseline, and of the noise between identical programs."""
    store, campaign = services.store, services.campaign
    noise = store.noise(campaign.campaign_id)
    baseline = store.trial_by_seq(campaign.campaign_id, 0)
    if baseline is None:
        raise ValueError(f"campaign {campaign.campaign_id} has no baseline to compare with")
    parent = trial.parent_trial_id or baseline.trial_id
    return Evidence(
        candidate=pairs(measured(store.measurements(trial.trial_id))),
        incumbent=pairs(measured(store.measurements(parent))),
        baseline=pairs(measured(store.measurements(baseline.trial_id))),
        noise_sd=noise.sd,
        noise_df=noise.df,
        direction=services.task.metric.direction,
    )


def measured(measurements: Sequence[Measurement]) -> list[Measurement]:
    """Those with a score."""
    return [m for m in measurements if m.state is MeasurementState.MEASURED]


def pairs(measurements: Sequence[Measurement]) -> tuple[tuple[int, float], ...]:
    """(seed index, metric) of each measurement."""
    return tuple((m.seed_index, m.val_bpb) for m in measurements if m.val_bpb is not None)
