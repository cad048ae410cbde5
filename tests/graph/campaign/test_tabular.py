"""Whole campaigns over a recorded table: nothing is invented, no seed is drawn twice, and recorded seconds count."""

import json
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from agents.scripted import ScriptedProposer
from graph.campaign.open import open_campaign
from graph.campaign.options import RunOptions
from graph.runner import Runner
from graph.services import Services
from graph.watching.events import Observer
from memory.records import Measurement, MeasurementState, Origin, Trial
from rails.errors import HaltError, UserError
from rails.source.edits import read_knobs
from rails.status import Status
from rails.task import TabularTask, load_task
from tests.support.chat_server import ChatServer, Received, chosen
from tests.support.git_workspace import git
from tests.support.recorded import BEST, make_table, make_table_workspace
from tools.tabular import TabularBackend
from trainer.tabular.recorded import RecordedTable


@pytest.fixture
def table(monkeypatch: pytest.MonkeyPatch) -> RecordedTable:
    """What `open_table` finds."""
    made = make_table()
    put(monkeypatch, made)
    return made


def put(monkeypatch: pytest.MonkeyPatch, table: RecordedTable) -> None:
    for place in ("graph.campaign.create", "graph.campaign.circumstances"):
        monkeypatch.setattr(f"{place}.open_recorded", lambda name: table)


def knob(name: str, value: object) -> str:
    return json.dumps({"knob": name, "new_value": value, "reason": "because"})


@contextmanager
def campaign(root: Path, script: Sequence[str] | None = None, **options: object) -> Generator[Services]:
    proposer = None if script is None else ScriptedProposer(script)
    asked = RunOptions(**{"proposer": None if proposer else "random", "tag": "night", **options})  # type: ignore[arg-type]
    with open_campaign(root, asked, Observer(), proposer) as services:
        yield services


def run(root: Path, script: Sequence[str] | None = None, **options: object) -> tuple[list[Trial], list[Measurement]]:
    with campaign(root, script, **options) as services:
        Runner(services).run()
        store = services.store
        trials = store.trials(services.campaign_id)
        return trials, store.campaign_measurements(services.campaign_id)


def test_a_whole_campaign_ends_at_the_true_mean(tmp_path: Path, table: RecordedTable) -> None:
    root = make_table_workspace(tmp_path / "night", trials=24)
    with campaign(root) as services:
        Runner(services).run()
        ended, trials = services.campaign, services.store.trials(services.campaign_id)
        measurements = services.store.campaign_measurements(services.campaign_id)

    program = git(root, "show", f"{ended.branch}:train.py")
    incumbent = next(t for t in trials if t.trial_id == ended.incumbent_trial_id)
    assert incumbent.status is Status.KEEP
    config = {name: value for name, value in read_knobs(program, "Knobs").items() if not isinstance(value, bool)}
    assert ended.final is not None
    assert ended.final["state"] == "done"
    assert ended.final["val"]["incumbent"] == table.true_mean(config)
    assert ended.final["val"]["baseline"] == table.true_mean(table.menu.defaults())
    assert ended.final["val"]["gain"] > 0.03
    drawn = [(m.trial_id, m.seed) for m in measurements]
    assert len(drawn) == len(set(drawn)), "a seed was drawn twice"
    scored = [m for m in measurements if m.state is MeasurementState.MEASURED]
    assert {m.train_s for m in scored} <= {11.0, 12.0, 14.0}
    searched = [t for t in trials if t.seq and t.status in {Status.KEEP, Status.DISCARD}]
    assert all(t.total_s >= 1 for t in searched), "recorded seconds are the clock"
    assert ended.active_s == pytest.approx(sum(t.total_s for t in trials))


def test_what_was_not_recorded_is_blocked_and_failures_are_failures(tmp_path: Path, table: RecordedTable) -> None:
    root = make_table_workspace(tmp_path / "night", trials=5, edits=[("corrections = 2", "corrections = 0")])
    script = [knob("rate", 0.4), knob("kind", "gated"), knob("width", 64), knob("rate", 0.4), knob("kind", "none")]
    trials, _ = run(root, script)
    missing, gated, wide, _, failed = trials[1:]
    assert missing.status is Status.RAIL_BLOCKED
    assert "outside: this configuration was not recorded" in str(missing.reason)
    assert (gated.status, wide.status) == (Status.KEEP, Status.KEEP)
    assert failed.status in {Status.CRASH, Status.DISCARD}
    if failed.status is Status.CRASH:
        assert failed.reason == "loss diverged"
        assert failed.total_s == 14.0


@pytest.mark.system
def test_no_rule_asks_for_more_seeds_than_there_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(monkeypatch, make_table(seeds=3, noise=0.05))
    root = make_table_workspace(tmp_path / "night", trials=20, edits=[("seeds = 3  ", "seeds = 50 ")])
    trials, measurements = run(root)
    assert len([m for m in measurements if m.trial_id == trials[0].trial_id]) == 3
    counts = {t.trial_id: [m.seed for m in measurements if m.trial_id == t.trial_id] for t in trials}
    assert max(map(len, counts.values())) == 3, "with so much noise every seed is asked for"
    assert all(sorted(seeds) == sorted(set(seeds)) for seeds in counts.values())
    assert all(t.status is not None for t in trials)


def test_a_seed_beyond_those_recorded_is_refused(table: RecordedTable) -> None:
    backend = TabularBackend(table, "Knobs")
    program = "class Knobs:\n    width: int = 16\n    rate: float = 0.1\n    kind: str = 'plain'\n"
    assert backend.seeds(program) == 9
    assert sorted(backend.training_seed(5, place) for place in range(9)) == list(range(9))
    assert sorted(backend.training_seed(5, place) for place in range(3)) == [0, 1, 2], "all configurations have these"
    backend.train(program, 8, lambda progress: None)
    with pytest.raises(HaltError, match="seed 9 was asked for of a configuration with 9"):
        backend.train(program, 9, lambda progress: None)


@pytest.mark.system
def test_equal_seeds_give_equal_campaigns_and_other_seeds_others(tmp_path: Path, table: RecordedTable) -> None:
    def told(name: str, seed: int) -> list[tuple[object, ...]]:
        trials, _ = run(make_table_workspace(tmp_path / name, trials=10), seed=seed)
        return [(t.edit_key, t.status, t.metric, t.gain, t.total_s) for t in trials]

    first = told("a", 1)
    assert told("b", 1) == first
    assert told("c", 2) != first


@pytest.mark.system
def test_a_campaign_goes_on_after_a_kill_as_if_there_had_been_none(tmp_path: Path, table: RecordedTable) -> None:
    class Died(Exception):
        pass

    whole, _ = run(make_table_workspace(tmp_path / "whole", trials=8), seed=1)
    root = make_table_workspace(tmp_path / "killed", trials=8)
    with pytest.raises(Died), campaign(root, seed=1) as services:
        store, seen = services.store, list[str]()
        finish = store.finish_measurement

        def dying(measurement: Measurement, curve: object) -> None:
            finish(measurement, curve)  # type: ignore[arg-type]
            seen.append(measurement.measurement_id)
            if len(seen) == 9:
                raise Died

        store.finish_measurement = dying  # type: ignore[method-assign]
        Runner(services).run()
    trials, _ = run(root, seed=1)
    assert [(t.edit_key, t.status, t.metric, t.total_s) for t in trials] == [
        (t.edit_key, t.status, t.metric, t.total_s) for t in whole
    ]


def test_hours_are_recorded_hours(tmp_path: Path, table: RecordedTable) -> None:
    root = make_table_workspace(tmp_path / "night", edits=[("hours = 0.0", "hours = 0.02")])
    with campaign(root) as services:
        Runner(services).run()
        ended = services.campaign
    assert ended.stop_reason == "limit of 0.02 hours reached"
    assert 72 <= ended.active_s < 200


def test_a_task_that_contradicts_its_table_is_refused(tmp_path: Path, table: RecordedTable) -> None:
    root = make_table_workspace(tmp_path / "night", edits=[('direction = "maximize"', 'direction = "minimize"')])
    with pytest.raises(UserError, match="records 'maximize', not 'minimize'"), campaign(root):
        pass
    task = load_task(root / "task.toml")
    assert isinstance(task, TabularTask)
    assert BEST.keys() == task.menu.knobs.keys()


@pytest.mark.system
def test_a_model_that_has_no_new_move_left_is_stood_in_for_by_two_knobs_at_once(
    tmp_path: Path, table: RecordedTable
) -> None:
    def first_listed(request: Received) -> str:
        schema = request.body["response_format"]["json_schema"]["schema"]
        branches = [branch["properties"] for branch in schema.get("anyOf", [schema])]
        move = next(branch for branch in branches if "enum" in branch.get("new_value", {}))
        return knob(move["knob"]["const"], move["new_value"]["enum"][0])

    root = make_table_workspace(tmp_path / "night", trials=20)
    with ChatServer([chosen(first_listed)]) as server:
        (root / "models.toml").write_text(server.models_toml("local"))
        trials, _ = run(root, proposer="local")
    assert len(trials) == 21, "the night goes on to its limit"
    stood_in = [trial for trial in trials if trial.origin is Origin.FALLBACK]
    assert stood_in and all(trial.proposer == "tpe" for trial in stood_in)
    assert any((trial.edit or {})["kind"] == "knobs" and trial.status is Status.DISCARD for trial in stood_in)
