"""The picture of `nightshift watch`: fits every terminal, says what is known, and nothing that is not."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rich.cells import cell_len

from cli.show.status import status_document
from cli.watch.view import Size, picture
from cli.watch.watcher import Record, Remaining, Sight, remaining, trials_per_hour
from graph.watching.live import LiveState, LiveTraining
from memory.records import CampaignState, Event, EventKind, Trial
from memory.store import Store
from rails.status import Status
from tests.support.examples import examples
from tests.support.rows import START, make_campaign, make_records, make_trial, write_records

NOW_S = 5_000.0


@pytest.fixture(scope="module")
def record(tmp_path_factory: pytest.TempPathFactory) -> Record:
    """Of a campaign of 40 trials with an event."""
    with Store.open(tmp_path_factory.mktemp("view") / "store.duckdb") as store:
        records = make_records(40, seed=2)
        write_records(store, records)
        campaign_id = records.campaign.campaign_id
        store.update_campaign(campaign_id, active_s=3600.0, joules=7.2e6)
        text = "the endpoint m-8b does not answer"
        store.add_event(
            Event(campaign_id=campaign_id, kind=EventKind.ENDPOINT_LOST, text=text, created_at=START, trial_seq=3)
        )
        campaign = store.campaign(campaign_id).model_copy(update={"limits": {"trials": 100}})
        return Record(
            campaign=campaign,
            trials=store.trials(campaign_id),
            document={**status_document(store, campaign), "events": store.events(campaign_id)},
            best_curve=tuple((step / 20, 4.0 - step / 20) for step in range(21)),
        )


def live(**fields: Any) -> LiveState:
    training = LiveTraining(
        measured=41,
        seed_index=0,
        step=10,
        tokens=640,
        elapsed_s=8.6,
        loss=3.2145,
        fraction=0.43,
        curve=[(step / 100, 5.0 - step / 40) for step in range(44)],
    )
    known: dict[str, Any] = {
        "pid": 1,
        "host": "h",
        "started_s": 1.0,
        "monotonic_s": NOW_S - 2.0,
        "campaign_id": "c-night",
        "active_s": 3700.0,
        "budget": {"kind": "seconds", "amount": 20.0},
        "trial": 41,
        "edit": "lr=0.02",
        "phase": "training",
        "phase_since_s": NOW_S - 10.0,
        "training": training,
    }
    return LiveState(**{**known, **fields})


def sight(record: Record | None, state: LiveState | None, **fields: Any) -> Sight:
    return Sight(now_s=NOW_S, record=record, live=state, at_work=state is not None, **fields)


def test_at_80_by_24_everything_is_in_sight(record: Record) -> None:
    lines = picture(sight(record, live()), Size(80, 24))
    assert len(lines) == 24
    text = "\n".join(lines)
    assert lines[0].startswith("nightshift autoresearch/night")
    assert lines[0].endswith("running 1:01:42")
    assert f"baseline {record.trials[0].metric:.4f} ± " in text
    assert "keep rate" in text
    assert "2 kWh" in text
    assert " trials left: about" in text
    assert "trial 41 lr=0.02: training, seed 0" in text
    assert "43 %  step 10, 8.6 of 20 s  loss 3.2145" in text
    assert "dotted: the best so far" in text
    assert any(line.split()[:2] == ["40", str(record.trials[-1].status).replace("_", " ").split()[0]] for line in lines)
    assert "endpoint lost: the endpoint m-8b does not answer" in text
    assert lines[-1] == "q quits"


@given(
    st.integers(20, 160),
    st.integers(4, 60),
    st.booleans(),
    st.sampled_from(["starting", "proposing", "checking", "launching", "training", "scoring", "deciding", "between"]),
    st.sampled_from(CampaignState),
    st.booleans(),
)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=examples(60))
def test_it_fits_every_terminal(
    record: Record, width: int, height: int, plain: bool, phase: str, state: CampaignState, known: bool
) -> None:
    seen = sight(record if known else None, live(phase=phase, state=state, state_reason="why " * 30))
    for one in (seen, replace(seen, live=None), replace(seen, live=None, at_work=False, trouble="torn " * 40)):
        lines = picture(one, Size(width, height, plain))
        assert len(lines) == height
        assert max(cell_len(line) for line in lines) <= width
        assert not plain or all(line.isascii() for line in lines)


def test_printed_once_it_is_no_longer_than_what_there_is_to_say(record: Record) -> None:
    lines = picture(sight(record, None), Size(100, 60, once=True))
    assert "q quits" not in lines
    assert len(lines) < 60
    assert picture(sight(None, None), Size(100, 60, once=True))[1] == "no campaign has begun here yet; waiting for one"


@pytest.mark.parametrize(
    ("state", "at_work", "campaign_state", "said"),
    [
        (None, False, CampaignState.RUNNING, "no loop is at work here any more"),
        (None, True, CampaignState.RUNNING, "the loop is starting"),
        (None, False, CampaignState.ENDED, "not finished, the loop ended"),
        (live(state=CampaignState.PAUSED, state_since_s=NOW_S - 65.0), True, None, "paused for 65 s"),
        (live(state=CampaignState.WAITING, state_since_s=NOW_S, state_reason="429"), True, None, "waiting for 0 s"),
        (live(trial=None, preparing="reading 25 %", training=None), True, None, "preparing data: reading 25 %"),
        (live(phase="scoring", phase_since_s=NOW_S - 3.0), True, None, "scoring"),
        (live(phase="proposing", attempt=1, training=None), True, None, "proposing, attempt 2"),
        (live(result=True), True, None, "result: trial 41 lr=0.02: training"),
    ],
)  # fmt: skip
def test_every_state_is_told(
    record: Record, state: LiveState | None, at_work: bool, campaign_state: CampaignState | None, said: str
) -> None:
    campaign = record.campaign.model_copy(update={"state": campaign_state or CampaignState.RUNNING})
    seen = Sight(now_s=NOW_S, record=replace(record, campaign=campaign), live=state, at_work=at_work)
    assert said in "\n".join(picture(seen, Size(80, 24)))


def test_what_the_trial_in_hand_has_cost_is_in_the_spend(record: Record) -> None:
    """The snapshot has the decided trials only; whichever of the two is older does not take anything back."""
    record = replace(record, campaign=record.campaign.model_copy(update={"limits": {"usd": 1.0}}))
    paid = replace(record, document={**record.document, "usd": 0.25})
    for published, said, shown in ((record, 0.31, 0.31), (paid, 0.31, 0.31), (paid, 0.2, 0.25), (paid, None, 0.25)):
        seen = sight(published, live(campaign_id=record.campaign.campaign_id, usd=said, joules=9.0e6))
        assert (seen.usd, seen.joules) == (shown, 9.0e6)
        text = "\n".join(picture(seen, Size(80, 24)))
        assert f"{shown:.4g} usd · 2.5 kWh" in text
        assert f"{1.0 - shown:.3g} usd left" in text
    another = sight(paid, live(campaign_id="c-another", usd=7.0, joules=9.9e9))
    assert (another.usd, another.joules) == (0.25, 7.2e6)
    over = sight(paid, None)
    assert (over.usd, over.joules) == (0.25, 7.2e6)


def test_the_clock_stands_while_paused(record: Record) -> None:
    assert sight(record, live()).active_s == pytest.approx(3702.0)
    assert sight(record, live(state=CampaignState.PAUSED)).active_s == pytest.approx(3700.0)
    assert sight(record, None).active_s == pytest.approx(3600.0)


def test_text_of_models_and_programs_does_nothing_to_the_terminal(record: Record) -> None:
    evil = "\x1b[2J\x9b31m\u202e[red]x\nnext"
    trial = record.trials[-1].model_copy(
        update={"edit_key": evil, "reason": evil, "status": Status.CRASH, "metric": None}
    )
    seen = sight(replace(record, trials=[*record.trials[:-1], trial]), live(edit=evil, note=evil, note_since_s=NOW_S))
    for size in (Size(80, 24), Size(140, 40), Size(140, 40, plain=True)):
        text = "\n".join(picture(seen, size))
        assert not {"\x1b", "\x9b", "\u202e"} & set(text)
        assert "[red]" in text


def test_what_is_not_known_is_not_made_up(record: Record) -> None:
    campaign = record.campaign.model_copy(update={"joules": None, "limits": {}})
    nothing = replace(record, campaign=campaign, trials=[], document={**record.document, "baseline": None, "usd": None})
    text = "\n".join(picture(sight(nothing, live(training=None)), Size(80, 24)))
    assert "energy not measured" in text
    assert "no model costs" in text
    assert "baseline: not measured yet" in text
    assert "left" not in text
    assert "an hour" not in text


def trials(*seconds: float, usd: float | None = None) -> list[Trial]:
    made = [make_trial(make_campaign(), 0, status=Status.BASELINE, metric=1.0, total_s=90.0)]
    for number, total_s in enumerate(seconds, start=1):
        made.append(make_trial(make_campaign(), number, status=Status.DISCARD, metric=1.0, total_s=total_s, usd=usd))
    return made


def test_the_rate_is_that_of_the_last_trials() -> None:
    assert trials_per_hour([]) is None
    assert trials_per_hour(trials()) is None
    assert trials_per_hour(trials(36.0)) == pytest.approx(100.0)
    assert trials_per_hour(trials(*[1000.0] * 10, *[36.0] * 20)) == pytest.approx(100.0)


@pytest.mark.parametrize(
    ("limits", "expected"),
    [
        ({}, None),
        ({"trials": 0, "hours": 0.0}, None),
        ({"trials": 10}, Remaining("6 trials", 360.0)),
        ({"trials": 5}, Remaining("1 trial", 60.0)),
        ({"trials": 2}, Remaining("0 trials", 0.0)),
        ({"hours": 1.0}, Remaining("0.9 hours", 3360.0)),
        ({"trials": 1000, "hours": 0.1}, Remaining("0.0 hours", 120.0)),
        ({"usd": 1.0}, Remaining("0.6 usd", 360.0)),
        ({"joules": 600.0, "usd": 100.0}, Remaining("300 joules", 240.0)),
    ],
)
def test_the_limit_that_comes_first_is_told(limits: dict[str, Any], expected: Remaining | None) -> None:
    found = remaining(limits, trials(60.0, 60.0, 60.0, 60.0, usd=0.1), 240.0, 0.4, 300.0)
    assert (found is None) == (expected is None)
    if found is not None and expected is not None:
        assert found.what == expected.what
        assert found.seconds == pytest.approx(expected.seconds)


def test_a_limit_without_a_pace_is_told_without_a_time() -> None:
    assert remaining({"trials": 10}, [], 5.0, None, None) == Remaining("10 trials", None)
    assert remaining({"joules": 10.0}, [], 5.0, None, None) is None


def test_an_old_note_makes_room_for_the_last_event(record: Record) -> None:
    fresh = picture(sight(record, live(note="measuring again", note_since_s=NOW_S - 5)), Size(80, 24))
    old = picture(sight(record, live(note="measuring again", note_since_s=NOW_S - 500)), Size(80, 24))
    assert "measuring again" in fresh
    assert "measuring again" not in old
