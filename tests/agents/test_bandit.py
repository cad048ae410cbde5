"""Who proposes next: the bandit finds who wins most for the time, follows changes, and knows rows and seed alone."""

import random
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from agents.bandit import choose_specialist, round_robin
from memory.records import Phase, Trial
from rails.status import Status
from tests.support.specialist_nights import Arm, Arms, Choose, night, regret, trial_of

NAMES = ("architecture", "optimiser", "schedule", "batch")
NIGHTS = 16


def bandit(names: Sequence[str], rows: Sequence[Trial], seed: int) -> str:
    return choose_specialist(names, rows, seed=seed)


def in_turns(names: Sequence[str], rows: Sequence[Trial], seed: int) -> str:
    return round_robin(names, rows)


def always(arms: Arms) -> Callable[[int], Arms]:
    return lambda seq: arms


ONE_GOOD = always({name: Arm(0.25 if name == "schedule" else 0.02) for name in NAMES})
COSTLY = always({"cheap": Arm(0.2, seconds=30.0), "costly": Arm(0.2, seconds=150.0)})


def change(seq: int) -> Arms:
    good = "optimiser" if seq <= 60 else "batch"
    return {name: Arm(0.3 if name == good else 0.02) for name in NAMES}


def nights(choose: Choose, arms_at: Callable[[int], Arms], trials: int) -> list[list[Trial]]:
    return [night(choose, arms_at, trials, seed) for seed in range(NIGHTS)]


def test_each_is_tried_once_before_any_is_tried_again() -> None:
    rows: list[Trial] = []
    for seq in range(1, 5):
        # A large gain of the first changes nothing: the others have not been heard yet.
        rows.append(trial_of(seq, bandit(NAMES, rows, 7), gain=0.1 if seq == 1 else 0.0))
    assert sorted(row.specialist or "" for row in rows) == sorted(NAMES)
    assert bandit(NAMES, rows, 7) == rows[0].specialist


def test_rows_and_seed_say_everything() -> None:
    rows = night(bandit, ONE_GOOD, 40, seed=3)
    again = [bandit(NAMES, rows[:n], 3) for n in range(40)]
    assert again == [row.specialist for row in rows]
    assert len({bandit(NAMES, [], seed) for seed in range(30)}) == len(NAMES), "the seed settles who comes first"


@pytest.mark.parametrize("status", [Status.INTERRUPTED, Status.HARNESS_ABORT])
def test_what_says_nothing_is_no_pull(status: Status) -> None:
    lost = trial_of(1, "schedule", status=status, metric=None, reason="a signal", seconds=9000.0)
    in_hand = trial_of(2, "batch", status=None, metric=None, phase=Phase.RUNNING)
    nobodys = trial_of(3, None, gain=0.1)
    strangers = trial_of(4, "long gone", gain=0.1)
    for rows in ([lost], [in_hand], [nobodys], [strangers]):
        assert bandit(NAMES, rows, 1) == bandit(NAMES, [], 1)
        assert round_robin(NAMES, rows) == NAMES[0]


def test_only_a_confirmed_gain_is_one() -> None:
    """An undone keep, a keep for being simpler and a keep that may be noise win nothing."""
    worthless: list[dict[str, Any]] = [
        {"status": Status.DISQUALIFIED, "metric": None, "commit_sha": "a" * 40, "reason": "it looks ahead"},
        {"decision": {"kind": "simpler"}},
        {"gain_low": -0.001},
        {"gain_low": None},
    ]
    names = ("a", "b")
    for fields in worthless:
        rows = [trial_of(1, "a", gain=0.2, **fields), trial_of(2, "b", gain=0.001)]
        assert {bandit(names, rows, seed) for seed in range(8)} == {"b"}


def test_it_finds_who_wins() -> None:
    plays = Counter(row.specialist for rows in nights(bandit, ONE_GOOD, 100) for row in rows[40:])
    assert plays["schedule"] / plays.total() > 0.5


def test_it_follows_a_change() -> None:
    late = Counter(row.specialist for rows in nights(bandit, change, 150) for row in rows[110:])
    assert late["batch"] / late.total() > 0.4
    assert late["batch"] > late["optimiser"]


def test_who_takes_longer_for_the_same_is_asked_less() -> None:
    plays = Counter(row.specialist for rows in nights(bandit, COSTLY, 80) for row in rows)
    assert plays["cheap"] > 2 * plays["costly"]


def test_who_fails_cheaply_gains_no_turns_by_it() -> None:
    arms = always({"blocked": Arm(0.0, seconds=1.0), **{name: Arm(0.1) for name in NAMES}})
    plays = Counter(row.specialist for rows in nights(bandit, arms, 100) for row in rows)
    assert plays["blocked"] / plays.total() < 1 / 5


@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e3])
def test_the_scale_of_gains_and_of_seconds_changes_nothing(scale: float) -> None:
    rng = random.Random(5)
    rows = [trial_of(n, rng.choice(NAMES), rng.choice([0, 0, 0.01, 0.03]), rng.uniform(20, 90)) for n in range(60)]

    def scaled(gains: float, seconds: float) -> list[Trial]:
        fields = ("gain", "gain_low", "gain_high")
        changed = [{name: (getattr(row, name) or 0.0) * gains for name in fields} for row in rows]
        return [
            row.model_copy(update={**(new if row.gain else {}), "total_s": row.total_s * seconds})
            for row, new in zip(rows, changed, strict=True)
        ]

    assert bandit(NAMES, scaled(scale, 1.0), 1) == bandit(NAMES, scaled(1.0, scale), 1) == bandit(NAMES, rows, 1)


@pytest.mark.system
def test_less_is_missed_than_by_taking_turns() -> None:
    """With -s it prints the share of the best specialist's gain that each way misses."""
    nights_of = (("one is good", ONE_GOOD, 100), ("a change", change, 150), ("a costly one", COSTLY, 80))
    for name, arms_at, trials in nights_of:
        missed = {
            way: sum(regret(rows, arms_at) for rows in nights(choose, arms_at, trials)) / NIGHTS
            for way, choose in (("bandit", bandit), ("in turns", in_turns))
        }
        shown = ", ".join(f"{share:.2f} ({way})" for way, share in missed.items())
        print(f"{name}, {trials} trials: missed {shown}")
        assert missed["bandit"] < 0.85 * missed["in turns"]


def test_turns_are_taken_in_the_order_of_the_task() -> None:
    rows: list[Trial] = []
    for seq in range(1, 9):
        rows.append(trial_of(seq, round_robin(NAMES, rows)))
    assert [row.specialist for row in rows] == [*NAMES, *NAMES]
