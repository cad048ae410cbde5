"""evaluate: score the trained model from outside, probe it, then decide: keep, discard, one more seed, or repair.

How deeply it is probed follows from what its score would decide, and nothing is kept that was not probed deeply.
"""

from dataclasses import replace

from graph.measuring.attempts import ever_scored
from graph.measuring.judging import judge
from graph.measuring.scoring import probed_deeply, score_and_probe
from graph.services import Services
from graph.state import Route, TrialState, Update
from memory.keep.evidence import new_seed, next_seed
from memory.keep.rules import Decision, Evidence
from memory.records import (
    INCUMBENT_FAILED,
    Measurement,
    MeasurementState,
    Phase,
    Trial,
    TrialKind,
)
from rails.status import Status

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
    result, curve = score_and_probe(
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


def _next_step(services: Services, state: TrialState, trial: Trial, measurement: Measurement) -> Update:
    """What follows from a measurement that is done."""
    if measurement.state is MeasurementState.FAILED:
        return _after_failure(services, state, measurement)
    if measurement.state is MeasurementState.STOPPED:
        return {"route": Route.DECIDED}
    if trial.kind is TrialKind.BASELINE:
        return _next_baseline_seed(services, trial)
    return _decide(services, trial)


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
            "stand_in": False,
            "measurement_id": measurement.measurement_id,
        }
    return {"route": Route.DECIDED}


def _next_baseline_seed(services: Services, trial: Trial) -> Update:
    done = len(services.measured(trial.trial_id))
    if done < services.baseline_seeds:
        return {"route": Route.MEASURE, "target_trial_id": trial.trial_id, "seed_index": done}
    return {"route": Route.DECIDED}


def _decide(services: Services, trial: Trial) -> Update:
    judgement = judge(services, trial)
    decision = judgement.decision
    probes = services.trainer.probes
    if decision.action == "keep" and probes and not probed_deeply(services.measured(trial.trial_id)):
        decision = _sent_back(decision, judgement.evidence)
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
    target = trial.trial_id if decision.target == "candidate" else judgement.incumbent_trial_id
    if target is None or decision.seed_index is None:
        raise ValueError(f"rule {services.rule.name} asked for a measurement of nothing")
    return {"route": Route.MEASURE, "target_trial_id": target, "seed_index": decision.seed_index}


def _sent_back(decision: Decision, evidence: Evidence) -> Decision:
    """The decision to measure a candidate once more and probe it deeply, in place of the one to keep it."""
    return replace(
        decision,
        action="measure",
        target="candidate",
        seed_index=new_seed(evidence) if evidence.on_clock else next_seed(evidence),
        reason=f"{decision.reason}; measuring again, to probe it more deeply before it is kept",
        evidence={**decision.evidence, "unprobed": True},
    )


def decision_row(decision: Decision) -> dict[str, object]:
    """The decision as it is stored: the action, its reason and all the evidence the rule stated."""
    return {"action": decision.action, "reason": decision.reason, **decision.evidence}
