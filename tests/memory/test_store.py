"""The store's promises: one transaction a write, idempotent by id, `decide` the commit point."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings

from memory.records import Lesson, LineageBlock, MeasurementState, Phase, Span, Trial, utc_now
from memory.statistics.noise import Noise
from memory.store import Store
from rails.errors import HaltError
from rails.status import Status
from tests.support.rows import (
    START,
    CampaignRecords,
    campaigns_of_records,
    make_campaign,
    make_measurement,
    make_records,
    make_trial,
    write_records,
)


@pytest.fixture
def store(tmp_path: Path):
    with Store.open(tmp_path / "state" / "store.duckdb") as store:
        store.add_campaign(make_campaign())
        yield store


def decided(trial: Trial, status: Status = Status.DISCARD, **fields: Any) -> Trial:
    numbers = {"metric": 1.7} if status in {Status.KEEP, Status.DISCARD, Status.BASELINE} else {}
    fields = {"reason": "because", "decided_at": utc_now(), **numbers, **fields}
    return Trial.model_validate({**trial.model_dump(), "phase": Phase.DECIDED, "status": status, **fields})


def test_an_empty_store_has_nothing(tmp_path: Path):
    with Store.open(tmp_path / "store.duckdb") as store:
        assert store.latest_campaign() is None
        assert store.trials("nope") == []
        assert store.noise("nope") == Noise(sd=None, df=0)
        for read in (store.campaign, store.trial):
            with pytest.raises(KeyError, match="nope"):
                read("nope")


def test_what_is_written_is_read_back_after_reopening(tmp_path: Path):
    @settings(max_examples=5, deadline=None)
    @given(campaigns_of_records(max_trials=6))
    def check(records: CampaignRecords):
        path = tmp_path / "store.duckdb"
        path.unlink(missing_ok=True)
        with Store.open(path) as store:
            write_records(store, records)
            assert_holds(store, records)
        with Store.open(path) as store:
            assert_holds(store, records)

    check()


def assert_holds(store: Store, records: CampaignRecords) -> None:
    campaign_id = records.campaign.campaign_id
    assert store.campaigns() == [records.campaign]
    assert store.latest_campaign() == records.campaign
    assert store.trials(campaign_id) == records.trials
    assert store.campaign_measurements(campaign_id) == records.measurements
    assert store.lessons(campaign_id) == records.lessons
    for trial in records.trials:
        assert store.trial(trial.trial_id) == trial
        assert store.trial_by_seq(campaign_id, trial.seq) == trial
        assert store.calls(trial.trial_id) == records.of(records.calls, trial)
        assert store.verdicts(trial.trial_id) == records.of(records.verdicts, trial)
        assert store.measurements(trial.trial_id) == records.of(records.measurements, trial)
        assert store.spans(trial.trial_id) == records.of(records.spans, trial)
    for curve in records.curves:
        assert store.curve(curve.measurement_id) == curve
    for block in records.blocks:
        assert store.lineage_block(block.sha256) == block


def test_writing_the_same_record_again_changes_nothing(store: Store):
    records = make_records(2)
    trial = records.trials[1].model_copy(update={"phase": Phase.OPENED, "status": None, "metric": None})
    running = make_measurement(trial, 0, None, state=MeasurementState.RUNNING, finished_at=None)
    done = make_measurement(trial, 0, 1.7)
    block = LineageBlock(sha256="aa", campaign_id=trial.campaign_id, text="block", created_at=START)
    store.open_trial(trial)
    store.open_measurement(running)
    store.finish_measurement(done, None)
    writes: list[Callable[[], Any]] = [
        lambda: store.add_campaign(make_campaign()),
        lambda: store.open_trial(trial),
        lambda: store.add_calls(records.calls[:1]),
        lambda: store.add_verdicts(records.verdicts[:7]),
        lambda: store.add_lineage_block(block),
        lambda: store.add_lineage_block(block.model_copy(update={"created_at": utc_now()})),
        lambda: store.finish_measurement(done, None),
        lambda: store.update_trial(trial.trial_id, repairs=0),
        lambda: store.update_campaign(trial.campaign_id, stop_reason=None),
    ]
    for write in writes:
        write()
    revision = store.revision
    for write in writes:
        write()
    assert store.revision == revision


def test_another_record_under_the_same_id_is_refused_and_nothing_is_written(store: Store):
    trial = make_trial(store.campaigns()[0], 0)
    store.open_trial(trial)
    revision = store.revision
    with pytest.raises(HaltError, match="other content"):
        store.open_trial(trial.model_copy(update={"proposer": "other"}))
    with pytest.raises(HaltError, match="other content"):
        store.open_trial(trial.model_copy(update={"trial_id": "other"}))  # the same number
    with pytest.raises(HaltError, match="other content"):
        store.add_campaign(make_campaign().model_copy(update={"campaign_id": "other"}))  # the same tag
    calls = make_records(1).calls
    store.add_calls(calls)
    with pytest.raises(HaltError, match="other content"):
        store.add_calls([calls[0].model_copy(update={"call_id": "new"}), calls[0].model_copy(update={"error": "x"})])
    assert [call.call_id for call in store.calls(calls[0].trial_id)] == [calls[0].call_id]
    assert store.trials(trial.campaign_id) == [trial]
    assert store.revision == revision + 1


def test_a_trial_needs_its_campaign_and_a_measurement_its_trial(store: Store):
    trial = make_trial(store.campaigns()[0], 0)
    with pytest.raises(KeyError):
        store.open_trial(trial.model_copy(update={"campaign_id": "nope"}))
    with pytest.raises(KeyError):
        store.open_measurement(make_measurement(trial, 0, None, state=MeasurementState.RUNNING))
    with pytest.raises(KeyError):
        store.finish_measurement(make_measurement(trial, 0, 1.0), None)
    with pytest.raises(KeyError):
        store.decide(decided(trial), None, None, None)


def test_update_validates_the_whole_record(store: Store):
    trial = make_trial(store.campaigns()[0], 0)
    store.open_trial(trial)
    for fields in ({"nonsense": 1}, {"attempt": "1"}, {"gain": float("nan")}):
        with pytest.raises(ValueError):
            store.update_trial(trial.trial_id, **fields)
    assert store.trial(trial.trial_id) == trial
    assert store.update_trial(trial.trial_id, attempt=1, edit={"kind": "diff", "diff": "x"}).attempt == 1
    assert store.trial(trial.trial_id).edit == {"kind": "diff", "diff": "x"}


def test_only_the_keep_of_the_incumbent_is_undone_and_all_of_it_at_once(store: Store):
    baseline, first, second = (make_trial(store.campaigns()[0], seq) for seq in (0, 1, 2))
    for trial, parent, commit in ((baseline, None, None), (first, baseline, "a" * 40), (second, first, "b" * 40)):
        before = None if parent is None else parent.trial_id
        trial = trial.model_copy(update={"parent_trial_id": before, "parent_commit": store.campaigns()[0].head_commit})
        store.open_trial(trial)
        status = Status.KEEP if commit else Status.BASELINE
        kept = decided(trial, status, commit_sha=commit)
        store.decide(kept, commit, trial.trial_id, lesson_of(kept, "build on it"))
    trials = store.trials(first.campaign_id)
    undone = [decided(t, Status.DISQUALIFIED, metric=None, reason="it looks ahead") for t in trials]
    with pytest.raises(ValueError, match="only the keep of the incumbent"):
        store.undo_keep(undone[1], None)
    with pytest.raises(ValueError, match="only the keep of the incumbent"):
        store.undo_keep(trials[2].model_copy(update={"status": Status.DISCARD}), None)
    for _ in range(2):  # the second time changes nothing
        store.undo_keep(undone[2], lesson_of(undone[2], "leave it"))
        assert store.trials(first.campaign_id) == [*trials[:2], undone[2]]
        campaign = store.campaigns()[0]
        assert (campaign.incumbent_trial_id, campaign.head_commit) == (first.trial_id, "a" * 40)
        assert [lesson.text for lesson in store.lessons(first.campaign_id)] == [*["build on it"] * 2, "leave it"]
    with pytest.raises(ValueError, match="nothing changes it"):
        store.update_trial(second.trial_id, status=Status.KEEP, metric=1.0)


def lesson_of(trial: Trial, text: str) -> Lesson:
    return Lesson(trial_id=trial.trial_id, campaign_id=trial.campaign_id, text=text, source="rule", created_at=START)


def test_decide_moves_trial_head_and_lesson_together(store: Store):
    campaign = store.campaigns()[0]
    trial = make_trial(campaign, 1)
    store.open_trial(trial)
    lesson = Lesson(
        trial_id=trial.trial_id, campaign_id=campaign.campaign_id, text="t", source="rule", created_at=START
    )
    final = decided(trial, Status.KEEP, commit_sha="c" * 40)
    with pytest.raises(ValueError, match="is to be decided"):
        store.decide(trial, "c" * 40, trial.trial_id, lesson)
    store.decide(final, "c" * 40, trial.trial_id, lesson)
    assert store.trial(trial.trial_id) == final
    assert store.campaign(campaign.campaign_id).head_commit == "c" * 40
    assert store.campaign(campaign.campaign_id).incumbent_trial_id == trial.trial_id
    assert store.lessons(campaign.campaign_id) == [lesson]
    store.decide(final.model_copy(update={"decided_at": utc_now(), "total_s": 9.0}), "c" * 40, trial.trial_id, lesson)
    assert store.trial(trial.trial_id) == final


def test_a_decision_is_final(store: Store):
    trial = make_trial(store.campaigns()[0], 1)
    store.open_trial(trial)
    with pytest.raises(ValueError, match="only decide"):
        store.update_trial(trial.trial_id, phase=Phase.DECIDED, status=Status.DISCARD, metric=1.0)
    store.decide(decided(trial), None, None, None)
    with pytest.raises(HaltError):
        store.decide(decided(trial, Status.KEEP), "c", trial.trial_id, None)
    with pytest.raises(ValueError, match="only decide"):
        store.update_trial(trial.trial_id, phase=Phase.RUNNING)
    assert store.update_trial(trial.trial_id, metric=1.8, n_measurements=2).metric == 1.8
    assert store.campaigns()[0].incumbent_trial_id is None


def test_a_failed_decision_leaves_everything_as_it_was(store: Store):
    campaign = store.campaigns()[0]
    trial = make_trial(campaign, 1)
    store.open_trial(trial)
    broken = Lesson(trial_id="other", campaign_id=campaign.campaign_id, text="t", source="rule", created_at=START)
    broken = broken.model_copy(update={"created_at": START.replace(tzinfo=None)})
    with pytest.raises(ValueError, match="time zone"):
        store.decide(decided(trial, Status.KEEP), "c" * 40, trial.trial_id, broken)
    assert store.trial(trial.trial_id) == trial
    assert store.campaign(campaign.campaign_id) == campaign


def test_a_measurement_can_begin_again_until_it_has_a_score(store: Store):
    trial = make_trial(store.campaigns()[0], 1)
    store.open_trial(trial)
    running = make_measurement(trial, 0, None, state=MeasurementState.RUNNING, finished_at=None)
    store.open_measurement(running)
    again = running.model_copy(update={"attempt": 2})
    store.open_measurement(again)
    assert store.measurements(trial.trial_id) == [again]
    with pytest.raises(HaltError):
        store.open_measurement(running)
    with pytest.raises(ValueError):
        store.finish_measurement(running, None)
    done = make_measurement(trial, 0, 1.7, attempt=2)
    store.finish_measurement(done, None)
    for late in (running.model_copy(update={"attempt": 3}), done.model_copy(update={"score": 1.6})):
        with pytest.raises(HaltError):
            (store.open_measurement if late.score is None else lambda m: store.finish_measurement(m, None))(late)


def test_spans_add_up(store: Store):
    span = Span(trial_id="t", node="train", part="self", seconds=1.0)
    store.add_spans([span])
    store.add_spans([span])
    store.add_spans([])
    assert store.spans("t") == [span, span]


def test_tried_programs_are_those_that_ran(store: Store):
    campaign = store.campaigns()[0]
    statuses = [Status.BASELINE, Status.DISCARD, Status.CRASH, Status.RAIL_BLOCKED, Status.INTERRUPTED, Status.KEEP]
    for seq, status in enumerate(statuses):
        idea = None if seq == 0 else "i"  # the baseline is of a store of before
        trial = make_trial(campaign, seq, program_key=f"p{min(seq, 4)}", idea_key=idea)
        store.open_trial(trial)
        store.decide(decided(trial, status), None, None, None)
    store.open_trial(make_trial(campaign, 6, program_key="p6"))
    assert store.tried_programs(campaign.campaign_id) == {
        "p0": "trial 0: baseline, 1.7000",
        "p1": "trial 1: discard, 1.7000",
        "i": "trial 1: discard, 1.7000",
        "p2": "trial 2: crash",
        "p4": "trial 5: keep, 1.7000",
    }


def test_trials_stay_in_order_of_their_numbers(store: Store):
    campaign = store.campaigns()[0]
    assert store.trials(campaign.campaign_id) == []
    for seq in (1, 3, 2):
        store.open_trial(make_trial(campaign, seq))
    assert [trial.seq for trial in store.trials(campaign.campaign_id)] == [1, 2, 3]
