"""evaluate: score the trained model from outside, probe it, then decide: keep, discard, one more seed, or repair.

How deeply it is probed follows from what its score would decide, and nothing is kept that was not probed deeply.
"""

import math
import time
from collections.abc import Sequence
from dataclasses import replace

from graph.clock import clock_evidence
from graph.evidence import measured
from graph.measuring import ever_scored, fail, halt
from graph.meters import EnergyPart
from graph.probing import probed_deeply, tolerance_nats
from graph.services import Services
from graph.state import Node, Route, TrialState, Update
from memory.keep.evidence import new_seed, next_seed
from memory.keep.rules import Decision, Evidence
from memory.records import (
    INCUMBENT_FAILED,
    Curve,
    Measurement,
    MeasurementState,
    Phase,
    Purpose,
    Trial,
    TrialKind,
    utc_now,
)
from memory.statistics.noise import Noise
from rails.errors import HaltError, TrialError
from rails.status import Status
from tools.trainer_tool import TrainedModel
from trainer.scoring.probes import DEEP_CUTS, QUICK_CUTS, ProbeError

REPAIRABLE = frozenset({Status.CRASH, Status.PREFLIGHT_CRASH})


def evaluate(services: Services, state: TrialState) -> Update:
    """Turn the finished training into a score or a failure, and that into the trial's next step."""
    trial = services.trial(state["trial_id"])
    target = services.trial(state["target_trial_id"])
    measurement = next(
        m for m in services.store.measurements(target.trial_id) if m.measurement_id == state["measurement_id"]
    )
    if measurement.state is not MeasurementState.RUNNING:
        return _next_step(services, state, trial, measurement)
    result, curve = _judged(
        services, trial, measurement, services.hands[trial.trial_id].models.pop(measurement.measurement_id)
    )
    if curve is None:
        return _next_step(services, state, trial, result)
    # A score and what it decides are one transaction, which goes to the disk with what comes of it, milliseconds later:
    # the trial's final row, or the next measurement that is opened. Killed before, it is trained again.
    with services.store.transaction(flush=False):
        services.store.finish_measurement(result, curve)
        step = _next_step(services, state, trial, result)
    services.observer.measured(trial, result)
    return step


def score_trained(services: Services, trial: Trial, measurement: Measurement, model: TrainedModel) -> Measurement:
    """Score and probe a trained model from outside, store how that ended, and close the model's process.

    Raises:
        TrialError: interrupted, and to be made when the campaign goes on; see `fail`.
        HaltError: the machine cannot start a process, or (`DiskFullError`) has no room.
    """
    result, curve = _judged(services, trial, measurement, model)
    if curve is not None:
        services.store.finish_measurement(result, curve)
        services.observer.measured(trial, result)
    return result


def _next_step(services: Services, state: TrialState, trial: Trial, measurement: Measurement) -> Update:
    """What follows from a measurement that is done."""
    if measurement.state is MeasurementState.FAILED:
        return _after_failure(services, state, measurement)
    if measurement.state is MeasurementState.STOPPED:
        return {"route": Route.DECIDED}
    if trial.kind is TrialKind.BASELINE:
        return _next_baseline_seed(services, trial)
    return _decide(services, trial)


def _judged(
    services: Services, trial: Trial, measurement: Measurement, model: TrainedModel
) -> tuple[Measurement, Curve | None]:
    """The measurement with its score and its curve, to be stored; or as it failed, which is stored, and no curve."""
    hand = services.hands[trial.trial_id]
    try:
        with hand.energy.part(EnergyPart.SCORE), model:
            services.observer.scoring(trial)
            scored = _scored(services, measurement, model)
            hand.waited(Node.EVALUATE, "score", scored.score_s or 0.0)
            result = _probed(services, trial, scored, model)
    except TrialError as error:
        return fail(services, trial, measurement, error, model.outcome.train_s), None
    except HaltError as error:
        halt(services, trial, measurement, error)
    if result.state is MeasurementState.FAILED:
        return result, None
    outcome = model.outcome
    curve = Curve(
        measurement_id=measurement.measurement_id,
        trial_id=measurement.trial_id,
        step=[point.step for point in outcome.curve],
        tokens=[point.tokens for point in outcome.curve],
        elapsed_s=[point.elapsed_s for point in outcome.curve],
        loss=[point.loss for point in outcome.curve],
    )
    return result, curve


def _scored(services: Services, measurement: Measurement, model: TrainedModel) -> Measurement:
    score, outcome = services.trainer.score(model), model.outcome
    final = measurement.purpose is Purpose.FINAL
    return measurement.model_copy(
        update={
            "state": MeasurementState.MEASURED,
            "val_bpb": score.val_bpb,
            "test_bpb": services.trainer.score_test(model) if final else None,
            "total_nats": score.total_nats,
            "total_bytes": score.total_bytes,
            "scored_tokens": score.scored_tokens,
            "startup_s": outcome.startup_s,
            "train_s": outcome.train_s,
            "score_s": score.score_s,
            "answer_s": score.answer_s,
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


def _probed(services: Services, trial: Trial, scored: Measurement, model: TrainedModel) -> Measurement:
    """The measurement with what the probes found; one that failed them has no score, only the number it claimed."""
    started = time.monotonic()
    try:
        report = services.trainer.probe(model, _cuts(services, trial, scored), tolerance_nats(services, scored))
    except ProbeError as error:
        found = {**error.report.to_json(), "claimed_bpb": scored.val_bpb}
        unbelieved = scored.model_copy(update={"val_bpb": None, "test_bpb": None, "total_nats": None, "probes": found})
        return fail(services, trial, unbelieved, error, model.outcome.train_s)
    finally:
        services.hands[trial.trial_id].waited(Node.EVALUATE, "probe", time.monotonic() - started)
    return scored.model_copy(update={"probes": report.to_json(), "finished_at": utc_now()})


def _cuts(services: Services, trial: Trial, scored: Measurement) -> int:
    """At how many cuts to look: at all before a keep.

    All, too, when only a measurement of the incumbent is missing: the candidate may be kept after it.
    """
    stored = measured(services, scored.trial_id)
    search = scored.trial_id == trial.trial_id and trial.phase is not Phase.DECIDED
    if not search or trial.kind is TrialKind.BASELINE or probed_deeply(stored):
        return QUICK_CUTS
    decision = services.rule.decide(evidence_for(services, trial, scored))
    may_be_kept = decision.action == "keep" or (decision.target == "incumbent" and len(stored) > 0)
    sent_back = (trial.decision or {}).get("unprobed", False)
    return DEEP_CUTS if may_be_kept or sent_back else QUICK_CUTS


def _after_failure(services: Services, state: TrialState, measurement: Measurement) -> Update:
    """A crash of the candidate may be repaired; an incumbent that fails now says nothing about the candidate."""
    own = measurement.trial_id == state["trial_id"]
    repairs = state["repairs"]
    # A program with a score is not repaired: measurements of two programs must not end in one mean.
    scored = ever_scored(services, services.trial(measurement.trial_id))
    repairable = own and not scored and measurement.status in REPAIRABLE and services.proposer.repairs_crashes
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
    done = len(measured(services, trial.trial_id))
    if done < services.task.baseline.seeds:
        return {"route": Route.MEASURE, "target_trial_id": trial.trial_id, "seed_index": done}
    return {"route": Route.DECIDED}


def _decide(services: Services, trial: Trial) -> Update:
    evidence = evidence_for(services, trial)
    decision = services.rule.decide(evidence)
    if decision.action == "keep" and not probed_deeply(measured(services, trial.trial_id)):
        decision = _sent_back(decision, evidence)
    failed = (trial.decision or {}).get(INCUMBENT_FAILED)  # survives going through the trial again
    services.store.update_trial(
        trial.trial_id,
        phase=Phase.MEASURED,
        gain=decision.gain,
        gain_low=decision.gain_low,
        gain_high=decision.gain_high,
        p_improve=decision.p_improve,
        decision=decision_row(decision) | ({} if failed is None else {INCUMBENT_FAILED: failed}),
    )
    if decision.action != "measure":
        return {"route": Route.DECIDED}
    target = trial.trial_id if decision.target == "candidate" else trial.parent_trial_id
    if target is None or decision.seed_index is None:
        raise ValueError(f"rule {services.rule.name} asked for a measurement of nothing")
    return {"route": Route.MEASURE, "target_trial_id": target, "seed_index": decision.seed_index}


def _sent_back(decision: Decision, evidence: Evidence) -> Decision:
    """The decision to measure a candidate once more and probe it deeply, in place of the one to keep it."""
    return replace(
        decision,
        action="measure",
        target="candidate",
        seed_index=new_seed(evidence) if evidence.wall_clock else next_seed(evidence),
        reason=f"{decision.reason}; measuring again, to probe it more deeply before it is kept",
        evidence={**decision.evidence, "unprobed": True},
    )


def decision_row(decision: Decision) -> dict[str, object]:
    """The decision as it is stored: the action, its reason and all the evidence the rule stated."""
    return {"action": decision.action, "reason": decision.reason, **decision.evidence}


def evidence_for(services: Services, trial: Trial, coming: Measurement | None = None) -> Evidence:
    """All that is known of candidate, incumbent and baseline on this machine, and of the noise between equal programs.

    Args:
        services: with the store.
        trial: the candidate's.
        coming: a measurement of the candidate that is not stored yet, to see what it would decide.
    """
    store, campaign = services.store, services.campaign
    noise, candidate = store.store_noise(campaign.campaign_id), measured(services, trial.trial_id)
    if coming is not None:
        noise = _with_one_more(noise, [m.val_bpb for m in candidate], coming.val_bpb)
        candidate.append(coming)
    baseline = store.trial_by_seq(campaign.campaign_id, 0)
    if baseline is None:
        raise ValueError(f"campaign {campaign.campaign_id} has no baseline to compare with")
    parent = trial.parent_trial_id or baseline.trial_id
    return Evidence(
        candidate=pairs(candidate),
        incumbent=pairs(measured(services, parent)),
        baseline=pairs(measured(services, baseline.trial_id)),
        noise_sd=noise.sd,
        noise_df=noise.df,
        noise_campaigns=noise.campaigns,
        direction=services.task.metric.direction,
        **clock_evidence(services, trial),
    )


def _with_one_more(noise: Noise, values: Sequence[float | None], value: float | None) -> Noise:
    """The pooled noise with one more replicate of a program that has these: the sum of squares grows by its distance.

    As in Welford's method (https://doi.org/10.1080/00401706.1962.10490022): n / (n + 1) times its square.
    """
    known = [other for other in values if other is not None]
    if not known or value is None:
        return noise
    distance, n = value - math.fsum(known) / len(known), len(known)
    squares = (noise.sd or 0.0) ** 2 * noise.df + n / (n + 1) * distance**2
    return replace(noise, sd=math.sqrt(squares / (noise.df + 1)), df=noise.df + 1)


def pairs(measurements: Sequence[Measurement]) -> tuple[tuple[int, float], ...]:
    """(seed index, metric) of each measurement."""
    return tuple((m.seed_index, m.val_bpb) for m in measurements if m.val_bpb is not None)
