"""A training beside another: where there is room, and that it ends when it is told to, wherever it is."""

import time
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

import tools.gpt
from graph.services import Services
from rails.errors import TrialError
from rails.status import Status
from rails.task import GptTask, TrialConfig
from tests.support.workspaces import STANDIN, make_quick_workspace, standin_campaign
from tools.backend import Beside
from tools.beside import room_beside
from trainer.hardware import Hardware, describe
from trainer.launch.launcher import can_fork


@pytest.fixture(autouse=True)
def _room(monkeypatch: pytest.MonkeyPatch) -> None:  # pyright: ignore[reportUnusedFunction]
    """For one, however few cores there are."""
    monkeypatch.setattr(tools.gpt, "room_beside", lambda *_: 1)


def endless() -> str:
    """The stand-in, which sleeps in every step."""
    source = STANDIN.read_text(encoding="utf-8")
    step = "        model.learn(inputs, targets)\n"
    assert step in source
    return source.replace(step, f"{step}        time.sleep(5)\n").replace(
        "import numpy", "import time\n\nimport numpy", 1
    )


def trials() -> list[psutil.Process]:
    return [process for process in psutil.Process().children(recursive=True) if process.name() == "trial"]


@pytest.mark.skipif(not can_fork(), reason="trials are not forked here")
def test_there_is_room_for_as_many_as_there_are_cores(tmp_path: Path) -> None:
    with standin_campaign(make_quick_workspace(tmp_path)) as services:
        task, machine = services.task, replace(describe("cpu"), cores=8)
    assert isinstance(task, GptTask)

    def room(side_by_side: int, threads: int = 1, kind: str = "cpu_seconds", machine: Hardware = machine) -> int:
        trial = TrialConfig(device="cpu", threads=threads, side_by_side=side_by_side)
        budget = task.budget.model_copy(update={"kind": kind})
        return room_beside(task.model_copy(update={"trial": trial, "budget": budget}), machine)

    assert [room(1), room(2), room(4), room(64)] == [0, 1, 3, 7]
    assert room(4, threads=4) == 1
    assert room(4, threads=0) == 0, "all cores are taken"
    assert room(2, kind="seconds") == 0, "each would slow the other by the clock"
    assert room(2, machine=replace(machine, device="cuda")) == 0
    assert room(2, machine=replace(machine, cores=1)) == 0


@pytest.mark.parametrize("how", ["drop", "stop", "close"])
def test_it_ends_when_it_is_told_to(how: str, tmp_path: Path) -> None:
    with standin_campaign(make_quick_workspace(tmp_path, source=endless())) as services:
        beside = begin(services)
        assert len(trials()) == 1
        started = time.monotonic()
        if how == "stop":
            services.trainer.stop()
            with pytest.raises(TrialError) as caught:
                services.trainer.take_trained(program(services), 1)
            assert caught.value.status is Status.INTERRUPTED
        elif how == "drop":
            beside.drop()
        else:
            services.trainer.close()
        assert time.monotonic() - started < 4
        assert not trials()


def test_one_that_waits_is_held_and_answers_when_it_is_taken(tmp_path: Path) -> None:
    with standin_campaign(make_quick_workspace(tmp_path)) as services:
        begin(services)
        with services.trainer.train(program(services), 0, lambda _: None):
            assert sorted(process.status() for process in trials()).count(psutil.STATUS_STOPPED) == 1
        model = services.trainer.take_trained(program(services), 1)
        assert model is not None
        with model:
            assert services.trainer.score(model).value > 0
        assert services.trainer.take_trained(program(services), 1) is None
        assert not trials()


def begin(services: Services) -> Beside:
    beside = services.trainer.beside
    assert beside is not None
    beside.begin(program(services), 1)
    beside.begin(program(services), 2)  # there is no room for it
    return beside


def program(services: Services) -> str:
    return services.ratchet.source(services.campaign.baseline_commit)
