"""Scores and probes a trained model from outside, and says how that ended."""

import time
from collections.abc import Iterable
from typing import Any

from graph.limits.meters import EnergyPart
from graph.measuring.attempts import fail, halt
from graph.measuring.judging import judge
from graph.services import Services
from graph.state import Node
from memory.records import (
    Curve,
    Measurement,
    MeasurementState,
    Phase,
    Purpose,
    Trial,
    TrialKind,
    utc_now,
)
from rails.errors import HaltError, TrialError
from tools.backend import Trained
from trainer.scoring.blind import Costs
from trainer.scoring.probes import QUICK_CUTS, Depth
from trainer.scoring.report import ProbeError, calibrated_tolerance
from trainer.scoring.witness import DEEP_CUTS


def score_trained(services: Services, trial: Trial, measurement: Measurement, model: Trained) -> Measurement:
    """Score and probe a trained model from outside, store how that ended, and close the model's process.

    Raises:
        TrialError: interrupted, and to be made when the campaign goes on; see `fail`.
        HaltError: the machine cannot start a process, or (`DiskFullError`) has no room.
    """
    result, curve = score_and_probe(services, trial, measurement, model)
    if curve is not None:
        services.store.finish_measurement(result, curve)
        services.observer.measured(trial, result)
    return result


def score_and_probe(
    services: Services, trial: Trial, measurement: Measurement, model: Trained
) -> tuple[Measurement, Curve | None]:
    """The measurement with its score and its curve, to be stored; or as it failed, which is stored, and no curve."""
    hand = services.hands[trial.trial_id]
    try:
        with hand.energy.part(EnergyPart.SCORE), model:
            services.observer.scoring(trial)
            scored = _scored(services, measurement, model)
            hand.waited(Node.EVALUATE, "score", scored.score_s or 0.0)
            result = _probed(services, trial, scored, model) if services.trainer.probes else scored
    except TrialError as error:
        return fail(services, trial, measurement, error, model.train_s), None
    except HaltError as error:
        halt(services, trial, measurement, error)
    if result.state is MeasurementState.FAILED:
        return result, None
    curve = Curve(
        measurement_id=measurement.measurement_id,
        trial_id=measurement.trial_id,
        step=[point.step for point in model.curve],
        tokens=[point.tokens for point in model.curve],
        elapsed_s=[point.elapsed_s for point in model.curve],
        loss=[point.loss for point in model.curve],
    )
    return result, curve


def _scored(services: Services, measurement: Measurement, model: Trained) -> Measurement:
    score, final = services.trainer.score(model), measurement.purpose is Purpose.FINAL
    return measurement.model_copy(
        update={
            "state": MeasurementState.MEASURED,
            "score": score.value,
            "test_score": services.trainer.score_test(model) if final else None,
            "train_s": model.train_s,
            **score.parts,
            "finished_at": utc_now(),
        }
    )


def _probed(services: Services, trial: Trial, scored: Measurement, model: Trained) -> Measurement:
    """The measurement with what the probes found; one that failed them has no score, only the number it claimed."""
    started = time.monotonic()
    try:
        reports = services.trainer.probe(model, _depths(services, trial, scored), tolerance_nats(services, scored))
    except ProbeError as error:
        found = {**error.report.to_json(), "claimed_bpb": scored.score}
        unbelieved = scored.model_copy(update={"score": None, "test_score": None, "total_nats": None, "probes": found})
        return fail(services, trial, unbelieved, error, model.train_s)
    finally:
        services.hands[trial.trial_id].waited(Node.EVALUATE, "probe", time.monotonic() - started)
    for text, witness in model.witnesses.items():
        services.costs.add(scored.trial_id, scored.measurement_id, text, witness.costs)
    val, *others = (report.to_json() for report in reports)
    found = {**val, **{str(other["text"]): other for other in others}}
    return scored.model_copy(update={"probes": found, "finished_at": utc_now()})


def _depths(services: Services, trial: Trial, scored: Measurement) -> dict[str, Depth]:
    """How closely to look at what was answered about each text."""
    target = services.trial(scored.trial_id)
    baseline = services.store.trial_by_seq(services.campaign_id, 0)
    above = {target.parent_trial_id, baseline.trial_id if baseline else None} - {target.trial_id}

    def references(text: str) -> tuple[Costs, ...]:
        found = (services.costs.mean(trial_id, text) for trial_id in above)
        return tuple(costs for costs in found if costs is not None)

    if scored.purpose is not Purpose.FINAL:
        deep = _is_deep(services, trial, scored)
        # Of the baseline all blind places are asked once: every candidate is compared with it, or with what beat it.
        known = services.costs.mean(target.trial_id, "val")
        first = target.kind is TrialKind.BASELINE and (scored.seed_index == 0 or known is None)
        cuts = DEEP_CUTS if deep else QUICK_CUTS
        return {"val": Depth(cuts=cuts, whole_blind=deep or first, references=references("val"))}
    # A result is probed as deeply as a keep, its measurements together: the search's scores have nothing to hide now,
    # but here a program meets the test text for the first time.
    ours = target.kind is not TrialKind.BASELINE
    cuts = max(QUICK_CUTS, -(-DEEP_CUTS // max(1, services.task.final.seeds))) if ours else QUICK_CUTS
    return {
        "val": Depth(cuts=cuts, references=references("val")),
        "test": Depth(cuts=cuts, whole_blind=True, references=references("test")),
    }


def _is_deep(services: Services, trial: Trial, scored: Measurement) -> bool:
    """Whether to look everywhere: before a keep, and when one waits for nothing else.

    Too, when only a measurement of the incumbent is missing: the candidate may be kept after it. On a clock the
    incumbent has been measured by then.
    """
    stored = services.measured(scored.trial_id)
    search = scored.trial_id == trial.trial_id and trial.phase is not Phase.DECIDED
    if not search or trial.kind is TrialKind.BASELINE or probed_deeply(stored):
        return False
    if (trial.decision or {}).get("unprobed", False):
        return True
    decision = judge(services, trial, scored).decision
    awaits_incumbent = decision.target == "incumbent" and len(stored) > 0 and not services.trainer.wall_clock
    return decision.action == "keep" or awaits_incumbent


def tolerance_nats(services: Services, measured: Measurement) -> float:
    """The effect of a probe that is tolerated in this campaign, as its baseline calibrated it on this machine.

    Until it is, the baseline itself is judged without its own help: with the most that is ever tolerated.
    """
    baseline, machine = services.store.trial_by_seq(services.campaign_id, 0), services.campaign.hardware_fingerprint
    if baseline is None:
        return calibrated_tolerance([])
    passed = _passed(m for m in services.store.measurements(baseline.trial_id) if m.machine == machine)
    if measured.trial_id == baseline.trial_id and len(passed) < services.baseline_seeds:
        return calibrated_tolerance([])
    return calibrated_tolerance(passed)


def probed_deeply(measurements: Iterable[Measurement]) -> bool:
    """Whether these measurements of one program passed `DEEP_CUTS` cuts in all, or as many as a short text has."""
    reports = _passed(measurements)
    needed = max((report["cuts_drawn"] for report in reports), default=DEEP_CUTS)
    return sum(report["cuts"] for report in reports) >= needed


def _passed(measurements: Iterable[Measurement]) -> list[dict[str, Any]]:
    return [m.probes for m in measurements if m.state is MeasurementState.MEASURED and m.probes is not None]
