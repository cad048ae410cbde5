"""On a wall clock the machine is part of the noise: controls, changes of the machine, and what they cost."""

import random
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from memory.keep.evidence import Decision, Points
from memory.keep.machine_change import CHANGE_BOUND, NEWEST, since_change
from memory.keep.rules import Evidence, make_rule
from memory.keep.sequential import CONTROL_BOUND, REFRESH_TRIALS
from rails.task import KeepConfig
from tests.support.examples import examples

RULE = make_rule(KeepConfig(rule="sequential"))
SD = 0.01


def evidence(
    candidate: Points, incumbent: Points, *, df: int = 30, since_control: int = 0, controls: tuple[int, ...] = ()
) -> Evidence:
    return Evidence(
        candidate=candidate,
        incumbent=incumbent,
        baseline=((0, 1.7),),
        noise_sd=SD,
        noise_df=df,
        direction="minimize",
        on_clock=True,
        controls=frozenset(controls),
        since_control=since_control,
    )


def asked(decision: Decision) -> tuple[str, str | None, int | None]:
    return decision.action, decision.target, decision.seed_index


OLD: Points = ((0, 1.7), (1, 1.7), (2, 1.7))


def test_a_candidate_meets_the_incumbents_newest_seeds_first_and_when_proven_a_new_one_in_the_same_trial() -> None:
    assert asked(RULE.decide(evidence((), OLD))) == ("measure", "candidate", 2)
    assert asked(RULE.decide(evidence(((2, 1.68),), OLD))) == ("measure", "candidate", 1)
    two = evidence(((2, 1.5), (1, 1.5)), OLD)
    assert asked(RULE.decide(two)) == ("measure", "incumbent", 3), "so that the candidate's is the last before a keep"
    controlled = replace(two, incumbent=(*OLD, (3, 1.7)), controls=frozenset({3}))
    assert asked(RULE.decide(controlled)) == ("measure", "candidate", 3)


def test_nothing_is_kept_without_a_control_however_good_it_looks() -> None:
    three = ((0, 1.0), (1, 1.0), (2, 1.0))
    assert RULE.decide(replace(evidence(three, OLD), on_clock=False)).action == "keep"
    assert asked(RULE.decide(evidence(three, OLD))) == ("measure", "incumbent", 3)
    controlled = evidence((*three, (3, 1.0)), (*OLD, (3, 1.7)), controls=(3,))
    kept = RULE.decide(controlled)
    assert kept.action == "keep"
    assert kept.evidence["n_controls"] == 1
    assert kept.evidence["control_statistic"] >= CONTROL_BOUND
    assert RULE.decide(replace(controlled, controls=frozenset())).action != "keep", "made for another trial"


def test_a_faster_machine_is_no_gain() -> None:
    """Everything after the change is better by 4 sd: the old measurements of the incumbent flatter the candidate."""
    faster = 1.7 - 4 * SD
    told = evidence(((2, faster), (1, faster), (3, faster)), (*OLD, (3, faster)), controls=(3,))
    decision = RULE.decide(told)
    assert decision.action == "discard"
    assert decision.evidence["n_left_out"] == 3
    ignorant = replace(told, candidate=((0, faster), (1, faster), (2, faster)), incumbent=OLD, on_clock=False)
    assert RULE.decide(ignorant).action == "keep", "without controls it would be kept"


def test_a_gain_is_seen_on_a_machine_that_got_slower() -> None:
    slower = 1.7 + 4 * SD
    better = slower - 8 * SD
    known = evidence(
        ((3, better), (4, better), (5, better)), (*OLD, *((seed, slower) for seed in (3, 4, 5))), controls=(3, 4, 5)
    )
    decision = RULE.decide(known)
    assert decision.action == "keep"
    assert decision.gain == pytest.approx(8 * SD / 1.7)


def test_a_candidate_from_before_a_change_is_not_compared_with_an_incumbent_from_after_it() -> None:
    """The control shows that the machine got faster: it is no loss of the candidate's, which was not measured since."""
    faster = 1.7 - 6 * SD
    told = evidence(((2, 1.66), (1, 1.66), (0, 1.66)), (*OLD, (3, faster)), controls=(3,))
    assert asked(RULE.decide(told)) == ("measure", "candidate", 3)
    few = make_rule(KeepConfig(rule="sequential", max_measurements=3)).decide(told)
    assert few.action == "discard" and few.reason.endswith("; not proven after 3 measurements")


def test_only_pairs_since_the_change_make_the_three_that_a_keep_takes() -> None:
    faster = 1.7 - 6 * SD
    better = faster - 20 * SD
    incumbent = (*OLD, (3, faster), (4, faster))
    candidate = ((0, 1.5), (1, 1.5), (2, 1.5), (3, better), (4, better))
    two = evidence(candidate, incumbent, controls=(3, 4))
    assert asked(RULE.decide(two)) == ("measure", "incumbent", 5)
    three = replace(two, candidate=(*candidate, (5, better)), incumbent=(*incumbent, (5, faster)))
    assert RULE.decide(three).action == "keep"


def test_after_three_measurements_a_promising_candidate_gets_controls_though_nothing_is_proven() -> None:
    six: Points = tuple((seed, 1.7) for seed in range(6))
    three = ((5, 1.67), (4, 1.68), (3, 1.69))
    decision = RULE.decide(evidence(three, six, df=4))
    assert asked(decision) == ("measure", "incumbent", 6)
    assert decision.evidence["p_null"] > decision.evidence["keep_level"]
    assert asked(RULE.decide(evidence(three[:2], six, df=4))) == ("measure", "candidate", 3), "not before"


def test_controls_of_the_trial_push_no_pair_out() -> None:
    """The incumbent's six newest of before and all since: eight pairs stay eight."""
    points = tuple((seed, 1.7 + 0.001 * (seed % 3)) for seed in range(NEWEST + 2))
    better = tuple((seed, metric - 0.005) for seed, metric in points)
    found = RULE.decide(evidence(better, points, controls=(NEWEST, NEWEST + 1))).evidence
    assert found["n_left_out"] == 0 and len(found["seeds"]) == NEWEST + 2
    assert RULE.decide(evidence(better, points)).evidence["n_left_out"] == 2, "older ones, of other trials"


def test_an_incumbent_without_a_control_for_long_gets_one_on_the_candidates_first_seed() -> None:
    stale = evidence((), OLD, since_control=REFRESH_TRIALS)
    assert asked(RULE.decide(stale)) == ("measure", "candidate", 3)
    worse = replace(stale, candidate=((3, 1.75),))
    assert asked(RULE.decide(worse)) == ("measure", "incumbent", 3)
    controlled = replace(worse, incumbent=(*OLD, (3, 1.70)), since_control=0, controls=frozenset({3}))
    assert RULE.decide(controlled).action == "discard"


def test_the_cut_is_where_the_machine_changed() -> None:
    before, after = [1.7] * 2, [1.66] * 3
    points = tuple(enumerate([*before, *after]))
    assert since_change(points, SD) == points[2:]
    assert since_change(tuple(reversed(points)), SD) == points[2:]
    assert since_change(points, None) == points
    close = tuple(enumerate([1.7, 1.7, 1.7 + 0.9 * CHANGE_BOUND * SD]))
    assert since_change(close, SD) == close


def test_old_measurements_are_left_out_anyhow() -> None:
    points = tuple((seed, 1.7) for seed in range(NEWEST + 3))
    assert since_change(points, SD) == points[3:]


@settings(deadline=None, max_examples=examples(60))
@given(st.randoms(use_true_random=False), st.integers(2, 7), st.floats(-5, 5), st.sampled_from([0, REFRESH_TRIALS]))
def test_it_comes_to_an_end_and_never_asks_twice(rng: random.Random, cap: int, gain_sd: float, age: int) -> None:
    rule = make_rule(KeepConfig(rule="sequential", max_measurements=cap))
    now, candidate = evidence((), OLD, since_control=age), False
    for _ in range(2 * cap + 1):
        decision = rule.decide(now)
        if decision.target is None or decision.seed_index is None:
            break
        candidate = decision.target == "candidate"
        before = now.candidate if candidate else now.incumbent
        assert decision.seed_index not in dict(before)
        point = (decision.seed_index, rng.gauss(1.7 - (gain_sd * SD if candidate else 0), SD))
        after = (*before, point)
        made = now.controls | {decision.seed_index}
        control = {"incumbent": after, "since_control": 0, "controls": made}
        now = replace(now, candidate=after) if candidate else replace(now, **control)
    action = rule.decide(now).action
    assert action in {"keep", "discard"}
    assert action == "discard" or candidate, "a keep is known when the candidate is measured: it can be probed deeply"


@dataclass
class Night:
    """A hundred trials without effect on a machine that changes by 2.5 sd in the middle; counts what is kept."""

    on_clock: bool
    rng: random.Random
    machine: Callable[[int], float]
    incumbent: dict[int, float] = field(default_factory=dict[int, float])

    def false_keeps(self) -> int:
        self.incumbent = {seed: self.draw(0) for seed in range(3)}
        kept = control = 0
        for trial in range(1, 101):
            candidate: dict[int, float] = {}
            controls: list[int] = []
            while True:
                points = tuple(candidate.items()), tuple(self.incumbent.items())
                known = evidence(*points, since_control=trial - control, controls=tuple(controls))
                now = replace(known, on_clock=self.on_clock)
                decision = RULE.decide(now)
                if decision.seed_index is None:
                    break
                if decision.target == "incumbent":
                    control = trial
                    controls.append(decision.seed_index)
                (candidate if decision.target == "candidate" else self.incumbent)[decision.seed_index] = self.draw(
                    trial
                )
            if decision.action == "keep":
                kept, self.incumbent, control = kept + 1, candidate, trial
        return kept

    def draw(self, trial: int) -> float:
        return self.rng.gauss(1.7 + self.machine(trial), SD)


@pytest.mark.system
def test_a_change_of_the_machine_makes_few_false_keeps() -> None:
    def faster(trial: int) -> float:
        return -2.5 * SD if trial >= 50 else 0.0

    def keeps(on_clock: bool) -> int:
        return sum(Night(on_clock, random.Random(number), faster).false_keeps() for number in range(20))

    without, with_controls = keeps(on_clock=False), keeps(on_clock=True)
    assert without >= 8, "the change is large enough to be seen"
    assert with_controls <= 6
