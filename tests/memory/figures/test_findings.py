"""Who found what, by hand: specialists, origins and the critic; and the same from a store, a snapshot and records."""

from pathlib import Path
from typing import Any

import pytest

from cli.show.found import found_document, found_lines
from memory.figures.findings import Findings
from memory.figures.reading import data_of_records, read_report_data
from memory.publish import publish
from memory.reader import Reader
from memory.record_set import RecordSet
from memory.records import Call, CallRole, Origin
from memory.store import Store
from rails.status import Status
from tests.support.report_data import Night
from tests.support.rows import START, CampaignRecords, write_records

SPECIALISTS = {"schedule": {"focus": "when"}, "architecture": {"focus": "what"}, "batch": {"focus": "how much"}}


SIMPLER = {"kind": "simpler"}


def gain(of: float, half: float) -> dict[str, Any]:
    return {"gain": of, "gain_low": of - half, "gain_high": of + half}


def call(trial_id: str, position: int, role: CallRole = CallRole.PROPOSE, **fields: Any) -> Call:
    row: dict[str, Any] = {
        "call_id": f"{trial_id}-{position}",
        "trial_id": trial_id,
        "attempt": 0,
        "position": position,
        "proposer": "hybrid:mine",
        "model": "mine",
        "role": role,
        "latency_s": 2.0,
        "prompt_tokens": 100,
        "completion_tokens": 10,
        "usd": 0.01,
        "created_at": START,
    }
    return Call(**{**row, **fields})


def records() -> RecordSet:
    night = Night([2.0, 2.02, 1.98])
    night.campaign = night.campaign.model_copy(update={"task": night.campaign.task | {"specialists": SPECIALISTS}})
    passed, veto = {"verdict": "pass"}, {"verdict": "veto", "ground": "refuted", "reason": "as trial 1"}
    revise = {"verdict": "revise", "draft": {"kind": "knob", "knob": "lr", "value": 1}, "revised": True}
    architect, scheduler = {"specialist": "architecture"}, {"specialist": "schedule"}
    who: list[tuple[Status, list[float], dict[str, Any]]] = [
        (Status.KEEP, [1.9, 1.91], {**architect, "origin": Origin.CODE, "critique": revise, **gain(0.04, 0.01)}),
        (Status.KEEP, [1.89], {**architect, "origin": Origin.CODE, **gain(0.001, 0.01)}),
        (Status.KEEP, [1.9], {**scheduler, "origin": Origin.MODEL, "decision": SIMPLER, **gain(0.01, 0.001)}),
        (Status.DISQUALIFIED, [], {**scheduler, "origin": Origin.CHOICE, "commit_sha": "a" * 40, **gain(0.1, 0.01)}),
        (Status.CRASH, [], {"origin": Origin.SEARCH, "critique": revise}),
        (Status.RAIL_BLOCKED, [], {"origin": Origin.FALLBACK, "critique": veto}),
        (Status.DISCARD, [2.1], {"origin": Origin.SEARCH, "critique": passed}),
    ]
    trials = [night.add(status, scores, **fields) for status, scores, fields in who]
    calls = [
        call(trials[0].trial_id, 0),
        call(trials[0].trial_id, 1, CallRole.CRITIC, usd=None, latency_s=0.5),
        call(trials[0].trial_id, 2, CallRole.LESSON),
        call(trials[1].trial_id, 0, prompt_tokens=None, usd=None),
        call(trials[6].trial_id, 0, model=None),
    ]
    return RecordSet(campaign=night.campaign, trials=night.trials, measurements=night.measurements, calls=calls)


@pytest.fixture(scope="module")
def found() -> Findings:
    return data_of_records(records()).found


def test_specialists_in_the_tasks_order(found: Findings) -> None:
    schedule, architecture = found.specialists
    assert (schedule.name, architecture.name) == ("schedule", "architecture"), "who proposed nothing is not listed"
    assert (schedule.trials, schedule.keeps, schedule.simpler, schedule.confirmed, schedule.gain) == (2, 1, 1, 0, 0.0)
    assert (architecture.trials, architecture.keeps, architecture.confirmed) == (2, 2, 1)
    assert architecture.gain == pytest.approx(0.04), "a keep that may be noise is none of the gain"
    assert architecture.seconds == 20.0
    assert (architecture.prompt_tokens, architecture.completion_tokens, architecture.usd) == (100, 20, 0.01)
    assert (schedule.prompt_tokens, schedule.usd) == (None, None)


def test_origins(found: Findings) -> None:
    assert [(row.name, row.trials, row.keeps) for row in found.origins] == [
        ("search", 2, 0),
        ("model", 1, 1),
        ("choice", 1, 0),
        ("code", 2, 2),
        ("fallback", 1, 0),
    ]


def test_the_critic(found: Findings) -> None:
    critic = found.critic
    assert critic is not None
    assert (critic.asked, critic.passed, critic.revise, critic.vetoed) == (4, 1, 2, 1)
    drafts = critic.redrafts
    assert (drafts.trials, drafts.keeps, drafts.confirmed, drafts.discarded, drafts.failed) == (2, 1, 1, 0, 1)
    assert (critic.calls, critic.prompt_tokens, critic.seconds, critic.usd) == (1, 100, 0.5, None)


def test_store_snapshot_and_records_say_the_same(found: Findings, tmp_path: Path) -> None:
    made = records()
    whole = CampaignRecords(made.campaign, list(made.trials), list(made.measurements), calls=list(made.calls))
    with Store.open(tmp_path / "store.duckdb") as store:
        write_records(store, whole)
        publish(store, tmp_path / "snapshot")
        stored = read_report_data(store, store.campaign(made.campaign.campaign_id))
    with Reader.open(tmp_path / "snapshot") as reader:
        read = read_report_data(reader, made.campaign)
    assert found_document(stored.found) == found_document(read.found) == found_document(found)


def test_it_is_told_in_a_few_lines(found: Findings) -> None:
    assert found_lines(found_document(found)) == [
        "found by specialist: schedule kept 1 of 2, 1 as simpler, 20 s; "
        "architecture kept 2 of 2, +4.00 % confirmed, 20 s",
        "found by origin: the search kept 0 of 2, 20 s; the model kept 1 of 1, 1 as simpler, 10 s; "
        "the model, among the search's moves kept 0 of 1, 10 s; "
        "the model, as code kept 2 of 2, +4.00 % confirmed, 20 s; the fallback kept 0 of 1, 10 s",
        "critic: asked about 4 proposals, 1 passed, 2 to revise, 1 vetoed, of 2 changed drafts 1 kept "
        "(+4.00 % confirmed); 1 call, 110 tokens, 0 s",
    ]


def test_where_one_proposer_did_everything_nothing_is_told() -> None:
    night = Night([2.0])
    night.add(Status.DISCARD, [2.1], origin=Origin.SEARCH)
    found = night.data().found
    assert not found.worth_telling
    assert found_lines(found_document(found)) == []
