import math
from dataclasses import replace
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from memory.keep.evidence import Direction, Points
from memory.keep.rules import Decision, Evidence, KeepRule, better, make_rule
from memory.statistics.pairs import PairSpread
from memory.statistics.student_t import t_cdf, t_quantile
from rails.task import KeepConfig
from tests.support.examples import examples

PROPERTY = settings(deadline=None, max_examples=examples(60))
METRICS = st.floats(0.5, 4.0) | st.sampled_from([1.0, 1.25, 1.5])
DIRECTIONS: st.SearchStrategy[Direction] = st.sampled_from(["minimize", "maximize"])


def points(metrics: st.SearchStrategy[float] = METRICS, min_size: int = 0) -> st.SearchStrategy[Points]:
    pair = st.tuples(st.integers(0, 4), metrics)
    return st.lists(pair, min_size=min_size, max_size=5, unique_by=lambda item: item[0]).map(tuple)


@st.composite
def evidences(draw: st.DrawFn, metrics: st.SearchStrategy[float] = METRICS, shared: bool = False) -> Evidence:
    """Any evidence; with `shared`, one seed at least is measured on both sides."""
    candidate, incumbent = draw(points(metrics)), draw(points(metrics))
    if shared:
        seed = draw(st.integers(0, 4))
        candidate = (*(item for item in candidate if item[0] != seed), (seed, draw(metrics)))
        incumbent = (*(item for item in incumbent if item[0] != seed), (seed, draw(metrics)))
    df = draw(st.integers(0, 6))
    return Evidence(
        candidate=candidate,
        incumbent=incumbent,
        baseline=draw(points(METRICS, min_size=1)),
        noise_sd=draw(st.none() | st.floats(0, 0.1)) if df else None,
        noise_df=df,
        direction=draw(DIRECTIONS),
    )


RULES: st.SearchStrategy[KeepRule] = st.one_of(
    st.just(KeepConfig(rule="strict")),
    st.builds(KeepConfig, rule=st.just("sequential"), max_measurements=st.none() | st.integers(2, 5)),
    st.builds(
        KeepConfig,
        rule=st.just("threshold"),
        min_gain=st.sampled_from([0.0, 0.003, 0.1]),
        max_measurements=st.integers(1, 4),
    ),
).map(make_rule)


def simple(candidate: list[float], incumbent: list[float], **changes: Any) -> Evidence:
    """Evidence on seeds 0, 1, …, lower is better, baseline at 2.0."""
    base = Evidence(
        candidate=tuple(enumerate(candidate)),
        incumbent=tuple(enumerate(incumbent)),
        baseline=((0, 2.0), (1, 2.0)),
        noise_sd=0.01,
        noise_df=2,
        direction="minimize",
    )
    return replace(base, **changes)


def threshold(min_gain: float = 0.01, max_measurements: int = 1) -> KeepRule:
    return make_rule(KeepConfig(rule="threshold", min_gain=min_gain, max_measurements=max_measurements))


STRICT = make_rule(KeepConfig(rule="strict"))


def asked(decision: Decision) -> tuple[str, str | None, int | None]:
    return decision.action, decision.target, decision.seed_index


# Properties of every rule


@PROPERTY
@given(RULES, evidences(shared=True))
def test_a_tie_is_never_kept(rule: KeepRule, evidence: Evidence) -> None:
    tied = replace(evidence, candidate=evidence.incumbent)
    decision = rule.decide(tied)
    assert decision.action == "discard" or (rule.name == "sequential" and decision.action == "measure")
    assert decision.gain == 0


@PROPERTY
@given(RULES, st.permutations([1.1, 1.7, 2.3, 0.1 + 0.2, 1e-9]), DIRECTIONS)
def test_the_same_numbers_on_other_seeds_are_a_tie(rule: KeepRule, shuffled: list[float], direction: Direction) -> None:
    evidence = simple(shuffled, [1.1, 1.7, 2.3, 0.1 + 0.2, 1e-9], direction=direction)
    assert rule.decide(evidence).action == "discard"


@PROPERTY
@given(RULES, evidences(st.sampled_from([1.0, 1.5, math.nan, math.inf, -math.inf, 1e300])))
def test_a_number_that_is_not_finite_never_wins(rule: KeepRule, evidence: Evidence) -> None:
    everything = [metric for _, metric in (*evidence.candidate, *evidence.incumbent)]
    assume(not all(math.isfinite(metric) and metric < 1e100 for metric in everything))
    assert rule.decide(evidence).action == "discard"


@PROPERTY
@given(RULES, evidences())
def test_maximising_the_negated_metric_decides_the_same(rule: KeepRule, evidence: Evidence) -> None:
    def negated(points: Points) -> Points:
        return tuple((seed, -metric) for seed, metric in points)

    mirrored = replace(
        evidence,
        candidate=negated(evidence.candidate),
        incumbent=negated(evidence.incumbent),
        baseline=negated(evidence.baseline),
        direction="maximize" if evidence.direction == "minimize" else "minimize",
    )
    one, other = rule.decide(evidence), rule.decide(mirrored)
    assert asked(one) == asked(other)
    assert (one.gain, one.gain_low, one.gain_high, one.p_improve) == (
        other.gain,
        other.gain_low,
        other.gain_high,
        other.p_improve,
    )


@PROPERTY
@given(RULES, evidences(), st.randoms(use_true_random=False))
def test_the_order_of_measurements_does_not_matter(rule: KeepRule, evidence: Evidence, random: Any) -> None:
    def shuffled(points: Points) -> Points:
        return tuple(random.sample(points, len(points)))

    other = replace(
        evidence,
        candidate=shuffled(evidence.candidate),
        incumbent=shuffled(evidence.incumbent),
        baseline=shuffled(evidence.baseline),
    )
    assert rule.decide(other) == rule.decide(evidence)


@PROPERTY
@given(RULES, evidences(shared=True))
def test_the_gain_is_positive_exactly_when_the_candidate_is_better(rule: KeepRule, evidence: Evidence) -> None:
    decision = rule.decide(evidence)
    assert decision.gain is not None
    mean, incumbent_mean = exact_means(evidence)
    if rule.name == "sequential":  # it looks at the incumbent's other seeds, too, and rounds
        assume({seed for seed, _ in evidence.candidate} >= {seed for seed, _ in evidence.incumbent})
        assume(mean == incumbent_mean or abs(mean - incumbent_mean) > 1e-12)
    sign = 1 if evidence.direction == "minimize" else -1
    assert (decision.gain > 0) == (sign * (incumbent_mean - mean) > 0)
    assert (decision.gain < 0) == (sign * (incumbent_mean - mean) < 0)
    if decision.action == "keep":
        assert decision.gain > 0


@PROPERTY
@given(evidences(shared=True))
def test_strict_keeps_exactly_when_the_mean_over_shared_seeds_is_better(evidence: Evidence) -> None:
    mean, incumbent_mean = exact_means(evidence)
    improved = mean < incumbent_mean if evidence.direction == "minimize" else mean > incumbent_mean
    assert STRICT.decide(evidence).action == ("keep" if improved else "discard")


@PROPERTY
@given(RULES, evidences(shared=True))
def test_the_interval_holds_the_gain_and_agrees_with_the_probability(rule: KeepRule, evidence: Evidence) -> None:
    decision = rule.decide(evidence)
    if evidence.noise_df == 0 or evidence.noise_sd is None:
        assert decision.gain_low is decision.gain_high is decision.p_improve is None
        return
    assert decision.gain is not None and decision.gain_low is not None and decision.gain_high is not None
    assert decision.p_improve is not None
    assert decision.gain_low <= decision.gain <= decision.gain_high
    assert 0 <= decision.p_improve <= 1
    if decision.gain_low > 0:
        assert decision.p_improve >= 0.975 - 1e-9
    if decision.gain > 0:
        assert decision.p_improve >= 0.5


@PROPERTY
@given(RULES, st.lists(METRICS, min_size=8, max_size=8), st.lists(METRICS, min_size=8, max_size=8), points(min_size=1))
def test_measuring_what_is_asked_always_comes_to_an_end(
    rule: KeepRule, candidate: list[float], incumbent: list[float], known: Points
) -> None:
    evidence = Evidence(candidate=(), incumbent=known, baseline=known, noise_sd=None, noise_df=0, direction="minimize")
    for _ in range(16):
        decision = rule.decide(evidence)
        if decision.target is None or decision.seed_index is None:
            break
        before = evidence.candidate if decision.target == "candidate" else evidence.incumbent
        assert decision.seed_index not in dict(before), "asked for what is there already"
        metric = (candidate if decision.target == "candidate" else incumbent)[decision.seed_index]
        evidence = replace(evidence, **{decision.target: (*before, (decision.seed_index, metric))})
    assert rule.decide(evidence).action in ("keep", "discard")


def exact_means(evidence: Evidence) -> tuple[Fraction, Fraction]:
    """Means of candidate and incumbent without rounding, over the shared seeds."""
    candidate, incumbent = dict(evidence.candidate), dict(evidence.incumbent)
    shared = candidate.keys() & incumbent.keys()

    def mean(side: dict[int, float]) -> Fraction:
        values = [Fraction(metric) for seed, metric in side.items() if seed in shared]
        return sum(values, Fraction(0)) / len(values)

    return mean(candidate), mean(incumbent)


# Examples


def test_better_is_strict_and_knows_the_direction() -> None:
    assert better(1.0, 2.0, "minimize") and not better(2.0, 1.0, "minimize")
    assert better(2.0, 1.0, "maximize") and not better(1.0, 2.0, "maximize")
    for direction in ("minimize", "maximize"):
        assert not better(1.0, 1.0, direction)
        assert not better(math.nan, 1.0, direction) and not better(1.0, math.nan, direction)


def test_a_candidate_is_first_measured_with_the_incumbents_first_seed() -> None:
    decision = STRICT.decide(replace(simple([], []), incumbent=((2, 1.0), (1, 1.1))))
    assert asked(decision) == ("measure", "candidate", 1)
    assert decision.gain is None


def test_an_unmeasured_incumbent_is_measured_first() -> None:
    assert asked(threshold().decide(simple([], []))) == ("measure", "incumbent", 0)


def test_gains_are_relative_to_the_baseline() -> None:
    decision = STRICT.decide(simple([1.79], [1.8]))
    assert decision.gain == pytest.approx(0.005)


def test_the_interval_uses_t_and_both_sides_noise() -> None:
    known = tuple([PairSpread(10, 10 * 0.01**2, 10 * 0.01**2, 0.0)] * 60)
    decision = STRICT.decide(simple([1.79], [1.8], pairs=known, noise_df=600))
    assert decision.evidence["standard_error"] == pytest.approx(0.01 * math.sqrt(2) / 2.0, rel=0.01)
    margin = t_quantile(0.975, float(f"{decision.evidence['df']:.2g}")) * decision.evidence["standard_error"]
    assert decision.gain_low == pytest.approx(0.005 - margin, rel=1e-6)
    assert decision.gain_high == pytest.approx(0.005 + margin, rel=1e-6)
    t = 0.005 / decision.evidence["standard_error"]
    assert decision.p_improve == pytest.approx(t_cdf(t, decision.evidence["df"]), rel=1e-9)


def test_no_noise_at_all_leaves_no_doubt() -> None:
    decision = STRICT.decide(simple([1.79], [1.8], noise_sd=0.0))
    assert (decision.gain_low, decision.gain_high, decision.p_improve) == (decision.gain, decision.gain, 1.0)


def test_a_metric_to_maximise_may_be_negative_or_zero() -> None:
    lower = simple([-1.0], [0.0], baseline=((0, 0.0),), direction="maximize")
    assert STRICT.decide(lower).gain == -1.0
    assert STRICT.decide(replace(lower, candidate=((0, 0.5),))).action == "keep"


@pytest.mark.parametrize(("metric", "action"), [(1.97, "keep"), (1.979, "keep"), (1.981, "discard"), (2.1, "discard")])
def test_threshold_needs_its_share_of_the_baseline(metric: float, action: str) -> None:
    assert threshold(0.01).decide(simple([metric], [2.0])).action == action


def test_threshold_measures_what_passes_again_on_the_incumbents_seeds() -> None:
    decision = threshold(0.01, 3).decide(simple([1.9], [2.0, 2.0, 2.0]))
    assert asked(decision) == ("measure", "candidate", 1)


def test_threshold_asks_for_the_incumbents_missing_seed() -> None:
    rule = threshold(0.01, 2)
    assert asked(rule.decide(simple([1.9], [2.0]))) == ("measure", "candidate", 1)
    assert asked(rule.decide(simple([1.9, 1.9], [2.0]))) == ("measure", "incumbent", 1)
    assert rule.decide(simple([1.9, 1.9], [2.0, 2.0])).action == "keep"


def test_threshold_judges_on_the_mean_and_stops_early() -> None:
    assert threshold(0.01, 3).decide(simple([1.97, 2.01], [2.0, 2.0])).action == "discard"
    assert threshold(0.01, 2).decide(simple([1.95, 2.0], [2.0, 2.0])).action == "keep"


def test_the_reason_and_the_evidence_say_what_was_compared() -> None:
    decision = threshold(0.003).decide(simple([1.9], [2.0]))
    assert decision.reason.startswith("1.9 against 2 on 1 shared seed: better by 5.00 %, ±")
    assert decision.reason.endswith(", 0.30 % needed")
    stated = {
        "rule": "threshold",
        "seeds": [0],
        "direction": "minimize",
        "scores_by_seed": [[0, 1.9, 2.0]],
        "candidate_mean": 1.9,
        "incumbent_mean": 2.0,
        "baseline_mean": 2.0,
        "noise_sd": 0.01,
        "noise_df": 2,
        "noise_campaigns": 1,
        "slope": 1.0,
        "earlier_pairs": 0,
        "on_clock": False,
    }
    assert stated.items() <= decision.evidence.items()


@pytest.mark.parametrize(("action", "target"), [("keep", "candidate"), ("measure", None)])
def test_a_decision_names_a_measurement_exactly_when_it_asks_for_one(action: Any, target: Any) -> None:
    with pytest.raises(ValueError, match="a decision to"):
        Decision(action=action, reason="", target=target, seed_index=0 if target else None)
