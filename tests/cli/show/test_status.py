"""What `status` says of the machine, the noise, and the incumbent: from records alone."""

import re
from collections.abc import Iterator
from datetime import timedelta
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from cli.show.progress_rows import Lines, held, incumbent_text
from cli.show.status import event_line, result_lines, status_document, status_sentence
from memory.records import CampaignState, Event, EventKind, MeasurementState, Phase, Trial
from memory.store import Store
from rails.status import Status
from tests.support.rows import make_campaign, make_measurement, make_trial

SIDE = {"baseline": 1.7, "incumbent": 1.68, "gain": 0.0118, "gain_low": 0.004, "gain_high": 0.0196}
FINAL: dict[str, Any] = {
    "state": "done",
    "incumbent": 1,
    "n": 2,
    "seeds": [1000, 1001],
    "sd": 0.01,
    "df": 4,
    "val": SIDE,
    "test": {**SIDE, "gain": 0.009},
    "failures": [],
    "stop_reason": "limit",
}


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(tmp_path / "store.duckdb") as opened:
        yield opened


def night(store: Store, speeds: list[float], kind: str = "seconds", **fields: Any) -> dict[str, Any]:
    """The status of a campaign: a baseline measured at these speeds (steps a second), one keep on other seeds."""
    task = {"metric": {"name": "val_bpb", "direction": "minimize"}, "budget": {"kind": kind, "amount": 20.0}}
    campaign = make_campaign().model_copy(update={"task": task, **fields})
    store.add_campaign(campaign)
    baseline = add(store, make_trial(campaign, 0), Status.BASELINE, dict(enumerate([1.70, 1.71, 1.69])), speeds)
    kept = make_trial(campaign, 1, parent_trial_id=baseline.trial_id)
    add(store, kept, Status.KEEP, {15: 1.6, 16: 1.62}, [10.0, 10.0])
    store.update_campaign(campaign.campaign_id, incumbent_trial_id=kept.trial_id)
    return status_document(store, store.campaign(campaign.campaign_id))


def add(store: Store, trial: Trial, status: Status, scores: dict[int, float], speeds: list[float]) -> Trial:
    store.open_trial(trial)
    for (seed, score), speed in zip(scores.items(), speeds, strict=False):
        done = make_measurement(trial, seed, score, steps=round(20 * speed), train_s=20.0, cpu_s=40.0)
        blank = {"state": MeasurementState.RUNNING, "score": None, "finished_at": None}
        store.open_measurement(done.model_copy(update=blank))
        store.finish_measurement(done, None)
    decided = {"phase": Phase.DECIDED, "status": status, "metric": min(scores.values()), "reason": "r"}
    store.decide(Trial.model_validate({**trial.model_dump(), **decided}), None, trial.trial_id, None)
    return trial


def test_an_uneven_machine_is_told_on_a_budget_of_seconds(store: Store) -> None:
    document = night(store, [10.0, 10.2, 14.0])
    assert document["machine"] == {
        "trial": 0,
        "clock": "seconds",
        "slowest_steps_per_s": 10.0,
        "fastest_steps_per_s": 14.0,
        "spread": pytest.approx(0.4),
    }
    assert "the machine did not run evenly: the program of trial 0 made 10 to 14 steps a second" in status_sentence(
        document
    )


def test_on_a_budget_of_cpu_seconds_those_tell_how_even_it_was(store: Store) -> None:
    sentence = status_sentence(night(store, [10.0, 10.2, 14.0], kind="cpu_seconds"))
    assert "made 5 to 7 steps a CPU second; on a budget of CPU seconds that moves scores" in sentence


def test_an_even_machine_is_no_news(store: Store) -> None:
    assert "evenly" not in status_sentence(night(store, [10.0, 10.2, 10.4]))


def test_on_a_budget_of_steps_speed_moves_no_score(store: Store) -> None:
    assert night(store, [10.0, 14.0, 20.0], kind="steps")["machine"] is None


def test_the_incumbent_is_compared_over_all_measurements_even_without_a_shared_seed(store: Store) -> None:
    document = night(store, [10.0, 10.0, 10.0])
    incumbent = document["incumbent"]
    assert incumbent["n"] == 2
    assert incumbent["gain"] == pytest.approx((1.70 - 1.61) / 1.70)
    assert incumbent["gain_low"] < incumbent["gain"] < incumbent["gain_high"]
    assert document["noise"]["df"] == 3
    assert "on the baseline in the search, not corrected for selection (2 x measured)" in status_sentence(document)


def test_the_result_comes_first_with_its_interval_and_the_test_text(store: Store) -> None:
    document = night(store, [10.0, 10.0, 10.0], final=FINAL, stop_reason="limit")
    lines = status_sentence(document).splitlines()
    assert lines[0].endswith("on the baseline, re-measured on 2 fresh seeds")
    assert lines[0].startswith("result: trial 1 is +1.18 % [+0.40, +1.96] (1.6800 against 1.7000) on the baseline")
    assert lines[1].startswith("on the held-back test text: +0.90 %")
    assert "rule threshold, isolation L1" in lines[2]


def test_a_result_that_could_not_be_measured_says_why() -> None:
    failed = {**FINAL, "state": "failed", "n": 0, "seeds": [], "val": None, "test": None, "failures": ["out of luck"]}
    assert result_lines(failed) == ["result: not measured", "measuring the result: out of luck"]
    assert result_lines(None) == []


def test_the_log_of_a_run_shows_the_result_being_measured_and_then_the_result() -> None:
    said = StringIO()
    campaign = make_campaign().model_copy(update={"final": FINAL, "stop_reason": "limit"})
    observer = Lines(Console(file=said, width=200))
    observer.measuring_result(make_trial(campaign, 1), 1000)
    observer.measuring_result(make_trial(campaign, 0), 1000)
    observer.campaign_stopped(campaign)
    lines = said.getvalue().splitlines()
    assert lines[:2] == [
        "measuring the result: incumbent (trial 1), seed 1000",
        "measuring the result: baseline, seed 1000",
    ]
    assert lines[2].startswith("result: trial 1 is +1.18 % [+0.40, +1.96]")
    assert lines[-1] == "stopped: limit"


def test_the_live_view_shows_the_incumbents_gain_with_its_interval() -> None:
    kept = make_trial(make_campaign(), 4, metric=1.68, gain=0.012, gain_low=0.004, gain_high=0.02, n_measurements=3)
    assert incumbent_text(kept) == (
        "incumbent: trial 4, 1.6800, +1.20 % [+0.40, +2.00] on its parent, not corrected for selection, n = 3"
    )


def said(store: Store, *, at_work: bool = True, **fields: Any) -> tuple[str, str]:
    """The state of a campaign with these fields, and its sentence."""
    if not store.campaigns():
        store.add_campaign(make_campaign())
    campaign = store.campaigns()[0].model_copy(update=fields)
    document = status_document(store, campaign, at_work=at_work)
    return document["state"], status_sentence(document).splitlines()[1]


def test_the_state_is_what_the_loop_says_while_there_is_one(store: Store) -> None:
    assert said(store) == ("running", "running")
    paused: dict[str, Any] = {"state": CampaignState.PAUSED, "state_reason": "the disk is full"}
    assert said(store, **paused) == ("paused", "paused: the disk is full")
    waiting: dict[str, Any] = {"state": CampaignState.WAITING, "state_reason": "nim-8b does not answer"}
    assert said(store, **waiting) == ("waiting", "waiting: nim-8b does not answer")
    ended: dict[str, Any] = {"state": CampaignState.ENDED, "stop_reason": "limit of 5 trials reached"}
    assert said(store, **ended) == ("ended", "stopped: limit of 5 trials reached")


def test_a_loop_that_is_gone_is_called_dead(store: Store) -> None:
    state, sentence = said(store, at_work=False)
    assert state == "dead"
    assert sentence == "no loop is at work here any more; `nightshift run` goes on with the campaign"
    paused: dict[str, Any] = {"state": CampaignState.PAUSED, "state_reason": "the disk is full"}
    state, sentence = said(store, at_work=False, **paused)
    assert state == "dead"
    assert "it was last heard of: the disk is full" in sentence
    ended: dict[str, Any] = {"state": CampaignState.ENDED, "state_reason": "the branch was moved"}
    state, sentence = said(store, at_work=False, **ended)
    assert state == "ended"
    assert sentence == (
        "not finished, the loop ended: the branch was moved; `nightshift run` goes on with the campaign"
    )


def test_time_is_the_loops_own_whatever_the_clock_said(store: Store) -> None:
    campaign = make_campaign().model_copy(update={"active_s": 4000.0, "joules": 12.5})
    store.add_campaign(campaign)
    early = campaign.created_at - timedelta(hours=9)
    document = status_document(store, campaign.model_copy(update={"ended_at": early, "stop_reason": "limit"}))
    assert document["elapsed_s"] == 4000.0
    assert document["energy_joules"] == 12.5


def test_the_last_events_are_told(store: Store) -> None:
    campaign = make_campaign()
    store.add_campaign(campaign)
    for seq in range(12):
        store.add_event(
            Event(
                campaign_id=campaign.campaign_id,
                trial_seq=seq or None,
                kind=EventKind.ENDPOINT_LOST,
                text="nim-8b does not answer",
                created_at=campaign.created_at,
            )
        )
    events = status_document(store, campaign)["events"]
    assert [event["trial"] for event in events] == list(range(2, 12))
    assert events[0]["kind"] == "endpoint_lost"
    day = f"{campaign.created_at:%Y-%m-%d %H:%M} UTC"
    assert event_line(events[0]) == f"{day}  endpoint lost   trial 2: nim-8b does not answer"
    assert event_line({**events[0], "text": "going on at trial 2"}).endswith("lost   going on at trial 2")


def test_the_live_view_shows_why_it_stands_still_and_since_when() -> None:
    shown = held(CampaignState.WAITING, "nim-8b does not answer")
    assert shown is not None
    assert re.fullmatch(r"waiting for 0 s, since \d\d:\d\d: nim-8b does not answer", shown.text)
    assert held(CampaignState.RUNNING, None) is None
    assert held(CampaignState.ENDED, None) is None
