"""The limits of a campaign, as a pure function of rows."""

from collections.abc import Sequence
from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from graph.limits.reached import Spent, limit_reached
from memory.records import Phase, Trial, TrialKind
from rails.status import FINISHED, QUARANTINED, Status
from rails.task import LimitsConfig

NOTHING = Spent(active_s=0.0, joules=0.0)
FOREVER = LimitsConfig(trials=1_000_000, failures_in_a_row=1_000_000)


def trial(seq: int, status: Status, usd: float | None = None) -> Trial:
    return Trial(
        trial_id=f"c-{seq:05d}",
        campaign_id="c",
        seq=seq,
        kind=TrialKind.SEARCH if seq else TrialKind.BASELINE,
        phase=Phase.DECIDED,
        status=status,
        reason="because",
        metric=1.0 if status in FINISHED else None,
        usd=usd,
        created_at=datetime(2026, 1, 1, tzinfo=UTC),
    )


def trials(statuses: Sequence[Status], usd: float | None = None) -> list[Trial]:
    return [trial(seq, status, usd) for seq, status in enumerate([Status.BASELINE, *statuses])]


STATUSES = st.lists(st.sampled_from([s for s in Status if s is not Status.BASELINE]), max_size=40)


@given(STATUSES, st.integers(1, 40))
def test_trials_count_when_they_say_something_about_a_hypothesis(statuses: list[Status], most: int) -> None:
    reason = limit_reached(FOREVER.model_copy(update={"trials": most}), trials(statuses), NOTHING)
    counted = sum(status not in QUARANTINED for status in statuses)
    assert (reason is not None) == (counted >= most)
    assert reason in {None, f"limit of {most} trials reached"}


@given(STATUSES, st.integers(1, 10))
def test_failures_in_a_row_are_ended_by_a_finished_trial_alone(statuses: list[Status], most: int) -> None:
    reason = limit_reached(FOREVER.model_copy(update={"failures_in_a_row": most}), trials(statuses), NOTHING)
    streak = 0
    for status in statuses:
        if status not in QUARANTINED:
            streak = 0 if status in FINISHED else streak + 1
    assert (reason is not None) == (streak >= most)
    assert reason is None or reason.startswith(f"{streak} trials in a row failed, the last with ")


@given(st.lists(st.none() | st.floats(0, 10), max_size=30), st.floats(0.01, 100))
def test_dollars_are_those_of_all_trials_whatever_became_of_them(prices: list[float | None], most: float) -> None:
    rows = [trial(seq, Status.CRASH if seq else Status.BASELINE, usd) for seq, usd in enumerate(prices)]
    reason = limit_reached(FOREVER.model_copy(update={"usd": most}), rows, NOTHING)
    assert (reason is not None) == (sum(usd for usd in prices if usd is not None) >= most)


@given(st.floats(0, 1e6), st.floats(0.001, 100))
def test_hours_are_those_of_running(active_s: float, hours: float) -> None:
    reason = limit_reached(
        FOREVER.model_copy(update={"hours": hours}), trials([]), Spent(active_s=active_s, joules=None)
    )
    assert reason == (f"limit of {hours:g} hours reached" if active_s >= 3600 * hours else None)


@given(st.floats(0, 1e9), st.floats(0.001, 1e9))
def test_joules_are_those_of_the_machine(joules: float, most: float) -> None:
    limits = FOREVER.model_copy(update={"joules": most})
    reason = limit_reached(limits, trials([]), Spent(active_s=0.0, joules=joules))
    assert (reason is not None) == (joules >= most)


def test_a_meter_that_is_lost_ends_a_campaign_with_a_limit_of_joules_only() -> None:
    lost = Spent(active_s=0.0, joules=None)
    assert limit_reached(FOREVER, trials([]), lost) is None
    assert "meter was lost" in str(limit_reached(FOREVER.model_copy(update={"joules": 5.0}), trials([]), lost))


@given(STATUSES, st.floats(0, 1e5), st.none() | st.floats(0, 1e5))
def test_a_limit_that_is_reached_stays_reached_however_much_more_is_spent(
    statuses: list[Status], active_s: float, joules: float | None
) -> None:
    limits = FOREVER.model_copy(update={"trials": 20, "hours": 10.0, "joules": 5e4, "usd": 3.0})
    now = limit_reached(limits, trials(statuses, 0.1), Spent(active_s=active_s, joules=joules))
    more = [*statuses, Status.DISCARD]
    later = limit_reached(limits, trials(more, 0.1), Spent(active_s=active_s + 1, joules=joules and joules + 1))
    assert now is None or later is not None
