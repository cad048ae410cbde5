"""Trainings ahead change how long a night takes, and no score and no decision; and what is scored is still alone."""

from pathlib import Path
from typing import Any

import psutil
import pytest

import tools.gpt
from agents.base import ProposalContext, Reply, local_call
from graph.campaign.options import RunOptions
from graph.runner import Runner
from graph.watching.events import Observer
from memory.records import Measurement, MeasurementState
from memory.store import Store
from rails.status import Status
from tests.support.nights import Killed, Listener, kill
from tests.support.variants import first
from tests.support.workspaces import STANDIN, make_quick_workspace, standin_campaign
from tools.beside import TrainingsBeside
from tools.gpt import GptBackend, TrainedModel
from trainer.launch.supervisor import TRIAL

REPLIES = [
    f'{{"knob": "{knob}", "new_value": {value}, "reason": "a test"}}'
    for knob, value in (("rows", 32), ("decay", 0.6), ("smoothing", 2.0))
]


def workspace(folder: Path, rule: str = "threshold", source: str = "") -> Path:
    return make_quick_workspace(folder, rule=rule, max_measurements=3, baseline_seeds=3, final_seeds=3, source=source)


def night(root: Path, observer: Observer | None = None) -> None:
    """Run its three trials, or what is left of them."""
    options = RunOptions(trials=len(REPLIES), seed=3)
    with standin_campaign(root, proposer=ByTrial(), observer=observer, options=options) as services:
        Runner(services).run()


class ByTrial:
    """Proposes the same in a trial whenever it is asked."""

    name = "scripted"
    repairs_crashes = False

    def check_ready(self) -> None:
        """It always is."""

    def propose(self, context: ProposalContext) -> Reply:
        said = REPLIES[context.trial_seq - 1]
        return Reply(raw=said, calls=(local_call(said, 0.0),))


@pytest.fixture
def pairs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two at once, however few cores there are."""
    monkeypatch.setattr(tools.gpt, "room_beside", lambda *_: 1)


@pytest.fixture
def taken(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The seeds of trainings that were begun ahead and then asked for."""
    found, take = list[int](), TrainingsBeside.take

    def taking(beside: TrainingsBeside, program: str, seed: int) -> Any:
        got = take(beside, program, seed)
        found.extend([seed] if got is not None else [])
        return got

    monkeypatch.setattr(TrainingsBeside, "take", taking)
    return found


def measurements(root: Path) -> list[Measurement]:
    with Store.open(root / ".nightshift" / "store.duckdb") as store:
        (campaign,) = store.campaigns()
        return store.campaign_measurements(campaign.campaign_id)


def story(root: Path) -> list[tuple[str, int, str, float | None, float | None]]:
    """Every measurement in order, without its seconds."""
    return [
        (m.trial_id.rpartition("-")[2], m.seed_index, m.purpose.value, m.score, m.test_score)
        for m in measurements(root)
    ]


@pytest.mark.system
@pytest.mark.parametrize("rule", first(1, ["threshold", "sequential"]))
def test_a_night_of_pairs_is_the_night_of_singles(
    rule: str, tmp_path: Path, taken: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(GptBackend, "wall_clock", property(lambda backend: rule == "sequential"))
    night(single := workspace(tmp_path / "single", rule))
    assert not taken
    monkeypatch.setattr(tools.gpt, "room_beside", lambda *_: 1)
    night(paired := workspace(tmp_path / "paired", rule))
    searched = [row for row in story(single) if row[2] == "search"]
    assert story(paired)[: len(searched)] == searched
    assert sorted(story(paired)) == sorted(story(single)), "a result is measured in another order, and is the same"
    assert rule == "sequential" or len(story(paired)) == len(searched) + 6, "there is a result"
    assert len(taken) >= len(story(paired)) / 4, "many were ready when they were asked for"


@pytest.mark.system
@pytest.mark.usefixtures("pairs")
def test_what_is_scored_is_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    states, score = list[list[bool]](), GptBackend.score

    def scoring(backend: GptBackend, model: TrainedModel) -> Any:
        found = [process for process in psutil.Process().children(recursive=True) if process.name() == TRIAL.decode()]
        states.append(sorted(process.status() == psutil.STATUS_STOPPED for process in found))
        return score(backend, model)

    monkeypatch.setattr(GptBackend, "score", scoring)
    night(workspace(tmp_path))
    assert all(held.count(False) == 1 for held in states), "one runs, and it is the one that is scored"
    assert any(held.count(True) for held in states), "others wait meanwhile"


@pytest.mark.system
@pytest.mark.usefixtures("pairs")
@pytest.mark.parametrize("moment", first(1, ["measured 1", "training 0", "result 0 1001"]))
def test_a_night_that_was_killed_goes_on_as_it_would_have(moment: str, tmp_path: Path) -> None:
    whole, killed = workspace(tmp_path / "whole"), workspace(tmp_path / "killed")
    night(whole)
    before = len(psutil.Process().children(recursive=True))
    with pytest.raises(Killed):
        night(killed, Listener(moment, kill))
    assert len(psutil.Process().children(recursive=True)) <= before, "no training is left behind"
    night(killed)
    assert story(killed) == story(whole)


@pytest.mark.slow
@pytest.mark.usefixtures("pairs")
def test_a_training_that_failed_ahead_fails_when_it_is_asked_for(tmp_path: Path, taken: list[int]) -> None:
    night(whole := workspace(tmp_path / "whole"))
    second = next(m.seed for m in measurements(whole) if m.seed_index == 1)
    opening = "def main() -> None:\n    session, knobs = Session.open(), Knobs()\n"
    check = f"    assert knobs.rows == 8 or session.seed != {second}\n"
    night(
        root := workspace(
            tmp_path / "broken", source=STANDIN.read_text(encoding="utf-8").replace(opening, opening + check)
        )
    )
    failed = [m for m in measurements(root) if m.state is MeasurementState.FAILED]
    assert [(m.status, m.seed_index) for m in failed] == [(Status.PREFLIGHT_CRASH, 1)]
    assert failed[0].seed in taken
