"""A request to stop: a training ends at once, what was trained may be scored to its end within a grace."""

import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from agents.scripted import ScriptedProposer
from graph.campaign.options import RunOptions
from graph.runner import Runner
from graph.services import Services
from graph.watching.events import Observer
from memory.records import Measurement, MeasurementState, Trial
from rails.errors import TrialError
from rails.status import Status
from tests.support.variants import first
from tests.support.workspaces import STANDIN, make_quick_workspace, make_standin_workspace, standin_campaign
from tools.backend import Backend, Progress
from tools.gpt import TrainedModel
from trainer.scoring.probes import Depth

ANSWER = '        """[r, T] → [r, T, V]."""\n'
LONG = 60.0


def slow(seconds: float) -> str:
    """The stand-in with a pause before every answer."""
    source = STANDIN.read_text(encoding="utf-8")
    assert ANSWER in source
    return f"import time\n\n{source}".replace('"""A fast', '"""A slow', 1).replace(
        ANSWER, f"{ANSWER}        time.sleep({seconds})\n"
    )


class Acting(Observer):
    """Does something when a scoring begins."""

    def __init__(self, act: Callable[[], None]) -> None:
        self._act = act

    def scoring(self, trial: Trial) -> None:
        self._act()


def one_trial(folder: Path, baseline_seeds: int = 1) -> Path:
    return make_quick_workspace(folder, baseline_seeds=baseline_seeds)


def slow_trial(folder: Path) -> Path:
    """Scoring takes seconds: each answer a fifth of one, and the text is long."""
    return make_standin_workspace(folder, source=slow(0.2))


def trained(services: Services) -> TrainedModel:
    return services.trainer.train(services.ratchet.source(services.campaign.baseline_commit), 0, lambda _: None)


def later(seconds: float, act: Callable[[], None]) -> threading.Timer:
    timer = threading.Timer(seconds, act)
    timer.start()
    return timer


def test_a_training_ends_at_once_whatever_the_grace(tmp_path: Path) -> None:
    with standin_campaign(one_trial(tmp_path)) as services:
        trainer, seen = services.trainer, list[Progress]()

        def stop_early(progress: Progress) -> None:
            seen.append(progress)
            trainer.stop(LONG)

        with pytest.raises(TrialError, match="stopped on request during training") as caught:
            trainer.train(services.ratchet.source(services.campaign.baseline_commit), 0, stop_early)
    assert caught.value.status is Status.INTERRUPTED
    assert len(seen) < 20


def test_a_stop_while_a_process_is_started_is_not_lost(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from trainer.trial.process import TrialProcess

    launch = TrialProcess.launch

    with standin_campaign(one_trial(tmp_path)) as services:

        def stopped_meanwhile(*args: object) -> TrialProcess:
            services.trainer.stop(LONG)
            return launch(*args)  # type: ignore[arg-type]

        monkeypatch.setattr(TrialProcess, "launch", stopped_meanwhile)
        with pytest.raises(TrialError, match="stopped on request before training started"):
            trained(services)


def test_a_scoring_and_its_probes_finish_within_the_grace_and_no_training_starts(tmp_path: Path) -> None:
    with standin_campaign(one_trial(tmp_path)) as services:
        with trained(services) as model:
            services.trainer.stop(LONG)
            assert services.trainer.score(model).value > 0
            assert services.trainer.probe(model, {"val": Depth(cuts=8)}, 0.05)[0].cuts >= 8
        with pytest.raises(TrialError, match="interrupted before training started"):
            trained(services)


@pytest.mark.system
@pytest.mark.parametrize("part", first(1, ["probe", "score"], rest=pytest.mark.system))
def test_what_takes_longer_than_the_grace_is_ended(part: str, tmp_path: Path) -> None:
    with standin_campaign(slow_trial(tmp_path)) as services, trained(services) as model:
        if part == "probe":
            services.trainer.score(model)
        services.trainer.stop(0.5)
        started = time.monotonic()
        with pytest.raises(TrialError) as caught:
            act(services.trainer, model, part)
        took_s = time.monotonic() - started
    assert caught.value.status is Status.INTERRUPTED
    assert 0.4 < took_s < 3


@pytest.mark.system
@pytest.mark.parametrize("part", first(1, ["probe", "score"], rest=pytest.mark.system))
def test_the_second_stop_ends_it_at_once(part: str, tmp_path: Path) -> None:
    with standin_campaign(slow_trial(tmp_path)) as services, trained(services) as model:
        if part == "probe":
            services.trainer.score(model)
        services.trainer.stop(LONG)
        timer = later(0.5, services.trainer.stop)
        started = time.monotonic()
        with pytest.raises(TrialError) as caught:
            act(services.trainer, model, part)
        took_s = time.monotonic() - started
        timer.join()
    assert caught.value.status is Status.INTERRUPTED
    assert took_s < 3


def act(trainer: Backend[Any], model: TrainedModel, part: str) -> None:
    if part == "score":
        trainer.score(model)
    else:
        trainer.probe(model, {"val": Depth(cuts=512)}, 0.05)


@pytest.mark.system
def test_a_finished_scoring_of_the_baseline_is_stored_and_not_made_again(tmp_path: Path) -> None:
    root = one_trial(tmp_path, baseline_seeds=3)
    with standin_campaign(root, proposer=ScriptedProposer([]), options=RunOptions(trials=1, tag="night")) as services:

        def signal() -> None:
            services.stop.ask()
            services.trainer.stop(LONG)

        services.observer = Acting(signal)
        campaign = Runner(services).run()
        before = rows(services)
    assert campaign.stop_reason == "interrupted by a signal"
    assert [(m.state, m.status) for m in before][:1] == [(MeasurementState.MEASURED, None)]
    reply = '{"knob": "rows", "new_value": 32, "reason": "more"}'
    with standin_campaign(root, proposer=ScriptedProposer([reply]), options=RunOptions(trials=1)) as services:
        Runner(services).run()
        after = rows(services)
    assert after[0] == before[0]
    assert [m.state for m in after] == [MeasurementState.MEASURED] * 3


def test_a_candidate_that_was_scored_in_time_is_decided(tmp_path: Path) -> None:
    reply = '{"knob": "rows", "new_value": 32, "reason": "more"}'
    with standin_campaign(
        one_trial(tmp_path), proposer=ScriptedProposer([reply]), options=RunOptions(trials=2, tag="night")
    ) as services:

        class Signal(Observer):
            def scoring(self, trial: Trial) -> None:
                if trial.seq == 1:
                    services.stop.ask()
                    services.trainer.stop(LONG)

        services.observer = Signal()
        campaign = Runner(services).run()
        _, trial = services.store.trials(services.campaign_id)
    assert campaign.stop_reason == "interrupted by a signal"
    assert trial.status is Status.KEEP


def rows(services: Services) -> list[Measurement]:
    return services.store.measurements(services.store.trials(services.campaign_id)[0].trial_id)
