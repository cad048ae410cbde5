"""The sequential rule: gives up early, never believes one measurement, and keeps what repeats."""

import random
import re
from dataclasses import replace

import pytest

from memory.keep.rules import Decision, Evidence, make_rule
from memory.keep.sequential import INCUMBENT_CAP, LEARNING_PAIRS, STEADY
from memory.statistics.pairs import PairSpread
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


KNOWN = tuple([PairSpread(5, 5e-4, 5e-4, 0.0)] * LEARNING_PAIRS)
"""Earlier pairs that vary as independent measurements do, with the sd that `evidence` has."""


def test_the_futility_bound_is_where_it_says() -> None:
    error = 0.01 * (1 + 1 / 3) ** 0.5
    below, above = (1.7 - (STEADY.futility[0] + shift) * error for shift in (-0.01, 0.01))
    assert RULE.decide(replace(evidence([below], [1.7, 1.7, 1.7]), pairs=KNOWN)).action == "discard"
    asked = RULE.decide(replace(evidence([above], [1.7, 1.7, 1.7]), pairs=KNOWN))
    assert (asked.action, asked.target, asked.seed_index) == ("measure", "candidate", 1)


def test_the_first_candidates_are_measured_twice_to_learn_how_much_pairs_vary() -> None:
    tie, worse = evidence([1.7], [1.7, 1.7, 1.7]), evidence([1.75], [1.7, 1.7, 1.7])
    assert RULE.decide(tie).action == "measure"
    assert RULE.decide(replace(tie, pairs=KNOWN)).action == "discard"
    assert RULE.decide(worse).action == "discard"


def test_fewer_than_three_measurements_are_never_believed_however_good() -> None:
    for n in (1, 2):
        assert RULE.decide(evidence([1.0] * n, [1.7, 1.7, 1.7])).action == "measure"
    assert RULE.decide(evidence([1.0] * 3, [1.7, 1.7, 1.7])).action == "keep"


def test_the_keep_bound_is_students_t_and_wide_while_little_is_known() -> None:
    bounds: list[float] = []
    for df in (2, 5, 100):
        stated = RULE.decide(evidence([1.69] * 3, [1.7, 1.7, 1.7], df=df)).evidence
        bounds.append(t_quantile(1 - stated["keep_level"], stated["df"]) * stated["standard_error"] * 1.7)
        for factor, action in ((0.99, "measure"), (1.01, "keep")):
            three = [1.7 - factor * bounds[-1]] * 3
            assert RULE.decide(evidence(three, [1.7, 1.7, 1.7], df=df)).action == action
    assert bounds == sorted(bounds, reverse=True)


def test_a_thin_incumbent_is_measured_before_anything_is_kept_against_it() -> None:
    asked = RULE.decide(evidence([1.6, 1.6], [1.7]))
    assert (asked.action, asked.target, asked.seed_index) == ("measure", "incumbent", 1)


def test_an_incumbent_with_many_measurements_is_not_asked_for_more() -> None:
    many = replace(evidence([], [1.7] * INCUMBENT_CAP), candidate=((0, 1.6), (1, 1.6), (2, 1.6), (INCUMBENT_CAP, 1.6)))
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
    assert expected | bounds | {"noise_campaigns", "pair_sd", "slope", "on_clock"} <= stated.keys()
    assert (stated["on_clock"], stated["n_controls"], stated["n_left_out"]) == (False, None, 0)


def test_it_is_the_default() -> None:
    assert make_rule(KeepConfig()).name == "sequential"


def test_the_reason_says_by_how_much_on_how_many_shared_seeds() -> None:
    reason = RULE.decide(evidence([1.68, 1.68], [1.7, 1.7, 1.7])).reason
    assert re.match(r"1\.68 against 1\.7 on 2 shared seeds: better by 1\.18 %, ±\d\.\d\d; ", reason)


def test_pairs_that_agree_show_a_gain_that_noise_would_hide() -> None:
    """Half a standard deviation, three times alike: proven where earlier pairs varied little, and only there."""
    incumbent = [1.71, 1.70, 1.685]
    candidate = [metric - 0.005 for metric in incumbent]
    quiet = tuple([PairSpread(2, 2e-4, 2e-4, 2e-4 - 5e-8)] * 12)
    loud = tuple([PairSpread(2, 2e-4, 2e-4, 0.0)] * 12)
    assert RULE.decide(replace(evidence(candidate, incumbent), pairs=quiet)).action == "keep"
    assert RULE.decide(replace(evidence(candidate, incumbent), pairs=loud)).action != "keep"


def test_a_candidate_that_varies_more_than_others_has_the_wider_interval() -> None:
    incumbent, known = [1.71, 1.70, 1.685], tuple([PairSpread(2, 2e-4, 2e-4, 1.9e-4)] * 12)
    quiet = RULE.decide(replace(evidence([1.70, 1.69, 1.675], incumbent), pairs=known))
    noisy = RULE.decide(replace(evidence([1.65, 1.71, 1.705], incumbent), pairs=known))
    assert quiet.gain is not None and quiet.gain_low is not None and quiet.gain == pytest.approx(noisy.gain, abs=3e-3)
    assert noisy.gain is not None and noisy.gain_low is not None
    assert noisy.gain - noisy.gain_low > 3 * (quiet.gain - quiet.gain_low)


def test_on_logarithms_a_factor_is_a_factor_at_any_size() -> None:
    def seconds(size: float) -> Decision:
        faster = tuple((seed, 0.9 * size * (1 + seed / 100)) for seed in range(3))
        before = tuple((seed, size * (1 + seed / 100)) for seed in range(3))
        return RULE.decide(replace(evidence([], []), candidate=faster, incumbent=before, log_scale=True))

    small, large = seconds(1.0), seconds(1e6)
    assert small.gain == pytest.approx(0.1) and large.gain == pytest.approx(0.1)
    assert small.gain_low == pytest.approx(large.gain_low)
    none = RULE.decide(replace(evidence([0.0], [1.7]), log_scale=True))
    assert none.action == "discard" and "not a finite number above 0" in none.reason


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


@pytest.mark.parametrize(
    ("ours", "theirs", "said"),
    [
        (1.701, [1.7, 1.72, 1.72], r"1\.701 against 1\.7 on 1 shared seed \(lucky for the incumbent\): better by "),
        (1.719, [1.72, 1.7, 1.7], r"1\.719 against 1\.72 on 1 shared seed \(unlucky for the incumbent\): worse by "),
        (1.701, [1.7, 1.7, 1.7], r"1\.701 against 1\.7 on 1 shared seed: worse by "),
    ],
)
def test_a_seed_that_turns_the_difference_is_called_by_its_luck(ours: float, theirs: list[float], said: str) -> None:
    assert re.match(said, RULE.decide(evidence([ours], theirs)).reason)
