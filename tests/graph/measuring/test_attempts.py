"""A measurement that takes the loop down with it is given up in the end; nothing else counts as such a start."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from agents.scripted import ScriptedProposer
from graph.campaign.options import RunOptions
from graph.measuring.attempts import MAX_ATTEMPTS
from graph.runner import Runner
from graph.services import Services
from graph.watching.events import Observer
from memory.records import Campaign, Measurement, MeasurementState, Purpose, Trial
from memory.store import Store
from rails.errors import DiskFullError, HaltError, TrialError
from rails.status import Status
from tests.support.variants import first
from tests.support.workspaces import make_quick_workspace, standin_campaign
from tools.gpt import Progress, TrainedModel

BETTER = json.dumps({"knob": "rows", "new_value": 32, "reason": "more"})
OPTIONS = RunOptions(trials=1, tag="night")
Train = Callable[[str, int, Callable[[Progress], None]], TrainedModel]


class DiedError(BaseException):
    """The loop is killed."""


def run(root: Path, script: list[str], change: Callable[[Services], None] = lambda _: None) -> Campaign:
    with standin_campaign(root, proposer=ScriptedProposer(script), options=OPTIONS) as services:
        change(services)
        return Runner(services).run()


def record(root: Path) -> tuple[Campaign, list[Trial], list[list[Measurement]]]:
    with Store.open(root / ".nightshift" / "store.duckdb") as store:
        campaign = store.campaigns()[-1]
        trials = store.trials(campaign.campaign_id)
        return campaign, trials, [store.measurements(trial.trial_id) for trial in trials]


def dies_in(seq: int, purpose: Purpose = Purpose.SEARCH) -> Callable[[Services], None]:
    """A program of this trial takes the machine down as soon as it is trained for this."""

    def change(services: Services) -> None:
        train: Train = services.trainer.train

        def fatal(program: str, seed: int, on_progress: Callable[[Progress], None]) -> TrainedModel:
            trials = services.store.trials(services.campaign_id)
            running = [
                m.purpose
                for m in services.store.measurements(trials[seq].trial_id if len(trials) > seq else "")
                if m.state is MeasurementState.RUNNING
            ]
            if running == [purpose]:
                raise DiedError
            return train(program, seed, on_progress)

        services.trainer.train = fatal  # type: ignore[method-assign]

    return change


def die_often(root: Path, script: list[str], change: Callable[[Services], None], times: int = MAX_ATTEMPTS) -> None:
    for _ in range(times):
        with pytest.raises(DiedError):
            run(root, script, change)
        script = []


@pytest.mark.system
def test_a_candidate_that_takes_the_loop_down_is_a_crash_in_the_end(tmp_path: Path) -> None:
    root = make_quick_workspace(tmp_path)
    die_often(root, [BETTER], dies_in(1))
    campaign = run(root, [], dies_in(1))
    _, (_, trial), (_, (measurement,)) = record(root)
    assert campaign.stop_reason == "limit of 1 trials reached"
    assert trial.status is Status.CRASH
    assert trial.reason == f"given up: it was started {MAX_ATTEMPTS} times, and the loop died before it ended"
    assert (measurement.attempt, measurement.train_s) == (MAX_ATTEMPTS, 0.0)


@pytest.mark.system
def test_one_start_less_and_it_is_measured_as_ever(tmp_path: Path) -> None:
    root = make_quick_workspace(tmp_path)
    die_often(root, [BETTER], dies_in(1), MAX_ATTEMPTS - 1)
    run(root, [])
    _, (_, trial), (_, (measurement,)) = record(root)
    assert trial.status is Status.KEEP
    assert measurement.attempt == MAX_ATTEMPTS


@pytest.mark.system
def test_a_baseline_that_takes_the_loop_down_halts(tmp_path: Path) -> None:
    root = make_quick_workspace(tmp_path)
    die_often(root, [], dies_in(0))
    with pytest.raises(HaltError, match=r"the baseline could not be measured \(crash\): given up: it was started"):
        run(root, [])


@pytest.mark.system
def test_a_result_that_takes_the_loop_down_is_left_out(tmp_path: Path) -> None:
    root = make_quick_workspace(tmp_path, final_seeds=1)
    die_often(root, [BETTER], dies_in(1, Purpose.FINAL))
    campaign = run(root, [])
    assert campaign.final is not None
    assert campaign.final["state"] == "failed"
    assert campaign.final["failures"][0].startswith("incumbent, seed 1000: crash: given up")


@pytest.mark.slow
def test_an_interruption_is_not_a_death(tmp_path: Path) -> None:
    root = make_quick_workspace(tmp_path, baseline_seeds=3)

    class Impatient(Observer):
        def __init__(self, services: Services) -> None:
            self._services = services

        def training(self, progress: object) -> None:
            self._services.stop.ask()
            self._services.trainer.stop()

    def interrupt(services: Services) -> None:
        services.observer = Impatient(services)

    for _ in range(MAX_ATTEMPTS + 1):
        assert run(root, [], interrupt).stop_reason == "interrupted by a signal"
    run(root, [BETTER])
    _, trials, measurements = record(root)
    assert [t.status for t in trials] == [Status.BASELINE, Status.KEEP]
    assert [m.attempt for m in measurements[0]] == [1, 1, 1]


@pytest.mark.system
def test_nor_is_a_machine_that_cannot_start_a_process(tmp_path: Path) -> None:
    root = make_quick_workspace(tmp_path)

    def stuck(services: Services) -> None:
        def halts(*_: object) -> TrainedModel:
            raise HaltError("a trial process could not be started: no more processes")

        services.trainer.train = halts  # type: ignore[method-assign]

    for _ in range(MAX_ATTEMPTS + 1):
        with pytest.raises(HaltError, match="no more processes"):
            run(root, [], stuck)
    run(root, [BETTER])
    assert [t.status for t in record(root)[1]] == [Status.BASELINE, Status.KEEP]


@pytest.mark.system
@pytest.mark.parametrize("where", first(1, ["probe", "before", "train", "score", "launch"]))
def test_a_full_disk_is_nobodys_failure(where: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = make_quick_workspace(tmp_path)
    free = [10**12]
    monkeypatch.setattr("graph.limits.disk.free_bytes", lambda _: free[0])

    def fills(services: Services) -> None:
        def no_room(*_: object) -> None:
            free[0] = 0
            if where == "launch":
                raise HaltError("a trial process could not be started: no space left on device")
            raise TrialError(Status.CRASH, "no space left on device")

        class Filling(Observer):
            def railed(self, trial: Trial, rail: str | None, reason: str | None) -> None:
                if where == "before":
                    free[0] = 0
                else:
                    place = "train" if where == "launch" else where
                    monkeypatch.setattr(services.trainer, place, no_room)

        services.observer = Filling()

    with pytest.raises(DiskFullError):
        run(root, [BETTER], fills)
    _, (_, trial), (_, stored) = record(root)
    assert trial.status is None
    assert [m.state for m in stored] == ([] if where == "before" else [MeasurementState.RUNNING])
    free[0] = 10**12
    run(root, [])
    assert record(root)[1][1].status is Status.KEEP
