"""Two arms side by side: does one search better than the other, or waste less?

An arm is one campaign or several. With one on each side trials are compared, as if they were independent: Fisher's
exact test. With more, the campaign is the unit, for trials of one campaign build on each other: campaigns are exchanged
between the arms, and intervals come from drawing campaigns anew. The baseline is no trial. Trials that were interrupted
or aborted by the harness count, with their seconds, as wasted.
"""

import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from pydantic import BaseModel

from memory.figures.analysis import TrialRow
from memory.keep.evidence import Direction, better
from memory.records import KEPT_AS_SIMPLER
from memory.statistics.exact_tests import bootstrap_interval, fisher_exact, holm, permutation_test
from rails.status import FINISHED, Status

ONE_EACH = (
    "one campaign an arm: p-values take trials as independent, which they are not, and nothing here tells how much "
    "campaigns vary"
)
ONE_ARM = "an arm has one campaign only: there is no interval, and a permutation of so few campaigns can prove little"


@dataclass(frozen=True, slots=True, kw_only=True)
class CampaignRows:
    """One campaign of an arm."""

    name: str
    rows: Sequence[TrialRow]
    direction: Direction = "minimize"
    metric: str = "val_bpb"


class Arm(BaseModel):
    """The figures of one arm, over all its campaigns."""

    campaigns: list[str]
    trials: int
    statuses: dict[str, int]
    keep_rate: float | None
    best: float | None
    gain: float | None
    """Of the best over its campaign's baseline, relative to it; of several campaigns the mean."""
    baseline: float | None
    """The mean over campaigns."""
    seconds_s: float | None
    wasted_s: float | None
    """Seconds of trials that were neither kept nor discarded."""
    seconds_by_status: dict[str, float]
    keeps_over_margin: int | None
    """Keeps that better the last one that counted by more than the margin; None without one."""


class Test(BaseModel):
    """A two-sided test of one figure."""

    __test__ = False

    p: float
    p_holm: float | None = None
    """Corrected for the number of failure classes that are tested."""
    method: str
    difference: float | None = None
    """Of the campaigns' means, first arm minus second; None where trials are the unit."""
    low: float | None = None
    """95 % interval of the difference."""
    high: float | None = None


class Comparison(BaseModel):
    """Two arms, their ratios (first over second; None where the second has none), and tests."""

    arms: list[Arm]
    margin: float | None
    ratios: dict[str, float | None]
    tests: dict[str, Test]
    warnings: list[str]


def compare_arms(
    first: Sequence[CampaignRows], second: Sequence[CampaignRows], margin: float | None = None
) -> Comparison:
    """Compare two arms.

    Args:
        first: the campaigns of the first arm, at least one.
        second: of the second.
        margin: by more than this, in units of the metric, a keep must better the last one that counted.
    """
    arms = [_arm(campaigns, margin) for campaigns in (first, second)]
    failures = sorted({name for arm in arms for name in arm.statuses} - {KEPT_AS_SIMPLER, *map(str, FINISHED)})
    many = len(first) > 1 or len(second) > 1
    test = _test_campaigns if many else _test_trials
    tests = {"keeps": test(first, second, lambda rows: _kept(rows, None))}
    if margin is not None:
        tests["keeps_over_margin"] = test(first, second, lambda rows: _kept(rows, margin))
    by_class = {name: test(first, second, lambda rows, name=name: _ended(rows, name)) for name in failures}
    corrected = holm({name: found.p for name, found in by_class.items()})
    tests |= {name: found.model_copy(update={"p_holm": corrected[name]}) for name, found in by_class.items()}
    if many:
        tests |= _campaign_figures(first, second)
    return Comparison(
        arms=arms,
        margin=margin,
        ratios=_ratios(arms[0], arms[1], failures),
        tests=tests,
        warnings=_warnings(first, second, arms),
    )


def _arm(campaigns: Sequence[CampaignRows], margin: float | None) -> Arm:
    search = [row for campaign in campaigns for row in _search(campaign)]
    keeps = sum(row.is_gain for row in search)
    bests = [best for campaign in campaigns if (best := _best(campaign)) is not None]
    best = bests[0] if bests else None
    for other in bests[1:]:
        best = other if best is None or better(other, best, campaigns[0].direction) else best
    timed = [(row.status, row.seconds) for row in search if row.seconds is not None]
    by_status: dict[str, list[float]] = {}
    for status, took in timed:
        by_status.setdefault(str(status), []).append(took)
    return Arm(
        campaigns=[campaign.name for campaign in campaigns],
        trials=len(search),
        statuses=dict(Counter(row.ended_as for row in search).most_common()),
        keep_rate=keeps / len(search) if search else None,
        best=best,
        gain=_mean([gain for campaign in campaigns if (gain := _gain(campaign)) is not None]),
        baseline=_mean([start for campaign in campaigns if (start := _baseline(campaign)) is not None]),
        seconds_s=math.fsum(took for _, took in timed) if timed else None,
        wasted_s=math.fsum(took for status, took in timed if status not in FINISHED) if timed else None,
        seconds_by_status={name: math.fsum(parts) for name, parts in by_status.items()},
        keeps_over_margin=None if margin is None else sum(sum(_kept(campaign, margin)) for campaign in campaigns),
    )


def _search(campaign: CampaignRows) -> list[TrialRow]:
    return [row for row in campaign.rows if row.status is not Status.BASELINE]


def _baseline(campaign: CampaignRows) -> float | None:
    return next((row.metric for row in campaign.rows if row.status is Status.BASELINE), None)


def _best(campaign: CampaignRows) -> float | None:
    """The best metric of a trial that was kept; without one there is nothing to show."""
    best: float | None = None
    for row in campaign.rows:
        if row.metric is None or row.status not in {Status.KEEP, Status.BASELINE}:
            continue
        best = row.metric if best is None or better(row.metric, best, campaign.direction) else best
    return best


def _gain(campaign: CampaignRows) -> float | None:
    """Of the best over the baseline."""
    start, best = _baseline(campaign), _best(campaign)
    if start is None or best is None or not start:
        return None
    return (start - best if campaign.direction == "minimize" else best - start) / abs(start)


def _kept(campaign: CampaignRows, margin: float | None) -> list[bool]:
    """For each trial whether it was kept; with a margin the ratchet is gone through again.

    Then a keep counts when it betters the last one that counted, at first the baseline, by more than the margin: small
    steps that do not count by themselves count once they add up.
    """
    if margin is None:
        return [row.is_gain for row in _search(campaign)]
    counted, last = list[bool](), _baseline(campaign)
    for row in _search(campaign):
        counts = row.is_gain and row.metric is not None and _over(row.metric, last, margin, campaign.direction)
        last = row.metric if counts else last
        counted.append(counts)
    return counted


def _over(metric: float, last: float | None, margin: float, direction: Direction) -> bool:
    """Whether a metric is better than the last one that counted by more than the margin; where none did, it is."""
    return last is None or (last - metric if direction == "minimize" else metric - last) > margin


def _ended(campaign: CampaignRows, status: str) -> list[bool]:
    return [row.ended_as == status for row in _search(campaign)]


_Flags = Callable[[CampaignRows], list[bool]]


def _test_trials(first: Sequence[CampaignRows], second: Sequence[CampaignRows], flags: _Flags) -> Test:
    """Trials as the unit: one campaign an arm."""
    ours, theirs = flags(first[0]), flags(second[0])
    return Test(
        p=fisher_exact(sum(ours), len(ours), sum(theirs), len(theirs)), method="Fisher's exact test over trials"
    )


def _test_campaigns(first: Sequence[CampaignRows], second: Sequence[CampaignRows], flags: _Flags) -> Test:
    """Campaigns as the unit: each is the share of its trials."""
    return _figure_test([_share(flags(c)) for c in first], [_share(flags(c)) for c in second])


def _figure_test(first: Sequence[float], second: Sequence[float]) -> Test:
    found, interval = permutation_test(first, second), bootstrap_interval(first, second)
    low, high = interval or (None, None)
    ours, theirs = _mean(first), _mean(second)
    difference = None if ours is None or theirs is None else ours - theirs
    return Test(p=found.p, method=found.method, difference=difference, low=low, high=high)


def _campaign_figures(first: Sequence[CampaignRows], second: Sequence[CampaignRows]) -> dict[str, Test]:
    """Figures that a campaign has as a whole, as far as every campaign has them."""
    figures: dict[str, Callable[[CampaignRows], float | None]] = {"gain": _gain, "wasted_share": _wasted_share}
    tests: dict[str, Test] = {}
    for name, figure in figures.items():
        ours, theirs = [figure(campaign) for campaign in first], [figure(campaign) for campaign in second]
        known = [value for value in ours if value is not None], [value for value in theirs if value is not None]
        if len(known[0]) == len(ours) and len(known[1]) == len(theirs):
            tests[name] = _figure_test(*known)
    return tests


def _wasted_share(campaign: CampaignRows) -> float | None:
    """The share of its seconds that went into trials that did not finish."""
    timed = [(row.status, row.seconds) for row in _search(campaign) if row.seconds is not None]
    total = math.fsum(took for _, took in timed)
    return math.fsum(took for status, took in timed if status not in FINISHED) / total if total else None


def _share(flags: Sequence[bool]) -> float:
    return sum(flags) / len(flags) if flags else 0.0


def _mean(values: Sequence[float]) -> float | None:
    return math.fsum(values) / len(values) if values else None


def _ratios(first: Arm, second: Arm, failures: Sequence[str]) -> dict[str, float | None]:
    """First over second."""
    ratios = {
        "trials": _ratio(first.trials, second.trials),
        "keeps": _ratio(first.statuses.get("keep", 0), second.statuses.get("keep", 0)),
        "keep_rate": _ratio(first.keep_rate, second.keep_rate),
        "gain": _ratio(first.gain, second.gain),
        "seconds_s": _ratio(first.seconds_s, second.seconds_s),
        "wasted_s": _ratio(first.wasted_s, second.wasted_s),
    }
    if first.keeps_over_margin is not None:
        ratios["keeps_over_margin"] = _ratio(first.keeps_over_margin, second.keeps_over_margin)
    for name in failures:
        ratios[name] = _ratio(first.statuses.get(name, 0), second.statuses.get(name, 0))
        ratios[f"{name}_s"] = _ratio(first.seconds_by_status.get(name), second.seconds_by_status.get(name))
    return ratios


def _ratio(ours: float | None, theirs: float | None) -> float | None:
    return ours / theirs if ours is not None and theirs else None


def _warnings(first: Sequence[CampaignRows], second: Sequence[CampaignRows], arms: Sequence[Arm]) -> list[str]:
    found: list[str] = []
    if len(first) == len(second) == 1:
        found.append(ONE_EACH)
    elif min(len(first), len(second)) == 1:
        found.append(ONE_ARM)
    measured = {(campaign.metric, campaign.direction) for campaign in (*first, *second)}
    if len(measured) > 1:
        names = ", ".join(sorted(f"{name} ({direction})" for name, direction in measured))
        found.append(f"the campaigns do not measure alike: {names}")
    starts = [arm.baseline for arm in arms if arm.baseline is not None]
    if len(starts) == 2 and abs(starts[0] - starts[1]) > 0.01 * max(map(abs, starts)):
        found.append(f"the baselines differ by more than 1 %: {starts[0]:.6g} and {starts[1]:.6g}")
    if any(arm.baseline is None for arm in arms):
        found.append("an arm has no baseline: its gain is not known")
    return found
