"""Keeping what is simpler: what counts as that, what must be ruled out, and how often that errs."""

from dataclasses import replace

import pytest

from benchmarks.rules.simpler import simulate
from memory.keep.comparison import compare
from memory.keep.evidence import Decision, Evidence
from memory.keep.rules import simpler_rule
from memory.keep.simpler import Size, as_simplification, best_of, saving
from memory.statistics.pairs import PairSpread
from rails.task import KeepConfig

RULE = simpler_rule(KeepConfig(rule="strict", simpler_margin=0.02))


def evidence(candidate: list[float], incumbent: list[float], margin: float = 0.02, **fields: object) -> Evidence:
    base = Evidence(
        candidate=tuple(enumerate(candidate)),
        incumbent=tuple(enumerate(incumbent)),
        baseline=((0, 1.7), (1, 1.7), (2, 1.7)),
        noise_sd=0.01,
        noise_df=40,
        direction="minimize",
        pairs=(PairSpread(5, 5e-4, 5e-4, 0.0),) * 4,
        margin=margin,
    )
    return replace(base, **fields)  # type: ignore[arg-type]


def test_simpler_is_what_has_less_of_anything_and_says_what_it_has_more_of() -> None:
    full = Size(nodes=1204, params=20_000)
    assert saving(full, full) is None
    assert saving(Size(nodes=1300, params=None), full) is None
    assert saving(Size(nodes=1160, params=None), full) == "44 of 1,204 syntax nodes less"
    fewer = saving(Size(nodes=1216, params=19_000), full)
    assert fewer == "1,000 of 20,000 parameters less, 12 syntax nodes more than 1,204"


def test_the_best_is_the_best_and_of_equals_the_first() -> None:
    chain = [("simpler", 1.72), ("better", 1.69), ("start", 1.75), ("tie", 1.69)]
    assert best_of(chain, "minimize") == "better"
    assert best_of(chain, "maximize") == "start"
    assert best_of([], "minimize") is None


def test_a_tie_is_kept_with_a_margin_and_never_without() -> None:
    tie = [1.7] * 4
    assert RULE.decide(evidence(tie, tie)).action == "keep"
    assert RULE.decide(evidence(tie, tie, margin=0.0)).action != "keep"


def test_what_is_worse_by_the_margin_is_not_kept_however_often_it_is_measured() -> None:
    worse = [1.7 * 1.02] * 8
    assert RULE.decide(evidence(worse, [1.7] * 8)).action == "discard"


def test_the_margin_moves_the_test_and_nothing_else() -> None:
    with_margin, without = (compare(evidence([1.71] * 4, [1.7] * 4, margin)) for margin in (0.02, 0.0))
    assert with_margin.statistic > 0 > without.statistic
    assert with_margin.p_null < without.p_null
    for name in ("gain", "gain_low", "gain_high", "p_improve", "candidate_mean", "standard_error"):
        assert getattr(with_margin, name) == getattr(without, name)


def test_on_logarithms_the_margin_is_a_factor() -> None:
    tie, at_margin = (compare(evidence([score] * 4, [100.0] * 4, log_scale=True)) for score in (100.0, 100.0 / 0.98))
    assert tie.statistic > 1
    assert at_margin.statistic == pytest.approx(0.0, abs=1e-9)


def test_more_is_better_too() -> None:
    up = evidence([1.69] * 4, [1.7] * 4, direction="maximize")
    assert RULE.decide(up).action == "keep"
    assert RULE.decide(replace(up, margin=0.0)).action == "discard"


def test_a_decision_says_what_is_saved_what_it_may_cost_and_keeps_the_gain_of_the_incumbent() -> None:
    found = RULE.decide(evidence([1.7] * 4, [1.7] * 4))
    given_up = Decision(action="discard", reason="not proven", gain=-0.001, gain_low=-0.003, gain_high=0.001)
    decision = as_simplification(found, given_up, saved="2 of 9 syntax nodes less", best="trial 4", margin=0.02)
    assert decision.action == "keep"
    assert decision.reason.startswith("simpler, 2 of 9 syntax nodes less; no more than 2.00 % worse than trial 4: ")
    assert (decision.gain, decision.gain_low, decision.gain_high) == (-0.001, -0.003, 0.001)
    assert decision.evidence["kind"] == "simpler"
    refused = RULE.decide(evidence([1.8], [1.7] * 4))
    decision = as_simplification(refused, given_up, saved="2 of 9 syntax nodes less", best="trial 4", margin=0.02)
    assert decision.reason == (
        "not proven; 2 of 9 syntax nodes less, but not proven to be no more than 2.00 % worse than trial 4"
    )


@pytest.mark.slow
@pytest.mark.parametrize("correlation", [0.0, 0.4, 0.9])
def test_what_is_worse_by_the_whole_margin_is_kept_once_in_a_hundred_at_most(correlation: float) -> None:
    assert simulate(correlation, loss_sd=2.0, candidates=1200).kept <= 0.01
    assert simulate(correlation, loss_sd=0.0, candidates=600).kept >= (0.3 if correlation == 0 else 0.6)
