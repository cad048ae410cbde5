"""What a near miss fell short of: the keep rules themselves are asked whether it is true."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from memory.keep.evidence import Evidence
from memory.keep.rules import Decision, make_rule
from memory.keep.sequential import LEARNING_PAIRS
from memory.lineage.hurdles import Hurdle, hurdle_of
from memory.records import Trial
from memory.statistics.pairs import PairSpread
from rails.task import KeepConfig
from tests.support.examples import examples
from tests.support.histories import knob_trial

TASK = {"keep": {"rule": "sequential", "min_gain": 0.003}}
BASELINE = ((0, 2.0), (1, 2.002), (2, 1.998))
SD = 0.004


def trial_with(decision: Decision) -> Trial:
    row = {"action": decision.action, "reason": decision.reason, **decision.evidence}
    return knob_trial(1, "depth", 4, gain=decision.gain, decision=row)


def evidence(candidate: list[float], incumbent: tuple[tuple[int, float], ...] = BASELINE) -> Evidence:
    return Evidence(
        candidate=tuple(enumerate(candidate)),
        incumbent=incumbent,
        baseline=BASELINE,
        noise_sd=SD,
        noise_df=120,
        direction="minimize",
        pairs=tuple([PairSpread(3, 3 * SD**2, 3 * SD**2, 0.0)] * LEARNING_PAIRS),
    )


@settings(max_examples=examples(60), deadline=None)
@given(st.integers(1, 8), st.floats(-0.004, 0.006))
def test_a_little_more_than_the_hurdle_would_have_been_enough_and_a_little_less_not(n: int, gain: float) -> None:
    rule = make_rule(KeepConfig(rule="sequential"))
    incumbent = tuple((seed, 2.0) for seed in range(max(3, n)))
    decision = rule.decide(evidence([2.0 * (1 - gain)] * n, incumbent))
    if decision.action != "discard":
        return
    hurdle = hurdle_of(trial_with(decision), TASK)
    assert hurdle is not None and hurdle.measurements == n
    for factor, passes in ((1.001, True), (0.999, False)):
        again = rule.decide(evidence([2.0 * (1 - hurdle.needed * factor)] * n, incumbent))
        assert (again.action == "keep" if hurdle.to_be_kept else again.action != "discard") == passes


@settings(max_examples=examples(40), deadline=None)
@given(st.floats(0.004, 0.02))
def test_with_enough_measurements_a_true_gain_is_proven(gain: float) -> None:
    rule = make_rule(KeepConfig(rule="sequential", max_measurements=100))
    decision = rule.decide(evidence([1.9999]))
    assert decision.action == "discard"
    hurdle = hurdle_of(trial_with(replace(decision, gain=gain)), TASK)
    assert hurdle is not None and hurdle.enough is not None

    def kept(n: int) -> bool:
        points = tuple((seed, 2.0) for seed in range(n))
        return rule.decide(evidence([2.0 * (1 - gain)] * n, points)).action == "keep"

    # About: the spread is known otherwise after more measurements than after one.
    assert kept(2 * hurdle.enough)


def test_a_gain_that_is_none_or_too_small_is_proven_by_nothing() -> None:
    decision = make_rule(KeepConfig(rule="sequential")).decide(evidence([1.9999]))
    for gain in (-0.001, 0.0, 1e-5, None):
        hurdle = hurdle_of(trial_with(replace(decision, gain=gain)), TASK)
        assert hurdle is not None and hurdle.enough is None
        assert "measurements" not in hurdle.text


def test_pairs_from_before_the_machine_changed_prove_nothing() -> None:
    """On a clock: of eight measurements one was paired since the change, and it alone is as wide as stated."""
    bounds = {"df": 60, "keep_level": 0.0008, "futility_bound": 2.5, "statistic": 1.0, "cap": 8}
    row = {"rule": "sequential", "n_candidate": 8, "standard_error": 0.01, **bounds}
    enough = {}
    for counted in (1, 8):
        trial = knob_trial(1, "depth", 4, gain=0.01, decision={**row, "seeds": list(range(counted))})
        hurdle = hurdle_of(trial, TASK)
        assert hurdle is not None and hurdle.measurements == 8 and hurdle.enough is not None
        enough[counted] = hurdle.enough
    assert enough[8] == pytest.approx(8 * enough[1], rel=0.1)


def test_the_other_rules_have_one_bar() -> None:
    threshold = make_rule(KeepConfig(rule="threshold", min_gain=0.003)).decide(evidence([1.999]))
    hurdle = hurdle_of(trial_with(threshold), TASK)
    assert hurdle == Hurdle(needed=0.003, to_be_kept=True, measurements=1)
    assert hurdle is not None and hurdle.text == "needed +0.30 % to be kept"
    assert hurdle_of(trial_with(threshold), {}) is None
    strict = make_rule(KeepConfig(rule="strict")).decide(evidence([2.0001]))
    hurdle = hurdle_of(trial_with(strict), {})
    assert hurdle is not None and hurdle.text == "needed any gain to be kept"


@pytest.mark.parametrize(
    "decision",
    [
        None,
        {},
        {"rule": "another"},
        {"rule": "sequential"},
        {"rule": "sequential", "n_candidate": 0, "n_incumbent": 3, "noise_sd": 0.1, "noise_df": 2},
        {"rule": "sequential", "noise_sd": None, "noise_df": 0, "keep_level": 0.1, "futility_bound": 1.0},
        {"checkpoint": 0.4},
    ],
)
def test_a_decision_that_does_not_say_is_not_guessed_at(decision: dict[str, Any] | None) -> None:
    assert hurdle_of(knob_trial(1, "depth", 4, decision=decision), TASK) is None


def test_its_words() -> None:
    hurdle = Hurdle(needed=0.0042, to_be_kept=False, measurements=1, enough=7)
    assert hurdle.text == "needed +0.42 % to be measured again; about 7 measurements would prove it, if true"


@pytest.mark.parametrize("task", [{}, {"keep": "threshold"}, {"keep": {"min_gain": "much"}}])
def test_a_task_of_somebody_elses_without_a_bar_has_none(task: dict[str, Any]) -> None:
    trial = knob_trial(1, "depth", 4, gain=0.001, decision={"rule": "threshold"})
    assert hurdle_of(trial, task) is None
    assert hurdle_of(trial, {"keep": {"min_gain": 0.003}}) == Hurdle(needed=0.003, to_be_kept=True, measurements=1)
