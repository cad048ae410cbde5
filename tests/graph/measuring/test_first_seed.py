"""With which seed a candidate is measured first: on a clock the incumbent's newest, and the same after a kill."""

from pathlib import Path

import pytest

from graph.campaign.options import RunOptions
from graph.night import run_night
from memory.records import Measurement, Purpose
from memory.store import Store
from tests.support.nights import Killed, Listener, kill
from tests.support.workspaces import make_quick_workspace
from tools.gpt import GptBackend

SEEDS = 3
TRIALS = 14


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return make_quick_workspace(tmp_path, rule="sequential", max_measurements=4, baseline_seeds=SEEDS)


@pytest.fixture
def on_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """The loop takes steps for time: what repeats exactly can be compared."""
    monkeypatch.setattr(GptBackend, "wall_clock", property(lambda backend: True))


def measurements(root: Path) -> list[Measurement]:
    with Store.open(root / ".nightshift" / "store.duckdb") as store:
        (campaign,) = store.campaigns()
        return [m for m in store.campaign_measurements(campaign.campaign_id) if m.purpose is Purpose.SEARCH]


def order(root: Path) -> list[tuple[str, int]]:
    """Program and seed of every measurement, in order."""
    return [(m.trial_id.rpartition("-")[2], m.seed_index) for m in measurements(root)]


def first_seeds(root: Path) -> list[int]:
    """Of every trial's own program, in order."""
    first: dict[str, int] = {}
    for m in measurements(root)[SEEDS:]:
        if m.for_trial_id in {None, m.trial_id}:
            first.setdefault(m.trial_id, m.seed_index)
    return list(first.values())


@pytest.mark.system
@pytest.mark.usefixtures("on_clock")
def test_on_a_clock_a_candidate_meets_the_incumbents_newest_seed_first(root: Path) -> None:
    run_night(root, RunOptions(proposer="random", trials=TRIALS, seed=3), Listener())
    first, newest = first_seeds(root), SEEDS - 1
    assert first[0] == newest
    assert all(seed >= newest for seed in first), "never an old one"


@pytest.mark.system
def test_without_a_clock_it_is_the_first(root: Path) -> None:
    run_night(root, RunOptions(proposer="random", trials=2), Listener())
    assert first_seeds(root) == [0, 0]


@pytest.mark.slow
@pytest.mark.usefixtures("on_clock")
@pytest.mark.parametrize("moment", ["training 2", "measured 2"])
def test_a_trial_that_was_killed_goes_on_with_its_seed(moment: str, root: Path, tmp_path: Path) -> None:
    whole = make_quick_workspace(tmp_path / "whole", rule="sequential", max_measurements=4, baseline_seeds=SEEDS)
    options = RunOptions(proposer="random", trials=3, seed=3)
    run_night(whole, options, Listener())
    with pytest.raises(Killed):
        run_night(root, options, Listener(moment, kill))
    run_night(root, RunOptions(), Listener())
    assert order(root) == order(whole)
