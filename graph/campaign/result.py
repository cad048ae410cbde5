"""Measures a campaign's result: incumbent and baseline once more, on fresh seeds, and once on the test text.

The search keeps what looked best on the validation text, so its own numbers flatter. What a campaign reports is
measured after it, on seeds that decided nothing: a pair of measurements a seed, in turns baseline or incumbent first,
so that a machine that changes meanwhile hits both alike. Only here is the held-back test text ever scored; how often
that has been done in this store is counted, for a text that is looked at again and again is no test any more.
"""

from dataclasses import replace
from itertools import groupby
from operator import itemgetter
from typing import Any

from graph.campaign.disqualified import found_out, undo_keep, undone_keeps
from graph.campaign.truth import true_gain
from graph.measuring.attempts import stored_measurement
from graph.measuring.remeasure import measure
from graph.services import Services
from memory.keep.comparable import evidence_of
from memory.keep.comparison import estimate
from memory.keep.evidence import Points
from memory.records import Measurement, MeasurementState, Purpose, Trial
from memory.statistics.noise import Noise
from rails.errors import TrialError, UserError
from rails.status import Status

FIRST_SEED = 1000
"""Index of the first fresh seed: beyond all that a search asks for."""

NODE = "finale"
"""Under which name its seconds are stored, beside those of the five nodes."""

BASELINE_CHEATS = "the baseline itself was disqualified: there is nothing to compare with, and nothing to return to"

INTERRUPTED = "interrupted by a signal"
"""The stop reason of a campaign that `run` goes on with."""


def unfinished_result(services: Services) -> str | None:
    """The reason for which the search ended, if it has and its result is still being measured; else None."""
    final = services.campaign.final
    return str(final["stop_reason"]) if final is not None and final["state"] == "running" else None


def measure_result(services: Services, stop_reason: str) -> str:
    """Measure the campaign's result and store it with the campaign; go on where an earlier call was cut off.

    Nothing is measured when nothing was kept, or when the truth is known. A measurement that fails is reported and left
    out. An incumbent that is disqualified is none any more: its keep is undone, and the keep before it is measured,
    down to the baseline.

    Args:
        services: of the campaign, whose search is over.
        stop_reason: why it is.

    Returns:
        `stop_reason`, or that a signal came in between: then the campaign is gone on with from here.

    Raises:
        HaltError: the record cannot be written, or a person moved the branch.
    """
    baseline = services.store.trial_by_seq(services.campaign_id, 0)
    if baseline is None or not services.task.final.seeds or not _anything_to_tell(services):
        return stop_reason
    if services.trainer.deterministic:
        _store(services, {**_true_result(services, baseline), "stop_reason": stop_reason})
        return stop_reason
    trouble: str | None = None
    try:
        while (cheat := _measure_all(services, stop_reason)) is not None:
            target, measured = cheat
            if target.trial_id == baseline.trial_id:
                trouble = BASELINE_CHEATS
                break
            undo_keep(services, target, measured)
    except TrialError as error:
        if error.status is not Status.INTERRUPTED:
            raise
        return INTERRUPTED
    except UserError as error:
        trouble = error.what
    finally:
        services.drop_ahead()
    result = _result(services, trouble)
    _store(services, {**result, "stop_reason": stop_reason})
    for failure in result["failures"]:
        services.observer.note(f"measuring the result: {failure}")
    return stop_reason


def planned_measurements(services: Services) -> list[tuple[Trial, int]]:
    """Whom to measure with which seed, in this order; nothing when the incumbent is the baseline.

    In turn, as many seeds at a time as are trained side by side. The baseline is the first of all: what the incumbent
    may cost on the test text is held against it.
    """
    baseline, incumbent = services.store.trial_by_seq(services.campaign_id, 0), _kept_incumbent(services)
    if baseline is None or incumbent is None:
        return []
    plan: list[tuple[Trial, int]] = []
    seeds, beside = range(FIRST_SEED, FIRST_SEED + services.task.final.seeds), services.trainer.beside
    at_once = 1 if beside is None else 1 + beside.room
    for turn, first in enumerate(range(0, len(seeds), at_once)):
        pair = (baseline, incumbent) if turn % 2 == 0 else (incumbent, baseline)
        plan += [(target, seed) for target in pair for seed in seeds[first : first + at_once]]
    return plan


def is_measured(services: Services, target: Trial, seed_index: int) -> bool:
    """Whether this measurement of the result is stored, and is not to be made again."""
    stored = stored_measurement(services, target, seed_index)
    return stored is not None and _is_over(stored)


def _measure_all(services: Services, stop_reason: str) -> tuple[Trial, Measurement] | None:
    """Make what is planned and not stored yet, up to a measurement that disqualifies its program; that one, if any.

    Raises:
        TrialError: interrupted; the measurement in hand is made anew when the campaign goes on.
    """
    _store(services, {**_result(services, None), "state": "running", "stop_reason": stop_reason})
    services.publish()
    if (cheat := found_out(services)) is not None:
        return cheat
    plan = planned_measurements(services)
    for number, (target, seed_index) in enumerate(plan):
        if services.stop.requested:
            raise TrialError(Status.INTERRUPTED, "interrupted between two measurements of the result")
        if not is_measured(services, target, seed_index):
            services.observer.measuring_result(target, seed_index)
            _, next_ones = next(groupby(plan[number:], key=itemgetter(0)))
            measure(services, target, seed_index, Purpose.FINAL, NODE, [seed for _, seed in next_ones][1:])
        measured = stored_measurement(services, target, seed_index)
        if measured is not None and measured.status is Status.DISQUALIFIED:
            return target, measured
    return None


def _kept_incumbent(services: Services) -> Trial | None:
    """The incumbent, if it is not the baseline."""
    incumbent_id = services.campaign.incumbent_trial_id
    incumbent = None if incumbent_id is None else services.trial(incumbent_id)
    return incumbent if incumbent is not None and incumbent.seq else None


def _anything_to_tell(services: Services) -> bool:
    """Whether something is kept, or was until it was disqualified."""
    return _kept_incumbent(services) is not None or bool(undone_keeps(services.store, services.campaign_id))


def _is_over(measurement: Measurement) -> bool:
    if measurement.state is MeasurementState.FAILED:
        return measurement.status is not Status.INTERRUPTED
    return measurement.state is MeasurementState.MEASURED


def _true_result(services: Services, baseline: Trial) -> dict[str, Any]:
    """What is stored as `Campaign.final` where no seed is fresh: the incumbent by its true mean."""
    incumbent = _kept_incumbent(services)
    found = None if incumbent is None else true_gain(services, baseline, incumbent)
    if found is None:
        return _result(services, "there is no true mean of the two: one of them failed with a recorded seed")
    return {**_result(services, None), **found, "state": "done", "true": True}


def _result(services: Services, trouble: str | None) -> dict[str, Any]:
    """What is stored as `Campaign.final`, from the rows of the store.

    Compared are pairs on shared seeds, their spread moderated by that of all pairs in the store; on the test text it is
    taken to be the same, for it comes from training. Gains are relative to the baseline's mean here, not to that of the
    search.
    """
    baseline, incumbent = services.store.trial_by_seq(services.campaign_id, 0), _kept_incumbent(services)
    ours, theirs = ([] if trial is None else _finals(services, trial) for trial in (incumbent, baseline))
    seeds = [] if trouble == BASELINE_CHEATS else sorted(_scored(ours).keys() & _scored(theirs).keys())
    failures = [
        f"{name}, seed {m.seed_index}: {m.status}: {m.reason}"
        for name, found in (("baseline", theirs), ("incumbent", ours))
        for m in found
        if m.state is MeasurementState.FAILED
    ]
    noise = services.store.store_noise(services.campaign_id)
    compared = {
        text: _compared(services, noise, *(_points(side, seeds, text) for side in (ours, theirs)))
        for text in ("val", "test")
    }
    return {
        "state": "done" if seeds else "failed",
        "incumbent": None if incumbent is None else incumbent.seq,
        "n": len(seeds),
        "seeds": seeds,
        "sd": noise.sd,
        "df": noise.df,
        **compared,
        "failures": failures + ([trouble] if trouble else []),
        "disqualified": [
            {"trial": trial.seq, "reason": trial.reason} for trial in undone_keeps(services.store, services.campaign_id)
        ],
        "test_looks": services.store.test_looks(services.campaign.corpus_sha256),
    }


def _compared(services: Services, noise: Noise, candidate: Points, baseline: Points) -> dict[str, float | None] | None:
    """The incumbent against the baseline on one text; None without a common seed."""
    if not candidate or not baseline:
        return None
    evidence = evidence_of(services.campaign, noise, candidate, baseline)
    pairs = tuple(services.store.store_pairs(services.campaign_id))
    found = estimate(replace(evidence, pairs=pairs), keeps_apart=max(1, _keeps(services)))
    return {
        "baseline": found.incumbent_mean,
        "incumbent": found.candidate_mean,
        "gain": found.gain,
        "gain_low": found.gain_low,
        "gain_high": found.gain_high,
    }


def _keeps(services: Services) -> int:
    """How many keeps lie between the baseline and the incumbent."""
    count, trial = 0, _kept_incumbent(services)
    while trial is not None and trial.seq and trial.parent_trial_id is not None:
        count, trial = count + 1, services.trial(trial.parent_trial_id)
    return count


def _finals(services: Services, trial: Trial) -> list[Measurement]:
    """A result is of one machine: what another one measured before the campaign moved is left out."""
    machine = services.campaign.hardware_fingerprint
    stored = services.store.measurements(trial.trial_id)
    return [m for m in stored if m.purpose is Purpose.FINAL and m.machine == machine]


def _scored(measurements: list[Measurement]) -> dict[int, Measurement]:
    return {m.seed_index: m for m in measurements if m.state is MeasurementState.MEASURED}


def _points(measurements: list[Measurement], seeds: list[int], text: str) -> Points:
    by_seed = _scored(measurements)
    scores = [(seed, by_seed[seed].test_score if text == "test" else by_seed[seed].score) for seed in seeds]
    return tuple((seed, score) for seed, score in scores if score is not None)


def _store(services: Services, final: dict[str, Any]) -> None:
    services.store.update_campaign(services.campaign_id, final=final)
