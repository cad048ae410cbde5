"""The verdict of a study in sentences: which arm is better, by how much, and what would settle what is not."""

from collections.abc import Sequence

from pydantic import BaseModel

from memory.keep.evidence import Direction
from rails.task import MetricConfig
from studies.ablation.arms import asks_a_model
from studies.ablation.comparison import LEVEL, ArmFigures, Comparison, Difference, arm_figures, compare, is_better
from studies.ablation.study import Study

MEANINGS = {
    "best": "best",
    "area": "best so far, mean over trials",
    "keeps": "keeps",
    "false_keeps": "false keeps",
    "repeats": "repeated edits",
    "wasted_s": "wasted seconds",
    "tokens": "tokens",
    "usd": "dollars",
    "joules": "joules",
}
"""What each measure is called for people, the one that decides first."""

UNSETTLED_MOST = 100_000
"""More pairs than this are as good as none."""


class StudyResult(BaseModel):
    """What a study says: the keys of `--json`."""

    study: str
    """Its folder."""
    arms: list[ArmFigures]
    pairs: int
    """Pairs that all arms finished."""
    trials: int
    metric: str
    direction: Direction
    true_scores: bool
    """Whether scores are true ones, as a table knows them."""
    differences: dict[str, Difference]
    """Of the first arm from the second; with more arms, see `comparisons`."""
    pairs_to_settle: int | None
    verdict: str
    comparisons: list[Comparison]
    """The first arm with each of the others."""
    stopped: str | None
    """Why it ended before all campaigns were run."""


def sum_up(study: Study, stopped: str | None = None) -> StudyResult:
    """The result of what has been recorded so far."""
    arms = [arm_figures(study, number) for number in range(len(study.plan.arms))]
    comparisons = [compare(study, 0, other) for other in range(1, len(arms))]
    metric, good = study.task.metric, [o for o in study.outcomes.values() if o.failed is None]
    sentences = [_sentence(arms[0], arms[n], found, metric) for n, found in enumerate(comparisons, 1)]
    failed = sum(len(arm.failed) for arm in arms)
    if failed:
        sentences.append(
            "1 campaign failed and counts nowhere." if failed == 1 else f"{failed} campaigns failed and count nowhere."
        )
    return StudyResult(
        study=str(study.folder),
        arms=arms,
        pairs=min((found.pairs for found in comparisons), default=0),
        trials=study.plan.trials,
        metric=metric.name,
        direction=metric.direction,
        true_scores=bool(good) and all(outcome.true_scores for outcome in good),
        differences=comparisons[0].differences,
        pairs_to_settle=comparisons[0].pairs_to_settle,
        verdict=" ".join(sentences),
        comparisons=comparisons,
        stopped=stopped,
    )


def _sentence(first: ArmFigures, second: ArmFigures, found: Comparison, metric: MetricConfig) -> str:
    best = found.differences.get("best")
    if best is None:
        return f"Nothing is known of {first.name} against {second.name}: no pair was finished."
    pairs = f"{best.n} {'pair' if best.n == 1 else 'pairs'}"
    if best.p < LEVEL:
        ahead, behind = (first, second) if is_better(best.mean, metric.direction) else (second, first)
        size = f"its best is {_size(best, metric)} ({pairs}, p = {_p(best.p)})"
        return f"{_won(ahead, behind)}: {size}{_sooner(found, metric)}."
    if best.n > 1 and best.mean == best.low == best.high == 0:
        return (
            f"{first.name} and {second.name} ended at the same score in every pair ({pairs}){_sooner(found, metric)}."
        )
    model = next((arm for arm in (first, second) if asks_a_model(arm.proposer)), None)
    other = second if model is first else first
    doubt = f"No difference between {first.name} and {second.name} can be told"
    if model is not None and not asks_a_model(other.proposer):
        doubt = f"Nothing shows that {model.name} is better than {other.name}, which asks no model"
    return f"{doubt}: {_seen(best, metric)} ({pairs}, p = {_p(best.p)}); {_settled_by(found)}{_sooner(found, metric)}."


def _won(ahead: ArmFigures, behind: ArmFigures) -> str:
    """Who is better; plainly so when a model was no help."""
    if asks_a_model(behind.proposer) and not asks_a_model(ahead.proposer):
        search = "random search" if ahead.proposer == "random" else f"a search without a model ({ahead.proposer})"
        return f"The model loses to {search}: {ahead.name} is better than {behind.name}"
    return f"{ahead.name} is better than {behind.name}"


def _size(best: Difference, metric: MetricConfig) -> str:
    """How much the better one is better: `lower by 0.0120 [0.0100, 0.0150] bits per byte`."""
    unit = f" {metric.unit}" if metric.unit else ""
    way = "lower" if metric.direction == "minimize" else "higher"
    ends = sorted(abs(end) if best.mean * end > 0 else -abs(end) for end in (best.low, best.high) if end is not None)
    interval = f" [{', '.join(_number(end, metric) for end in ends)}]" if ends else ""
    return f"{way} by {_number(abs(best.mean), metric)}{interval}{unit}"


def _seen(best: Difference, metric: MetricConfig) -> str:
    """The difference as it is seen, first minus second."""
    unit = f" {metric.unit}" if metric.unit else ""
    interval = (
        "" if best.low is None or best.high is None else f" [{_signed(best.low, metric)}, {_signed(best.high, metric)}]"
    )
    return f"{_signed(best.mean, metric)}{interval}{unit}"


def _settled_by(found: Comparison) -> str:
    more = found.pairs_to_settle
    if more is None:
        return "no number of pairs can be named that would settle it"
    if more > UNSETTLED_MOST:
        return "if there is one, it is too small to matter"
    return f"about {more:,} more {'pair' if more == 1 else 'pairs'} would settle a difference of this size"


def _sooner(found: Comparison, metric: MetricConfig) -> str:
    """Who gets there sooner, where that is told after correction."""
    area = found.differences.get("area")
    if area is None or area.p_holm >= LEVEL:
        return ""
    name = found.first if is_better(area.mean, metric.direction) else found.second
    return f"; {name} is there sooner (mean best so far, p = {_p(area.p_holm)})"


def _number(value: float, metric: MetricConfig) -> str:
    return f"{value:.{metric.decimals}f}" if abs(value) >= 10.0**-metric.decimals or not value else f"{value:.1e}"


def _signed(value: float, metric: MetricConfig) -> str:
    return ("+" if value > 0 else "") + _number(value, metric)


def _p(p: float) -> str:
    return f"{p:.4f}" if p >= 0.0001 else "< 0.0001"


def failures_of(arms: Sequence[ArmFigures]) -> list[str]:
    """Every failure of a study, with its arm."""
    return [f"{arm.name}, {failure}" for arm in arms for failure in arm.failed]
