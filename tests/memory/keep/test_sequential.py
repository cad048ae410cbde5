"""The sequential rule: gives up early, never believes one measurement, and keeps what repeats."""

import random
from dataclasses import replace

import pytest

from memory.keep.rules import Evidence, make_rule
from memory.keep.sequential import INCUMBENT_CAP, STEADY
from memory.statistics.student_t import t_quantile
from rails.task import KeepConfig

RULE = make_rule(KeepConfig(rule="sequential", max_measurements=4))


def evidence(candidate: list[float], incumbent: list[float], *, sd: float | None = 0.01, df: int = 20) -> Evidence:
    return Evidence(
        candidate=tuple(enumerate(candidate)),
        incumbent=tuple(enumerate(incumbent)),
        baseline=((0, 1.7), (1, 1.7), (2, 1.7)),
        noise_sd=sd,
        noise_df=df,
        direction="minimize",
    )


def test_what_is_worse_is_given_up_after_one_measurement() -> None:
    assert RULE.decide(evidence([1.71], [1.7, 1.7, 1.7])).action == "discard"


def test_the_futility_bound_is_where_it_says() -> None:
    error = 0.01 * (1 + 1 / 3) ** 0.5
    below, above = (1.7 - (STEADY.futility[0] + shift) * error for shift in (-0.01, 0.01))
    assert RULE.decide(evidence([below], [1.7, 1.7, 1.7])).action == "discard"
    asked = RULE.decide(evidence([above], [1.7, 1.7, 1.7]))
    assert (asked.action, asked.target, asked.seed_index) == ("measure", "candidate", 1)


def test_one_measurement_is_never_believed_however_good() -> None:
    assert RULE.decide(evidence([1.0], [1.7, 1.7, 1.7])).action == "measure"
    assert RULE.decide(evidence([1.0, 1.0], [1.7, 1.7, 1.7])).action == "keep"


def test_the_keep_bound_is_students_t_and_wide_while_little_is_known() -> None:
    error = 0.01 * (1 / 2 + 1 / 3) ** 0.5
    for df in (2, 5, 100):
        bound = t_quantile(1 - STEADY.keep_level, df) * error
        for factor, action in ((0.99, "measure"), (1.01, "keep")):
            pair = [1.7 - factor * bound] * 2
            assert RULE.decide(evidence(pair, [1.7, 1.7, 1.7], df=df)).action == action


def test_a_thin_incumbent_is_measured_before_anything_is_kept_against_it() -> None:
    asked = RULE.decide(evidence([1.6, 1.6], [1.7]))
    assert (asked.action, asked.target, asked.seed_index) == ("measure", "incumbent", 1)


def test_an_incumbent_with_many_measurements_is_not_asked_for_more() -> None:
    many = replace(evidence([], [1.7] * INCUMBENT_CAP), candidate=((0, 1.6), (INCUMBENT_CAP, 1.6)))
    assert RULE.decide(many).action == "keep"


def test_at_the_cap_it_must_choose() -> None:
    undecided = evidence([1.69] * 4, [1.7] * 4, sd=0.005, df=30)
    assert RULE.decide(undecided).action == "discard"
    assert "not proven after 4 measurements" in RULE.decide(undecided).reason


def test_without_any_noise_estimate_nothing_is_kept() -> None:
    assert RULE.decide(evidence([1.0, 1.0], [1.7, 1.7], sd=None, df=0)).action == "discard"


def test_the_evidence_is_all_there() -> None:
    stated = RULE.decide(evidence([1.68, 1.68], [1.7, 1.7, 1.7])).evidence
    expected = {"rule", "n_candidate", "n_incumbent", "candidate_mean", "incumbent_mean", "noise_sd", "noise_df"}
    bounds = {"statistic", "p_null", "keep_level", "futility_bound", "cap"}
    assert expected | bounds | {"noise_campaigns", "wall_clock"} <= stated.keys()
    assert (stated["wall_clock"], stated["n_controls"], stated["n_left_out"]) == (False, None, 0)


def test_it_is_the_default() -> None:
    assert make_rule(KeepConfig()).name == "sequential"


def test_the_reason_says_how_often_each_side_was_measured() -> None:
    reason = RULE.decide(evidence([1.68, 1.68], [1.7, 1.7, 1.7])).reason
    assert reason.startswith("1.68 (2 x measured) against 1.7 (3 x measured): better by 1.18 %")


@pytest.mark.parametrize(("gain_sd", "kept_at_least", "kept_at_most"), [(0.0, 0, 2), (4.0, 80, 100)])
def test_in_a_hundred_simulated_trials(gain_sd: float, kept_at_least: int, kept_at_most: int) -> None:
    rng = random.Random(1)
    incumbent = {seed: rng.gauss(1.7, 0.01) for seed in range(3)}
    kept = 0
    for _ in range(100):
        candidate: dict[int, float] = {}
        known = dict(incumbent)
        while True:
            now = replace(
                evidence([], []), candidate=tuple(candidate.items()), incumbent=tuple(known.items()), noise_df=30
            )
            decision = RULE.decide(now)
            if decision.seed_index is None:
                break
            mean = 1.7 - 0.01 * gain_sd if decision.target == "candidate" else 1.7
            (candidate if decision.target == "candidate" else known)[decision.seed_index] = rng.gauss(mean, 0.01)
        kept += decision.action == "keep"
    assert kept_at_least <= kept <= kept_at_most
