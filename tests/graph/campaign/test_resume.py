"""Going on with a night that was killed: where exactly, under which limits, and that it says so."""

from pathlib import Path
from typing import Any

import pytest

from agents.base import NoReplyError, ProposalContext, Reply
from agents.scripted import ScriptedProposer
from graph.campaign.options import RunOptions
from graph.night import run_night
from graph.watching.events import Observer
from graph.watching.resume_point import ResumePoint, Step
from memory.records import EventKind
from tests.support.nights import Endpoint, Killed, Listener, kill, record, rows
from tests.support.variants import firsts
from tests.support.workspaces import make_quick_workspace, standin_campaign


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return make_quick_workspace(tmp_path)


RESUME_POINTS = [
    ("training 1", ResumePoint(step=Step.TRAIN, trial_seq=1, target_seq=1, seed_index=0)),
    ("measured 0", ResumePoint(step=Step.TRAIN, trial_seq=0, target_seq=0, seed_index=1, stored=1, planned=3)),
    ("decided 1", ResumePoint(step=Step.OPEN, trial_seq=2)),
    ("opened 0", ResumePoint(step=Step.TRAIN, trial_seq=0, target_seq=0, seed_index=0, planned=3)),
    ("opened 1", ResumePoint(step=Step.PROPOSE, trial_seq=1)),
    ("measured 1", ResumePoint(step=Step.DECIDE, trial_seq=1, stored=1)),
    ("decided 2", ResumePoint(step=Step.OPEN, trial_seq=3)),
]
"""Where the loop is killed, and where it says that it goes on."""


@pytest.mark.parametrize(("at", "resume_point"), firsts(1, RESUME_POINTS))
def test_going_on_says_exactly_where(tmp_path: Path, at: str, resume_point: ResumePoint) -> None:
    root = make_quick_workspace(tmp_path, baseline_seeds=3)
    options = RunOptions(proposer="random", trials=2)
    with pytest.raises(Killed):
        run_night(root, options, Listener(at, kill))
    listener = Listener()
    campaign = run_night(root, options, listener)
    assert listener.resume_points == [resume_point]
    assert campaign.stop_reason == "limit of 2 trials reached"
    _, trials, events = record(root)
    assert [trial.seq for trial in trials] == [0, 1, 2]
    assert (events[0].kind, events[0].text) == (EventKind.RESUMED, resume_point.sentence)


@pytest.mark.system
def test_a_second_proposal_is_gone_on_with_as_such(root: Path) -> None:
    class Dies(Endpoint):
        def propose(self, context: ProposalContext) -> Reply:
            if context.attempt == 1 and len(self.script) == 2:
                self.script.pop(0)
                kill()
            return super().propose(context)

    proposer = Dies("no json", "never said", rows(16))
    proposer.check_ready = lambda: None
    options = RunOptions(trials=1)
    with pytest.raises(Killed):
        run_night(root, options, Observer(), proposer)
    listener = Listener()
    run_night(root, options, listener, proposer)
    assert listener.resume_points == [ResumePoint(step=Step.PROPOSE, trial_seq=1, attempt=1)]
    assert listener.resume_points[0] is not None
    assert listener.resume_points[0].sentence == "going on at trial 1, attempt 2: proposing"


@pytest.mark.system
def test_a_night_killed_in_the_finale_goes_on_in_it(tmp_path: Path) -> None:
    root = make_quick_workspace(tmp_path, final_seeds=2)
    proposer = ScriptedProposer([rows(32)])
    with pytest.raises(Killed):
        run_night(root, RunOptions(trials=1), Listener("result 1 1000", kill), proposer)
    listener = Listener()
    campaign = run_night(root, RunOptions(), listener, proposer)
    resume_point = listener.resume_points[0]
    assert resume_point is not None
    assert resume_point.sentence == "going on with the result: seed 1000, 1 of 4 measured"
    assert campaign.stop_reason == "limit of 1 trials reached"
    assert campaign.final is not None
    assert campaign.final["n"] == 2


def test_sentences_of_a_resume_point() -> None:
    def said(step: Step, **fields: Any) -> str:
        return ResumePoint(step=step, trial_seq=7, **fields).sentence

    assert said(Step.OPEN) == "going on with trial 7"
    assert said(Step.CHECK, attempt=1) == "going on at trial 7, attempt 2: checking the reply that is stored"
    own = said(Step.TRAIN, attempt=1, target_seq=7, seed_index=1, stored=1, planned=3)
    assert own == "going on at trial 7, attempt 2: training with seed 1, 1 of 3 measured"
    other = said(Step.TRAIN, target_seq=3, seed_index=2, stored=2)
    assert other == "going on at trial 7, attempt 1: training the program of trial 3 with seed 2, 2 measured"
    assert said(Step.DECIDE, stored=2) == "going on at trial 7, attempt 1: deciding, 2 measured"


@pytest.mark.system
def test_a_night_that_goes_on_keeps_its_limits_and_takes_new_ones(root: Path) -> None:
    with pytest.raises(Killed):
        run_night(root, RunOptions(proposer="random", trials=5, hours=3.0), Listener("decided 1", kill))
    campaign = run_night(root, RunOptions(trials=2), Observer())
    assert campaign.stop_reason == "limit of 2 trials reached"
    assert campaign.limits["trials"] == 2
    assert campaign.limits["hours"] == 3.0


@pytest.mark.system
def test_hours_do_not_start_anew_when_a_night_goes_on(root: Path) -> None:
    options = RunOptions(proposer="random", trials=5, hours=1.0)
    with pytest.raises(Killed):
        run_night(root, options, Listener("decided 1", kill))
    with standin_campaign(root, options=RunOptions()) as services:
        services.store.update_campaign(services.campaign_id, active_s=3600.0)
    campaign = run_night(root, RunOptions(), Observer())
    assert campaign.stop_reason == "limit of 1 hours reached"
    assert len(record(root)[1]) == 2


def test_a_dead_endpoint_refuses_a_new_campaign_and_never_one_that_goes_on(root: Path) -> None:
    (root / "models.toml").write_text('[models.local]\nbase_url = "http://127.0.0.1:9/v1"\nmodel = "none"\n')
    with pytest.raises(NoReplyError):
        run_night(root, RunOptions(proposer="local", trials=1), Observer())
    assert not (root / ".nightshift" / "snapshot").exists()
    with standin_campaign(root, options=RunOptions(proposer="random", trials=1)) as services:
        services.store.update_campaign(services.campaign_id, proposer="local")
    with standin_campaign(root, options=RunOptions()) as services:
        assert services.proposer.name == "local"
