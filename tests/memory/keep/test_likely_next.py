"""What is likely measured next: the rule itself says whether the guess was right."""

import random
from dataclasses import replace

import pytest

from memory.keep.evidence import Evidence, likely_next
from memory.keep.rules import KeepRule, make_rule
from rails.task import KeepConfig

SD, SHARED = 0.05, 0.9
"""Of a measurement, and how much of its variance belongs to the seed."""


def evidence(on_clock: bool) -> Evidence:
    return Evidence(
        candidate=(),
        incumbent=(),
        baseline=(),
        noise_sd=SD,
        noise_df=40,
        direction="minimize",
        on_clock=on_clock,
    )


def score(name: str, seed: int, gain: float) -> float:
    """The same for the same program and seed."""
    luck, own = random.Random(seed).gauss(0, SD), random.Random(f"{name} {seed}").gauss(0, SD)
    return 3.0 - gain * (name == "candidate") + SHARED**0.5 * luck + (1 - SHARED) ** 0.5 * own


def play(rule: KeepRule, on_clock: bool, gain: float) -> tuple[int, int]:
    """One candidate to its decision: how often one was measured again at once, and how often that was foreseen."""
    incumbent = tuple((seed, score("incumbent", seed, gain)) for seed in range(6))
    known = replace(evidence(on_clock), incumbent=incumbent, baseline=incumbent)
    repeated, foreseen, before, guess = 0, 0, "", list[int]()
    while (decision := rule.decide(known)).action == "measure":
        assert decision.target is not None
        assert decision.seed_index is not None
        repeated += decision.target == before
        foreseen += decision.target == before and decision.seed_index in guess[:1]
        before = decision.target
        guess = likely_next(known, decision.target, decision.seed_index, rule.most_measurements)
        assert decision.seed_index not in guess
        point = (decision.seed_index, score(decision.target, decision.seed_index, gain))
        if decision.target == "candidate":
            known = replace(known, candidate=(*known.candidate, point))
        else:
            made = known.controls | {decision.seed_index} if on_clock else known.controls
            known = replace(known, incumbent=(*known.incumbent, point), controls=made)
    return repeated, foreseen


@pytest.mark.parametrize("on_clock", [False, True])
def test_a_second_measurement_in_a_row_is_foreseen(on_clock: bool) -> None:
    rule = make_rule(KeepConfig())
    played = [play(rule, on_clock, gain) for gain in (0.0, 0.02, 0.03, 0.05, 0.1)]
    repeated, foreseen = (sum(column) for column in zip(*played, strict=True))
    assert repeated >= 5
    assert foreseen == repeated


def test_nothing_is_foreseen_beyond_the_most_measurements() -> None:
    points = tuple((seed, 3.0) for seed in range(6))
    known = replace(evidence(on_clock=True), incumbent=points, candidate=points[4:])
    assert likely_next(known, "candidate", 3, most=3) == []
    assert likely_next(known, "candidate", 3, most=4) == [2]
    assert likely_next(known, "incumbent", 6, most=4) == [7]
    assert make_rule(KeepConfig(rule="strict")).most_measurements == 1
