"""task.toml is a person's to edit, uncommitted: a new campaign takes it as it is, one that goes on keeps its own."""

import subprocess
from pathlib import Path

import duckdb
import pytest

from graph.campaign.options import RunOptions
from graph.night import run_night
from graph.workspace import Workspace
from memory.records import Campaign
from rails.status import FINISHED, Status
from tests.support.nights import Killed, Listener, kill, record
from tests.support.workspaces import make_standin_workspace

DEFAULT, WIDER = "choices = [32, 64, 128], default = 64", "choices = [32, 64, 128, 256], default = 64"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return make_standin_workspace(tmp_path)


def edit(root: Path) -> str:
    """Widen the menu, as a person would; nothing is committed."""
    text = (root / "task.toml").read_text()
    assert DEFAULT in text
    (root / "task.toml").write_text(text.replace(DEFAULT, WIDER) + "\n# mine\n")
    return (root / "task.toml").read_text()


def choices(campaign: Campaign) -> list[int]:
    return campaign.task["menu"]["knobs"]["seq_len"]["choices"]


def git(root: Path, *arguments: str) -> str:
    return subprocess.run(["git", "-C", str(root), *arguments], check=True, capture_output=True, text=True).stdout


@pytest.mark.system
def test_a_new_campaign_takes_the_edited_task_and_leaves_the_file_alone(root: Path) -> None:
    run_night(root, RunOptions(proposer="random", trials=1, tag="one"), Listener())
    committed, edited = git(root, "show", "HEAD:task.toml"), edit(root)
    campaign = run_night(root, RunOptions(proposer="random", trials=4, tag="two", fresh=True), Listener())
    assert campaign.stop_reason == "limit of 4 trials reached"
    assert choices(campaign) == [32, 64, 128, 256]
    assert (root / "task.toml").read_text() == edited
    assert " M task.toml" in git(root, "status", "--porcelain").splitlines()
    assert git(root, "show", "autoresearch/two:task.toml") == committed


@pytest.mark.system
def test_a_campaign_that_goes_on_keeps_its_task_and_says_so(root: Path) -> None:
    with pytest.raises(Killed):
        run_night(root, RunOptions(proposer="random", trials=3), Listener("decided 1", kill))
    before, after = Listener("decided 2", kill), Listener()
    with pytest.raises(Killed):
        run_night(root, RunOptions(), before)
    edited = edit(root)
    campaign = run_night(root, RunOptions(), after)
    told = [[note for note in listener.notes if "task.toml" in note] for listener in (before, after)]
    assert [len(notes) for notes in told] == [0, 1]
    assert "goes on with its task as it was; --fresh starts another" in told[1][0]
    assert choices(campaign) == [32, 64, 128]
    assert (root / "task.toml").read_text() == edited
    assert [trial.seq for trial in record(root)[1]] == [0, 1, 2, 3]


@pytest.mark.system
def test_a_campaign_of_an_earlier_nightshift_goes_on_with_seconds(root: Path) -> None:
    """Its measurements say nothing of CPU time, its task nothing of a wall cap; a new budget is the next campaign's."""
    path = root / "task.toml"
    path.write_text(path.read_text().replace('kind = "steps"\namount = 20', 'kind = "seconds"\namount = 0.3'))
    with pytest.raises(Killed):
        run_night(root, RunOptions(proposer="random", trials=3), Listener("decided 1", kill))
    with duckdb.connect(str(Workspace(root).store_path)) as store:
        store.execute("UPDATE raw.measurements SET startup_cpu_s = NULL, cpu_s = NULL, answer_cpu_s = NULL")
    path.write_text(path.read_text().replace('kind = "seconds"\namount = 0.3', 'kind = "cpu_seconds"\namount = 0.3'))
    campaign = run_night(root, RunOptions(), Listener())
    assert campaign.task["budget"]["kind"] == "seconds"
    assert [trial.seq for trial in record(root)[1]] == [0, 1, 2, 3]
    assert {trial.status for trial in record(root)[1]} <= {Status.BASELINE, *FINISHED}
    fresh = run_night(root, RunOptions(proposer="random", trials=1, tag="cpu", fresh=True), Listener())
    assert fresh.task["budget"]["kind"] == "cpu_seconds"
    assert {trial.status for trial in record(root)[1]} <= {Status.BASELINE, *FINISHED}
