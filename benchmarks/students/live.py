"""Students against their teacher, live: paired campaigns on synthetic tasks of families that none was trained on."""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from agents.base import ProposalContext, Proposer, Reply
from agents.local.card import StudentCard
from agents.local.proposer import StudentProposer
from agents.local.scorer import EmbeddedScorer
from agents.local.student import Student
from agents.statistical.proposers import RandomProposer, TpeProposer
from benchmarks.students.campaigns import TRIALS, Campaign, corpus_of, run_campaign
from benchmarks.students.surfaces import TEST, TRAINING, make_surface
from memory.records import utc_now
from studies.ablation.study import Wishes
from studies.distil.corpus import Corpus
from studies.distil.embedded import train_student
from studies.distil.measures import difference
from studies.distil.train import Objective, Recipe, train_embedded
from studies.distil.views import training_choices
from studies.live import live_race

TEACHING = 8
"""Campaigns of the teacher that a student is trained on."""


def measure(tables: int, seeds: int, objectives: Sequence[Objective] = ("advantage",)) -> dict[str, Any]:
    """Regret of teacher, random and students on as many tables, paired, students trained with several seeds."""
    teacher = TpeProposer()
    choices = training_choices(_lessons(teacher))
    proposers: dict[str, list[Proposer]] = {"tpe": [teacher], "random": [RandomProposer()]}
    training: dict[str, list[dict[str, Any]]] = {}
    for objective in objectives:
        made = [train_embedded(choices, Recipe(objective=objective, seed=seed)) for seed in range(seeds)]
        training[objective] = [one.metrics for one in made]
        proposers[f"student, {objective}"] = [_proposer(one.weights, objective) for one in made]
    surfaces = [make_surface(TEST[n % len(TEST)], n) for n in range(tables)]
    ran = {
        name: [[run_campaign(one, surface, surface.seed) for one in several] for surface in surfaces]
        for name, several in proposers.items()
    }
    regrets = {name: [_mean(one, "regret") for one in tasks] for name, tasks in ran.items()}
    areas = {name: [_mean(one, "mean_regret") for one in tasks] for name, tasks in ran.items()}
    return {
        "tables": tables,
        "trials": TRIALS,
        "teaching_campaigns": TEACHING,
        "choices": len(choices),
        "families": {"training": list(TRAINING), "test": list(TEST)},
        "training": training,
        "proposers": {
            name: {
                "regret": float(np.mean(regrets[name])),
                "less_tpe": difference(regrets[name], regrets["tpe"]),
                "mean_regret": float(np.mean(areas[name])),
                "mean_regret_less_tpe": difference(areas[name], areas["tpe"]),
                "by_seed": [float(np.mean([task[n].regret for task in tasks])) for n in range(len(tasks[0]))],
                "by_family": {
                    family: float(np.mean(regrets[name][place :: len(TEST)])) for place, family in enumerate(TEST)
                },
            }
            for name, tasks in ran.items()
        },
    }


def measure_on_table(table: str, pairs: int, trials: int, seeds: int, folder: Path) -> list[dict[str, Any]]:
    """Students of the same eight campaigns on a recorded table: for each seed what `nightshift race --live` finds."""
    corpus = _lessons(TpeProposer())
    found: list[dict[str, Any]] = []
    for seed in range(seeds):
        home = folder / f"student-{seed}"
        train_student(corpus, home, Recipe(seed=seed))
        race = folder / f"race-{seed}"
        race.mkdir()
        wishes = Wishes(arms=(), pairs=pairs, trials=trials)
        found.append(live_race(race, table, [str(home), "tpe"], wishes, lambda job, outcome: None))
    return found


def _lessons(teacher: Proposer) -> Corpus:
    surfaces = [make_surface(TRAINING[number % len(TRAINING)], number) for number in range(TEACHING)]
    return corpus_of([run_campaign(teacher, surface, number) for number, surface in enumerate(surfaces)])


def proposal_ms(proposer: Proposer, trials: int = TRIALS) -> float:
    """Median processor time of a proposal over a campaign, in milliseconds."""
    timed = _Timed(proposer)
    run_campaign(timed, make_surface(TEST[0], 0), 0, trials)
    return 1000 * float(np.median(timed.took_s))


class _Timed:
    """A proposer that notes what each answer cost."""

    repairs_crashes = False

    def __init__(self, proposer: Proposer) -> None:
        self.name, self._proposer = proposer.name, proposer
        self.took_s: list[float] = []

    def check_ready(self) -> None:
        self._proposer.check_ready()

    def propose(self, context: ProposalContext) -> Reply:
        started = time.thread_time()
        reply = self._proposer.propose(context)
        self.took_s.append(time.thread_time() - started)
        return reply


def student_of(seed: int = 0) -> StudentProposer:
    """A student of one short campaign, to be timed."""
    lesson = run_campaign(RandomProposer(), make_surface(TRAINING[0], 0), 0, 20)
    made = train_embedded(training_choices(corpus_of([lesson])), Recipe(seed=seed, epochs=1))
    return _proposer(made.weights, "advantage")


def _proposer(weights: dict[str, Any], objective: str) -> StudentProposer:
    card = StudentCard(base="embedded", objective=objective, seed=0, corpus_sha256="", created_at=utc_now())
    return StudentProposer(f"student:{objective}", Student(Path(), card, EmbeddedScorer(weights)))


def _mean(campaigns: Sequence[Campaign], name: str) -> float:
    return float(np.mean([getattr(campaign, name) for campaign in campaigns]))
