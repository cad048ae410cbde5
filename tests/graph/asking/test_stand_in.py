"""A model that finds no form that the rails take costs no trial: somebody stands in, and the record says so."""

import json
from pathlib import Path

import pytest

from agents.scripted import ScriptedProposer
from agents.statistical.proposers import TpeProposer
from graph.campaign.options import RunOptions
from graph.runner import Runner
from memory.records import Call, Origin, Trial
from rails.status import Status
from tests.support.workspaces import make_quick_workspace, standin_campaign

GOOD = json.dumps({"knob": "rows", "new_value": 16, "reason": "more rows"})
OUTSIDE = json.dumps({"knob": "rows", "new_value": -1, "reason": "fewer rows"})


def run(root: Path, replies: list[str], *, trials: int = 1, stand_in: bool = True) -> tuple[list[Trial], list[Call]]:
    model = ScriptedProposer(replies, repairs_crashes=True)
    with standin_campaign(root, options=RunOptions(trials=trials), proposer=model) as services:
        services.stand_in = TpeProposer() if stand_in else None
        campaign = Runner(services).run()
        rows = [trial for trial in services.store.trials(campaign.campaign_id) if trial.seq]
        return rows, [call for trial in rows for call in services.store.calls(trial.trial_id)]


def test_when_all_corrections_were_refused_the_search_proposes(tmp_path: Path) -> None:
    (trial,), calls = run(make_quick_workspace(tmp_path), ["no", "still no", "never"])
    assert trial.status in {Status.KEEP, Status.DISCARD}
    assert (trial.proposer, trial.origin, trial.attempt) == ("tpe", Origin.FALLBACK, 3)
    assert [call.proposer for call in calls] == ["scripted"] * 3 + ["tpe"]


def test_the_same_reply_twice_ends_the_corrections(tmp_path: Path) -> None:
    (first, second), calls = run(make_quick_workspace(tmp_path), [OUTSIDE, OUTSIDE, GOOD], trials=2)
    assert (first.proposer, first.attempt) == ("tpe", 2)
    assert (second.proposer, second.origin) == ("scripted", Origin.SEARCH)
    assert len(calls) == 4


@pytest.mark.system
def test_without_a_stand_in_the_trial_is_blocked_and_keeps_what_it_was_about(tmp_path: Path) -> None:
    replies = [GOOD, GOOD, GOOD]
    (kept, blocked), _ = run(make_quick_workspace(tmp_path), replies, trials=2, stand_in=False)
    assert kept.status in {Status.KEEP, Status.DISCARD}
    assert blocked.status is Status.RAIL_BLOCKED and blocked.attempt == 1
    assert blocked.edit_key == "rows=16" and blocked.hypothesis == "more rows"
