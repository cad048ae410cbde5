"""What travels along the edges of the graph: ids, counters and the next route. Records live in the store."""

from enum import StrEnum
from typing import TypedDict

from memory.records import Trial, TrialKind


class Node(StrEnum):
    """The five roles."""

    PROPOSE = "propose"
    CHECK_RAILS = "check_rails"
    TRAIN = "train"
    EVALUATE = "evaluate"
    CURATE = "curate"


class Route(StrEnum):
    """What a node found, and so where the trial goes next. `graph/routes.py` maps routes to nodes."""

    PROPOSED = "proposed"
    """A raw reply is stored."""
    CORRECT = "correct"
    """A rail blocked the proposal and its reason goes back to the proposer."""
    BLOCKED = "blocked"
    """A rail blocked the proposal for good."""
    PASSED = "passed"
    """The candidate may be trained."""
    TRAINED = "trained"
    """The training run is over, well or badly."""
    HOPELESS = "hopeless"
    """The training was cut short: there is nothing to score, and the trial is discarded."""
    MEASURE = "measure"
    """Undecided: one more measurement, of the candidate or of the incumbent."""
    REPAIR = "repair"
    """The candidate crashed and its traceback goes back to the proposer."""
    DECIDED = "decided"
    """Keep, discard, or a failure with a status."""
    RECORDED = "recorded"
    """The trial's final row is written."""


class TrialState(TypedDict):
    """One trial on its way through the graph. Small on purpose: it is copied at every step."""

    trial_id: str
    kind: TrialKind
    attempt: int
    """Proposals asked for so far, counting from 0: corrections and repairs both add one."""
    corrections: int
    """Corrections since the last repair."""
    repairs: int
    stand_in: bool
    """Whether the stand-in proposes: every correction of the campaign's own proposer was refused."""
    target_trial_id: str
    """Whose program is measured next: the candidate's or the incumbent's."""
    seed_index: int
    measurement_id: str
    """The measurement made last; empty before the first."""
    route: Route


class Update(TypedDict, total=False):
    """What a node may change, and the route it must name."""

    attempt: int
    corrections: int
    repairs: int
    stand_in: bool
    target_trial_id: str
    seed_index: int
    measurement_id: str
    route: Route


def initial_state(trial: Trial) -> TrialState:
    """The state in which a trial enters the graph, for the first time or again after a crash."""
    return {
        "trial_id": trial.trial_id,
        "kind": trial.kind,
        "attempt": 0,
        "corrections": 0,
        "repairs": 0,
        "stand_in": False,
        "target_trial_id": trial.trial_id,
        "seed_index": 0,
        "measurement_id": "",
        "route": Route.RECORDED,
    }
