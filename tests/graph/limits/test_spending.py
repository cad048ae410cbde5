"""What watchers are told of the spend: with every call that is stored, and never more than the record ends up with."""

import json
from pathlib import Path
from typing import Any

import pytest

from agents.model.config import load_models
from agents.planner.planner import Planner
from graph.campaign.options import RunOptions
from graph.limits.meters import Meters
from graph.limits.spending import BEAT_S, Spending
from graph.runner import Runner
from graph.watching.events import Observer
from memory.records import Trial
from memory.store import Store
from tests.support.chat_server import Behaviour, ChatServer, ok, tool_call
from tests.support.nights import Killed, kill
from tests.support.rows import make_records, write_records
from tests.support.workspaces import make_quick_workspace, standin_campaign

MILLION = {"usd_per_million_prompt": 1e6, "usd_per_million_completion": 1e6}
"""A dollar a token."""
READ = tool_call("read_source", {"containing": "rows"})  # 120 tokens
MOVES = [ok(json.dumps({"knob": "rows", "new_value": rows, "reason": "more"}), usage=(50, 10)) for rows in (16, 32)]
SCRIPT: list[Behaviour] = [READ, MOVES[0], MOVES[1]]


class Told(Observer):
    """What was said of dollars, in order, and where in the night."""

    def __init__(self, die_at_usd: float | None = None) -> None:
        self.usd: list[tuple[str, float | None]] = []
        self.where, self.die_at_usd = "start", die_at_usd

    def spent(self, usd: float | None, joules: float | None) -> None:
        self.usd.append((self.where, usd))
        if usd is not None and usd == self.die_at_usd:
            kill()

    def trial_opened(self, trial: Trial) -> None:
        self.where = f"trial {trial.seq}"

    def decided(self, trial: Trial) -> None:
        self.where = f"after {trial.seq}"


def night(root: Path, told: Told) -> list[Trial]:
    planner = Planner("local", load_models(root)["local"])
    with standin_campaign(root, proposer=planner, options=RunOptions(trials=2), observer=told) as services:
        Runner(services).run()
        return services.store.trials(services.campaign_id)


@pytest.mark.system
def test_every_call_is_told_of_before_its_trial_is_decided(tmp_path: Path) -> None:
    root = make_quick_workspace(tmp_path)
    told = Told()
    with ChatServer(SCRIPT) as server:
        (root / "models.toml").write_text(server.models_toml("local", tools=True, **MILLION))
        trials = night(root, told)
    assert told.usd[0] == ("start", None)
    assert {usd for where, usd in told.usd if where == "trial 0"} == {None}
    assert list(dict.fromkeys(usd for where, usd in told.usd if where == "trial 1")) == [None, 120.0, 180.0]
    assert list(dict.fromkeys(usd for where, usd in told.usd if where == "trial 2")) == [180.0, 240.0]
    assert told.usd[-1][1] == sum(trial.usd or 0.0 for trial in trials) == 240.0


@pytest.mark.system
def test_a_loop_that_goes_on_knows_what_was_paid_before_it(tmp_path: Path) -> None:
    root = make_quick_workspace(tmp_path)
    with ChatServer(SCRIPT) as server:
        (root / "models.toml").write_text(server.models_toml("local", tools=True, **MILLION))
        with pytest.raises(Killed):
            night(root, Told(die_at_usd=120.0))
        told = Told()
        night(root, told)
    assert next(usd for where, usd in told.usd if where == "trial 1") == 120.0
    amounts = [usd for _, usd in told.usd if usd is not None]
    assert amounts == sorted(amounts)
    assert amounts[-1] == 240.0


def test_energy_is_told_in_beats(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now, told, records = [100.0], list[Any](), make_records(3)
    monkeypatch.setattr("graph.limits.spending.time.monotonic", lambda: now[0])

    class Meter:
        def read_joules(self) -> float | None:
            return 10.0 * now[0]

    class Listener(Observer):
        def spent(self, usd: float | None, joules: float | None) -> None:
            told.append((now[0], joules))

    with Store.open(tmp_path / "store.duckdb") as store:
        write_records(store, records)
        campaign = records.campaign.model_copy(update={"joules": 5.0})
        spending = Spending(store, campaign.campaign_id, Meters(campaign, Meter()), Listener())
        for _ in range(8):
            spending.beat()
            now[0] += BEAT_S / 2
    assert told == [(100.0, 5.0), (101.0, 15.0), (102.0, 25.0), (103.0, 35.0)]
