"""A live race: proposers drive whole campaigns on a recorded table, paired by seed, and are held against each other."""

import shutil
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from agents.local.card import CARD
from agents.registry import STUDENT
from graph.campaign.create import create_workspace
from memory.statistics.paired_tests import bootstrap_mean
from rails.errors import UserError
from studies.ablation.arms import Arm
from studies.ablation.comparison import finished_pairs
from studies.ablation.outcome import Outcome
from studies.ablation.plan import Job
from studies.ablation.study import Study, Wishes, ready_study, run_study
from trainer.tabular.table import open_table

ALWAYS = ("tpe", "random")
"""In every live race: the searches that ask nobody."""
BEST = "best"


def live_race(
    home: Path,
    table: str,
    names: Sequence[str],
    wishes: Wishes,
    told: Callable[[Job, Outcome], None],
) -> dict[str, Any]:
    """Run the campaigns that are missing, and say what each proposer left to be won.

    Args:
        home: the folder of the race: a workspace is made there, and a race that was stopped is gone on with.
        table: a recorded table.
        names: proposers; the first is held against each of the others.
        wishes: pairs, trials and workers; the arms follow from the names.
        told: called after each campaign with what it came to.

    Returns:
        Regrets by name and the first one's less each other's, with 95 % intervals, campaigns drawn anew. Regret: how
        far the true score of the last incumbent is from the table's best, as a share of the way from its default.

    Raises:
        UserError: no such table or proposer, a name that no arm can have, or campaigns that failed.
    """
    facts = open_table(table)
    everybody = [*names, *(name for name in ALWAYS if name not in names)]
    workspace = home / f"live-{table}"
    if not workspace.exists():
        create_workspace(workspace, f"tabular:{table}")
        if (models := Path("models.toml")).is_file():
            shutil.copy(models, workspace / "models.toml")
    arms = tuple(Arm(name, {"proposer": _absolute(name)}) for name in everybody)
    study = ready_study(workspace, replace(wishes, arms=arms, name="race"))
    if study.missing():
        run_study(study, wishes, told)
    best, start = facts.true_mean(facts.best()), facts.true_mean(facts.menu.defaults())
    assert best is not None and start is not None
    regrets = [_regrets(study, arm, best, start) for arm in range(len(everybody))]
    less = {name: _differences(study, other, best, start) for other, name in enumerate(everybody) if other}
    return {
        "table": table,
        "pairs": wishes.pairs,
        "trials": wishes.trials,
        "first": everybody[0],
        "regret": dict(zip(everybody, map(_mean, regrets), strict=True)),
        "less": {name: _mean(values) for name, values in less.items()},
        "regret_difference": _mean(less[everybody[1]]),
    }


def _absolute(name: str) -> str:
    """The proposer's name for campaigns that lie elsewhere: a student's folder is named by its whole path."""
    folder = Path(name.removeprefix(STUDENT)).expanduser()
    is_folder = folder.is_dir() and (name.startswith(STUDENT) or (folder / CARD).is_file())
    return f"{STUDENT}{folder.resolve()}/" if is_folder else name


def _regrets(study: Study, arm: int, best: float, start: float) -> list[float]:
    good = [o for o in study.outcomes.values() if o.arm == arm and o.pair < study.pairs and o.failed is None]
    return [_regret(outcome, best, start) for outcome in good]


def _differences(study: Study, other: int, best: float, start: float) -> list[float]:
    pairs = finished_pairs(study, 0, other).values()
    if not pairs:
        failed = next((o.failed for o in study.outcomes.values() if o.failed is not None), "it was stopped")
        raise UserError(f"no pair of campaigns of the live race was finished: {failed}", where=str(study.folder))
    return [_regret(ours, best, start) - _regret(theirs, best, start) for ours, theirs in pairs]


def _regret(outcome: Outcome, best: float, start: float) -> float:
    found = outcome.measures[BEST]
    assert found is not None, "a table knows the true score of all that it has"
    return (found - best) / (start - best)


def _mean(values: Sequence[float]) -> dict[str, Any]:
    low, high = bootstrap_mean(values) or (None, None)
    return {"mean": sum(values) / len(values) if values else None, "low": low, "high": high, "n": len(values)}
