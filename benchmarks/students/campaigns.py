"""Campaigns of real proposers on synthetic tasks: the loop's rows and a keep rule, without programs and processes."""

import json
import math
import random
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from agents.base import KnobValue, ProposalContext, Proposer
from benchmarks.students.surfaces import NOISE_SD, Surface
from memory.record_set import RecordSet
from memory.records import Phase, Trial, TrialKind
from rails.status import Status
from studies.distil.build import Recorded, build_corpus
from studies.distil.contexts import task_of
from studies.distil.corpus import Corpus
from tests.support.rows import make_campaign

TRIALS = 60
START = datetime(2026, 1, 1, tzinfo=UTC)

MOST_MEASUREMENTS = 4
Z_KEEP = 2.0
"""A change is kept when its mean gain is above so many standard errors, and measured again while it may be."""


@dataclass(frozen=True, slots=True)
class Campaign:
    """What a proposer reached on a surface."""

    surface: Surface
    trials: list[Trial]
    scores: list[float]
    """The incumbent's true score after each trial."""

    @property
    def regret(self) -> float:
        """Of what was kept at the end."""
        return self.surface.regret(self.scores[-1])

    @property
    def mean_regret(self) -> float:
        """Over all trials: who is quicker has less."""
        return math.fsum(map(self.surface.regret, self.scores)) / len(self.scores)


def run_campaign(proposer: Proposer, surface: Surface, seed: int, trials: int = TRIALS) -> Campaign:
    """A whole campaign. Two proposers with one seed meet the same noise, trial by trial.

    Args:
        proposer: asked with the rows that the loop would show it.
        surface: the task.
        seed: of the campaign.
        trials: how many proposals.
    """
    task = task_of(surface.menu, limit=trials, name="synthetic")
    knobs: dict[str, KnobValue] = dict(surface.menu.defaults())
    score, head = surface.start, "0"
    rows = [_row(0, TrialKind.BASELINE, Status.BASELINE, metric=1.0)]
    scores: list[float] = []
    for seq in range(1, trials + 1):
        context = ProposalContext(
            task=task,
            program_md="",
            source="",
            knobs=knobs,
            menu=surface.menu,
            lineage=None,
            trials=tuple(rows),
            trial_seq=seq,
            attempt=0,
            seed=seed,
            incumbent_metric=1.0,
        )
        reply = json.loads(proposer.propose(context).raw)
        name, value = reply["knob"], reply["new_value"]
        candidate = {**knobs, name: value}
        reached = surface.score(candidate)
        edit = {"edit": {"kind": "knob", "knob": name, "value": value}, "parent_trial_id": head}
        if reached is None:
            rows.append(_row(seq, TrialKind.SEARCH, Status.CRASH, **edit))
        else:
            gain, n, keep = judge(reached - score, random.Random(f"{surface.family}:{surface.seed}:{seed}:{seq}"))
            status = Status.KEEP if keep else Status.DISCARD
            fields = {"metric": 1.0, "gain": gain, "n_measurements": n, "gain_low": gain - Z_KEEP * _error(n)}
            rows.append(_row(seq, TrialKind.SEARCH, status, **edit, **fields))
            if keep:
                knobs, score, head = candidate, reached, str(seq)
        scores.append(score)
    return Campaign(surface, rows, scores)


def judge(true_gain: float, rng: random.Random) -> tuple[float, int, bool]:
    """Mean measured gain, how often it was measured, and whether it is kept."""
    total, n = 0.0, 0
    while True:
        total, n = total + true_gain + rng.gauss(0, NOISE_SD * math.sqrt(2)), n + 1
        mean = total / n
        if n >= 2 and mean > Z_KEEP * _error(n):
            return mean, n, True
        if mean <= 0 or n == MOST_MEASUREMENTS:
            return mean, n, False


def _error(n: int) -> float:
    return NOISE_SD * math.sqrt(2 / n)


def _row(seq: int, kind: TrialKind, status: Status, **fields: object) -> Trial:
    row = {
        "trial_id": str(seq),
        "campaign_id": "synthetic",
        "seq": seq,
        "kind": kind,
        "phase": Phase.DECIDED,
        "status": status,
        "reason": "synthetic",
        "created_at": START + timedelta(minutes=seq),
    }
    return Trial.model_validate({**row, **fields})


def corpus_of(campaigns: Sequence[Campaign], holdout: int = 0) -> Corpus:
    """The corpus of campaigns, by the code that makes one of a record."""
    recorded: list[Recorded] = []
    for number, campaign in enumerate(campaigns):
        name = f"{campaign.surface.family} {campaign.surface.seed}"
        row = make_campaign(f"synthetic-{number}")
        records = RecordSet(
            campaign=row.model_copy(update={"task": {"limits": {"trials": len(campaign.scores)}}}),
            trials=campaign.trials,
        )
        recorded.append(Recorded(source=name, records=records, menu=campaign.surface.menu))
    return build_corpus(recorded, holdout=holdout)
