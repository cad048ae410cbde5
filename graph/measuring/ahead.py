"""Trains ahead: beside the measurement in hand the one of the same program that is most likely asked for next.

Only the same program: one that fills the caches or the memory's bandwidth is in its own way then, and never in that of
what it is compared with.
"""

from collections.abc import Sequence

from graph.measuring.evidence import evidence_for
from graph.services import Services
from memory.keep.evidence import likely_next
from memory.records import Trial, TrialKind


def seeds_ahead(services: Services, trial: Trial, target: Trial, seed_index: int) -> Sequence[int]:
    """With which seeds `target` will most likely be measured after this one in the same trial, the likeliest first.

    That the measurements in hand look promising is taken for granted: when they do not, nothing else is to be done.
    """
    if services.trainer.beside is None:
        return ()
    if trial.kind is TrialKind.BASELINE:
        return range(seed_index + 1, services.baseline_seeds)
    target_name = "candidate" if target.trial_id == trial.trial_id else "incumbent"
    most = services.rule_for(trial).most_measurements
    return likely_next(evidence_for(services, trial), target_name, seed_index, most)


def begin_ahead(services: Services, program: str, seed_indices: Sequence[int]) -> None:
    """Begin the trainings of a program with these of the campaign's seeds, as far as there is room.

    Raises:
        TrialError: interrupted.
        HaltError: the machine cannot start a process.
    """
    if (beside := services.trainer.beside) is not None:
        for seed_index in seed_indices[: beside.room]:
            beside.begin(program, services.trainer.training_seed(services.campaign.seed, seed_index))
