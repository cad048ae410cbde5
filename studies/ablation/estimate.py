"""What a study will take, before it begins: from what the workspace has recorded, else from its task."""

import math
from pathlib import Path

from pydantic import BaseModel

from agents.model.config import load_models
from agents.registry import HYBRID
from memory.reader import Reader
from rails.errors import NightshiftError
from rails.task import GptTask
from studies.ablation.arms import asks_a_model
from studies.ablation.study import Study, task_of_arm

TABLE_TRIAL_S = 0.08
"""CPU seconds that a trial of a recorded table took with `tpe`; with `random` 0.04.

A busy machine takes several times that.
"""


class Estimate(BaseModel):
    """What is still to be run, and what it will take; null: nobody knows before one campaign was run."""

    campaigns: int
    recorded: int
    """Campaigns that are recorded already."""
    trials: int
    hours: float | None
    """With all workers at work."""
    usd_most: float | None
    """Most that the calls of models can cost; 0 without models."""
    tokens_most: int
    how: str
    """What the time is known from."""


def estimate(study: Study, root: Path, workers: int) -> Estimate:
    """What the missing campaigns will take."""
    jobs = study.missing()
    trials = len(jobs) * study.plan.trials
    seconds, how = _trial_s(study, root)
    tokens, usd = 0, 0.0
    for job in jobs:
        most, price = _model_cost(study, job.arm, root)
        tokens += most * job.trials
        usd += math.nan if price is None else price * most * job.trials
    return Estimate(
        campaigns=len(jobs),
        recorded=len(study.plan.arms) * study.pairs - len(jobs),
        trials=trials,
        hours=None if seconds is None else trials * seconds / 3600 / workers,
        usd_most=None if math.isnan(usd) else usd,
        tokens_most=tokens,
        how=how,
    )


def _trial_s(study: Study, root: Path) -> tuple[float | None, str]:
    done = [o for o in study.outcomes.values() if o.failed is None and o.took_s and len(o.curve) > 1]
    if done:
        return math.fsum(o.took_s for o in done) / sum(len(o.curve) - 1 for o in done), "campaigns of this study"
    if study.quick:
        return TABLE_TRIAL_S, "recorded tables in general"
    recorded = _recorded_s(root) if isinstance(study.task, GptTask) else None
    if recorded is not None:
        return recorded, "the workspace's own trials"
    budget = study.task.budget if isinstance(study.task, GptTask) else None
    if budget is not None and budget.kind == "seconds" and not study.models:
        return 1.5 * budget.amount, "the budget of a training, half as much again for what is measured twice"
    return None, "nothing yet: it is told after the first campaign"


def _recorded_s(root: Path) -> float | None:
    """The mean of the seconds of the workspace's trials."""
    try:
        with Reader.open(root / ".nightshift" / "snapshot") as reader:
            campaign = reader.latest_campaign()
            took = [t.total_s for t in reader.trials(campaign.campaign_id) if t.total_s] if campaign else []
    except NightshiftError:
        return None
    return math.fsum(took) / len(took) if took else None


def _model_cost(study: Study, arm: int, root: Path) -> tuple[int, float | None]:
    """Most tokens of a trial of an arm, and what one of them costs at most; None: no price is stated."""
    planned = study.plan.arms[arm]
    name = planned.overrides.get("proposer", study.plan.proposer)
    if not asks_a_model(name):
        return 0, 0.0
    task = task_of_arm(study.task, planned)
    most = task.planner.tokens * (1 + task.rails.corrections)
    model = load_models(root).get(name.removeprefix(HYBRID))
    if model is None or not model.has_prices:
        return most, None
    prices = (model.usd_per_million_prompt or 0.0, model.usd_per_million_completion or 0.0)
    return most, max(prices) / 1e6
