"""A trial that is gone through again ends as it would have: after failures, repairs and hopeless stops, too."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from git import Repo

from agents.scripted import ScriptedProposer
from graph.campaign.options import RunOptions
from graph.runner import Runner
from graph.services import Services
from graph.watching.events import Observer
from memory.records import Measurement, MeasurementState, Phase, Trial
from memory.store import Store
from rails.errors import TrialError
from rails.status import Status
from tests.support.variants import first
from tests.support.workspaces import code, make_quick_workspace, standin_campaign
from tools.gpt import Progress, TrainedModel

BETTER = json.dumps({"knob": "rows", "new_value": 32, "reason": "more"})
CRASHING = json.dumps({"knob": "smoothing", "new_value": 0.0, "reason": "nothing"})
BROKEN = code("model.learn(inputs", "model.learns(inputs")
"""Crashes when it is tried out."""
OPTIONS = RunOptions(trials=1, tag="night")


class DiedError(BaseException):
    """The loop is killed."""


class Dying(Observer):
    """Kills the loop after so many measurements of the search; not at all unless told when."""

    def __init__(self, after: int | None = None) -> None:
        self._left = after
        self.ends = list[MeasurementState]()

    def measured(self, trial: Trial, measurement: Measurement) -> None:
        if trial.seq == 0:
            return
        self.ends.append(measurement.state)
        if len(self.ends) == self._left:
            raise DiedError


def run(
    root: Path,
    script: list[str],
    observer: Observer | None = None,
    change: Callable[[Services], None] = lambda _: None,
    options: RunOptions = OPTIONS,
) -> None:
    proposer = ScriptedProposer(script, repairs_crashes=True)
    with standin_campaign(root, proposer=proposer, observer=observer, options=options) as services:
        change(services)
        Runner(services).run()


def record(root: Path) -> tuple[list[Trial], list[list[Measurement]]]:
    with Store.open(root / ".nightshift" / "store.duckdb") as store:
        trials = store.trials(store.campaigns()[-1].campaign_id)
        return trials, [store.measurements(trial.trial_id) for trial in trials]


def verdict(trial: Trial) -> tuple[object, ...]:
    return trial.status, trial.reason, trial.metric, trial.repairs, trial.edit_key, trial.n_measurements


def failing_incumbent(services: Services) -> None:
    """Whatever is asked of the baseline beyond its three seeds fails, the first time."""
    train, failed = services.trainer.train, list[int]()

    def fails(program: str, seed: int, on_progress: Callable[[Progress], None]) -> TrainedModel:
        rows = services.store.measurements(services.store.trials(services.campaign_id)[0].trial_id)
        running = (m for m in rows if m.state is MeasurementState.RUNNING and m.seed == seed)
        if not failed and any(m.seed_index > 2 for m in running):
            failed.append(seed)
            raise TrialError(Status.CRASH, "out of luck")
        return train(program, seed, on_progress)

    services.trainer.train = fails  # type: ignore[method-assign]


@pytest.mark.slow
def test_an_incumbent_that_failed_for_this_trial_is_not_asked_again_when_it_is_gone_through_again(
    tmp_path: Path,
) -> None:
    kwargs = {"rule": "threshold", "max_measurements": 4, "baseline_seeds": 3}
    whole, cut = (make_quick_workspace(tmp_path / name, **kwargs) for name in ("whole", "cut"))  # type: ignore[arg-type]
    run(whole, [BETTER], change=failing_incumbent)
    (_, trial), measurements = record(whole)
    assert trial.status is Status.DISCARD
    assert trial.reason == "not proven: the incumbent could not be measured again (out of luck)"
    assert [m.state for m in measurements[0]][3:] == [MeasurementState.FAILED]

    count = len(measurements[1]) + 1
    with pytest.raises(DiedError):
        run(cut, [BETTER], Dying(count), failing_incumbent)
    again = Dying()
    run(cut, [], again)
    assert again.ends == []
    assert verdict(record(cut)[0][1]) == verdict(trial)
    assert record(cut)[0][1].decision == trial.decision


@pytest.mark.system
@pytest.mark.parametrize("after", first(1, [2, 1, 3]))
def test_a_trial_repaired_twice_is_repaired_as_before(after: int, tmp_path: Path) -> None:
    whole, cut = (make_quick_workspace(tmp_path / name) for name in ("whole", "cut"))
    script = [CRASHING, BROKEN, BETTER]
    run(whole, script)
    (_, trial), _ = record(whole)
    assert (trial.status, trial.repairs, trial.attempt) == (Status.KEEP, 2, 2)
    with pytest.raises(DiedError):
        run(cut, script, Dying(after))
    run(cut, script[after:])
    assert verdict(record(cut)[0][1]) == verdict(trial)


@pytest.mark.slow  # the list of kill points has this moment
def test_a_kill_while_the_repaired_program_is_trained(tmp_path: Path) -> None:
    whole, cut = (make_quick_workspace(tmp_path / name) for name in ("whole", "cut"))
    run(whole, [CRASHING, BETTER])
    (_, trial), measurements = record(whole)

    def dies(services: Services) -> None:
        train = services.trainer.train

        def second(program: str, seed: int, on_progress: Callable[[Progress], None]) -> TrainedModel:
            trials = services.store.trials(services.campaign_id)
            if trials[-1].repairs:
                raise DiedError
            return train(program, seed, on_progress)

        services.trainer.train = second  # type: ignore[method-assign]

    with pytest.raises(DiedError):
        run(cut, [CRASHING, BETTER], change=dies)
    again = Dying()
    run(cut, [], again)
    assert again.ends == [MeasurementState.MEASURED], "the crash is stored; the first program is not trained again"
    trials, stored = record(cut)
    assert verdict(trials[1]) == verdict(trial)
    assert [m.state for m in stored[1]] == [m.state for m in measurements[1]]


@pytest.mark.system
def test_what_was_judged_stays_judged_where_there_is_less_memory(tmp_path: Path) -> None:
    root = make_quick_workspace(tmp_path)
    task = root / "task.toml"
    task.write_text(task.read_text() + '\n[menu.size]\nmemory_bytes = "rows * 1000000000"\n')
    commit(root)
    with pytest.raises(DiedError):
        run(root, [BETTER], Dying(1), lambda services: memory(services, 64))
    run(root, [], change=lambda services: memory(services, 16))
    assert record(root)[0][1].status is Status.KEEP


def memory(services: Services, gigabytes: int) -> None:
    """A machine with so much of it for a trial."""
    kind = type(services.trainer)
    smaller = type(kind.__name__, (kind,), {"memory_limit_bytes": property(lambda _: gigabytes * 10**9)})
    services.trainer.__class__ = smaller


def commit(root: Path) -> None:
    with Repo(root) as repo:
        repo.git.execute(["git", "-c", "user.name=a", "-c", "user.email=a@b", "commit", "-qam", "size"])


@pytest.mark.slow  # the list of kill points has this moment
def test_a_kill_right_after_a_hopeless_stop_changes_nothing(tmp_path: Path) -> None:
    harmless = [json.dumps({"knob": "smoothing", "new_value": 4.0 + 0.01 * n, "reason": "x"}) for n in range(1, 11)]
    script = [*harmless, json.dumps({"knob": "decay", "new_value": 0.5, "reason": "x"})]
    options = RunOptions(trials=11, tag="night")
    root = make_quick_workspace(tmp_path, rule="threshold", baseline_seeds=3)
    with pytest.raises(DiedError):
        run(root, script, Dying(11), options=options)
    before, stored_before = record(root)
    assert before[11].phase is Phase.MEASURED
    assert before[11].decision is not None
    assert [m.state for m in stored_before[11]] == [MeasurementState.STOPPED]
    again = Dying()
    run(root, [], again, options=options)
    after, stored = record(root)
    assert again.ends == []
    assert stored == stored_before
    assert (after[11].status, after[11].decision) == (Status.DISCARD, before[11].decision)
    assert after[11].reason == stored[11][0].reason
