"""Hopeless trainings end early, end to end with the stand-in trainer."""

import json
import subprocess
from collections.abc import Iterable
from pathlib import Path

import pytest

from agents.scripted import ScriptedProposer
from cli.show.progress_rows import measurement_text, trials_table
from graph.campaign.options import RunOptions
from graph.runner import Runner
from memory.figures.analysis import analyze_trials
from memory.lineage.block import render_lineage
from memory.reader import Reader
from memory.records import Measurement, MeasurementState, Trial
from memory.store import Store
from rails.status import Status
from tests.support.workspaces import make_quick_workspace, standin_campaign

HARMLESS = [("smoothing", 4.0 + 0.01 * n) for n in range(1, 11)]
BAD = [("decay", 0.5), ("bigram_weight", 0.0)]


def replies(moves: Iterable[tuple[str, float]]) -> list[str]:
    return [json.dumps({"knob": name, "new_value": value, "reason": "because"}) for name, value in moves]


def campaign(root: Path, moves: list[tuple[str, float]]) -> list[Trial]:
    options = RunOptions(trials=len(moves), tag="night")
    with standin_campaign(root, proposer=ScriptedProposer(replies(moves)), options=options) as services:
        Runner(services).run()
        return services.store.trials(services.campaign_id)


def workspace(folder: Path, *, enabled: bool = True) -> Path:
    root = make_quick_workspace(folder, rule="threshold", baseline_seeds=3)
    if not enabled:
        path = root / "task.toml"
        path.write_text(path.read_text().replace("[limits]", "[early_stop]\nenabled = false\n\n[limits]"))
        commit = ["-c", "user.name=a", "-c", "user.email=a@b", "commit", "-qam", "no early stop"]
        subprocess.run(["git", "-C", str(root), *commit], check=True)
    return root


@pytest.fixture(scope="module")
def night(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Trial]]:
    """Ten harmless moves from which the margin is learnt, then two bad ones and a harmless one."""
    root = workspace(tmp_path_factory.mktemp("night"))
    return root, campaign(root, [*HARMLESS, *BAD, ("smoothing", 4.2)])


def measurements(root: Path, trial: Trial) -> list[Measurement]:
    with Store.open(root / ".nightshift" / "store.duckdb") as store:
        return store.measurements(trial.trial_id)


@pytest.mark.system
def test_hopeless_trials_are_stopped_and_the_others_run_to_their_end(night: tuple[Path, list[Trial]]) -> None:
    root, trials = night
    stopped = [t for t in trials if t.metric is None]
    assert [t.edit_key for t in stopped] == ["decay=0.5", "bigram_weight=0.0"]
    assert all(t.status is not None for t in trials)
    for trial in stopped:
        assert trial.status is Status.DISCARD
        assert (trial.n_measurements, trial.gain) == (0, None)
        assert trial.train_s > 0
        assert str(trial.reason).startswith("hopeless at ")
        assert trial.decision is not None
        assert trial.decision["deficit"] > trial.decision["margin"] > 0
        (done,) = measurements(root, trial)
        assert (done.state, done.status, done.reason) == (MeasurementState.STOPPED, None, trial.reason)
        assert done.steps == round(20 * trial.decision["checkpoint"])
        assert "hopeless at " in measurement_text(done)
        with Store.open(root / ".nightshift" / "store.duckdb") as store:
            curve = store.curve(done.measurement_id)
        assert curve is not None
        assert curve.step[-1] == done.steps


@pytest.mark.system
def test_every_reader_copes_with_a_discard_without_a_metric(night: tuple[Path, list[Trial]]) -> None:
    root, trials = night
    trials_table(trials)
    with Reader.open(root / ".nightshift" / "snapshot") as reader:
        campaign_id = trials[0].campaign_id
        assert reader.trials(campaign_id) == trials
        block = render_lineage(reader, campaign_id, settled_by=1)
        assert "decay: 0.5 hopeless at " in block
        assert "decay=0.5 → discard, hopeless at " in block
        assert any("decay=0.5 does not help: hopeless at " in lesson.text for lesson in reader.lessons(campaign_id))
        assert not reader.query("SELECT * FROM near_misses WHERE edit = 'decay=0.5'").rows
        assert reader.query("SELECT count(*) FROM measurements WHERE state = 'stopped'").rows == [[2]]
        analysis = analyze_trials(trials, reader.campaign_measurements(campaign_id), [])
        assert analysis.seconds.wasted == 0.0
        assert "hopeless at" in reader.tried_programs(campaign_id)[str(trials[11].program_key)]
    cells = (root / "results.tsv").read_text().splitlines()[12].split("\t")
    assert (cells[1], cells[3]) == ("", "discard")


@pytest.mark.slow
def test_the_switch_is_honoured(tmp_path: Path) -> None:
    trials = campaign(workspace(tmp_path, enabled=False), [*HARMLESS, BAD[0]])
    assert all(t.metric is not None for t in trials)


@pytest.mark.system
def test_after_a_crash_the_same_trial_is_stopped_at_the_same_step(
    night: tuple[Path, list[Trial]], tmp_path: Path
) -> None:
    """The loop dies while the hopeless training runs, and right after it was stopped."""
    _, trials = night
    root = workspace(tmp_path)
    script = replies([*HARMLESS, BAD[0]])
    options = RunOptions(trials=len(script), tag="night")

    class Died(BaseException):
        pass

    with (
        pytest.raises(Died),
        standin_campaign(root, proposer=ScriptedProposer(script), options=options) as services,
    ):
        train = services.trainer.train

        def die_late(program: str, seed: int, on_progress):  # type: ignore[no-untyped-def]
            if services.store.trials(services.campaign_id)[-1].seq == 11:
                raise Died
            return train(program, seed, on_progress)

        services.trainer.train = die_late  # type: ignore[method-assign]
        Runner(services).run()
    with standin_campaign(root, proposer=ScriptedProposer([]), options=RunOptions(trials=len(script))) as services:
        Runner(services).run()
        again = services.store.trials(services.campaign_id)[11]
    first = trials[11]
    assert first.decision is not None
    assert again.decision == pytest.approx(first.decision)
    assert again.reason == first.reason
