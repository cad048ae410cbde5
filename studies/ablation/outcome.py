"""What one campaign of a study came to: its measures, and the best so far from trial to trial."""

import math
from collections import Counter
from collections.abc import Callable, Sequence

from pydantic import BaseModel, ConfigDict

from graph.services import Services
from memory.keep.comparable import direction_of
from memory.keep.evidence import Direction, better
from memory.records import Call, Phase, Trial, TrialKind
from rails.status import FINISHED, Status

MEASURES = ("best", "area", "keeps", "false_keeps", "repeats", "wasted_s", "tokens", "usd", "joules")
"""What arms are compared by, the one that decides first."""


class Outcome(BaseModel):
    """What is kept of a campaign. A measure that is not known is null."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    pair: int
    arm: int
    seed: int
    failed: str | None = None
    """Why it could not be run to its end; its measures are then empty."""
    measures: dict[str, float | None] = {}
    curve: tuple[float, ...] = ()
    """The best so far, after the baseline and after each trial."""
    baseline: float | None = None
    true_scores: bool = False
    """Whether scores are true ones, as a table knows them, and not measured."""
    statuses: dict[str, int] = {}
    stop_reason: str | None = None
    seconds_s: float = 0.0
    """Of running, by the task's own clock."""
    took_s: float = 0.0
    """By the clock on the wall."""


def outcome_of(services: Services, pair: int, arm: int, took_s: float) -> Outcome:
    """The outcome of a campaign that has just ended."""
    campaign = services.campaign
    trials = [t for t in services.store.trials(services.campaign_id) if t.phase is Phase.DECIDED]
    calls = [call for trial in trials for call in services.store.calls(trial.trial_id)]
    scores = _Scores(services, trials)
    curve = best_so_far(trials, scores.of)
    final = ((campaign.final or {}).get("val") or {}).get("incumbent")
    best = curve[-1] if scores.true or final is None else float(final)
    direction = direction_of(campaign)
    return Outcome(
        pair=pair,
        arm=arm,
        seed=campaign.seed,
        measures={
            "best": best,
            "area": math.fsum(curve[1:]) / (len(curve) - 1) if len(curve) > 1 else best,
            "keeps": float(sum(trial.status is Status.KEEP for trial in trials)),
            "false_keeps": float(false_keeps(trials, scores.of, direction)) if scores.true else None,
            **_costs(trials, calls),
            "joules": campaign.joules,
        },
        curve=tuple(curve),
        baseline=scores.of(trials[0]),
        true_scores=scores.true,
        statuses=dict(Counter(str(t.status) for t in trials if t.kind is TrialKind.SEARCH)),
        stop_reason=campaign.stop_reason,
        seconds_s=campaign.active_s,
        took_s=took_s,
    )


class _Scores:
    """The score of each trial's program: the true one where it is known of the starting point, else as measured."""

    def __init__(self, services: Services, trials: Sequence[Trial]) -> None:
        self._services = services
        self.true = services.trainer.true_score(services.source_of(trials[0])) is not None

    def of(self, trial: Trial) -> float:
        """Not a number where nothing is known."""
        true = self._services.trainer.true_score(self._services.source_of(trial)) if self.true else None
        return true if true is not None else math.nan if trial.metric is None else trial.metric


def best_so_far(trials: Sequence[Trial], score: Callable[[Trial], float]) -> list[float]:
    """The score of the incumbent after the baseline and after each trial."""
    curve = [score(trials[0])]
    for trial in trials[1:]:
        curve.append(score(trial) if trial.status is Status.KEEP else curve[-1])
    return curve


def false_keeps(trials: Sequence[Trial], score: Callable[[Trial], float], direction: Direction) -> int:
    """How many keeps are truly no better than what they were kept over."""
    by_id = {trial.trial_id: trial for trial in trials}
    kept = [trial for trial in trials if trial.status is Status.KEEP and trial.parent_trial_id in by_id]
    return sum(not better(score(trial), score(by_id[str(trial.parent_trial_id)]), direction) for trial in kept)


def _costs(trials: Sequence[Trial], calls: Sequence[Call]) -> dict[str, float | None]:
    """Edits that were proposed before, seconds of trials that did not finish, tokens and dollars."""
    edits = [trial.edit_key for trial in trials if trial.edit_key is not None]
    wasted = [trial.total_s for trial in trials if trial.kind is TrialKind.SEARCH and trial.status not in FINISHED]
    asked = [call for call in calls if call.model is not None]
    prices = [call.usd for call in asked]
    return {
        "repeats": float(len(edits) - len(set(edits))),
        "wasted_s": math.fsum(wasted),
        "tokens": float(sum((call.prompt_tokens or 0) + (call.completion_tokens or 0) for call in asked)),
        "usd": None if None in prices else math.fsum(price for price in prices if price is not None),
    }
