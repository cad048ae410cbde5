"""What bad input gets: one clear sentence with the place and the way out, exit 1, nothing lost, no traceback."""

import json
import os
import shutil
import subprocess
from functools import partial
from pathlib import Path

import pytest

import graph.campaign.open
from cli.main import run_command
from graph.campaign.options import RunOptions
from graph.limits.patience import Patience
from graph.runner import Runner
from graph.services import Services
from rails.errors import UserError
from tests.support.chat_server import ChatServer, failing, ok
from tests.support.command import Finished, nightshift
from tests.support.workspaces import make_quick_workspace, standin_campaign


def git(root: Path, *arguments: str) -> None:
    subprocess.run(["git", "-C", str(root), *arguments], check=True, capture_output=True)


def commit_task(root: Path, old: str, new: str) -> None:
    path = root / "task.toml"
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))
    git(root, "-c", "user.name=a", "-c", "user.email=a@b", "commit", "-qam", "change the task")


def refused(done: Finished, *words: str) -> None:
    assert done.code == 1
    assert done.out == ""
    assert "Traceback" not in done.err
    last = done.err.strip().splitlines()[-1]
    assert last.startswith("nightshift: ")
    for word in words:
        assert word in last


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return make_quick_workspace(tmp_path)


def test_a_malformed_task(root: Path) -> None:
    commit_task(root, "[budget]", "[budget")
    refused(nightshift("run", root, "--proposer", "random"), "task.toml", "line")


def test_an_unknown_key(root: Path) -> None:
    commit_task(root, "amount = 20", "amonut = 20")
    refused(nightshift("run", root, "--proposer", "random"), "task.toml", "amonut", "amount")


def test_an_unknown_knob(root: Path) -> None:
    commit_task(root, "decay = {", "decoy = {")
    refused(nightshift("run", root, "--proposer", "random"), "decoy", "train.py")


def test_a_default_out_of_range(root: Path) -> None:
    commit_task(root, "range = [0.5, 1.0], default = 1.0", "range = [0.5, 0.9], default = 1.0")
    refused(nightshift("run", root, "--proposer", "random"), "decay", "default")


def test_a_value_in_the_program_that_the_menu_forbids(root: Path) -> None:
    commit_task(root, "range = [0.5, 1.0], default = 1.0", "range = [0.5, 0.9], default = 0.9")
    refused(nightshift("run", root, "--proposer", "random"), "train.py", "decay")


def test_a_workspace_inside_another_repository(tmp_path: Path) -> None:
    git(tmp_path, "init", "-q")
    refused(nightshift("init", tmp_path / "inner"), "inside", str(tmp_path))
    assert not (tmp_path / "inner" / "task.toml").exists()


def test_run_in_a_folder_that_holds_something_else(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("mine")
    refused(nightshift("run", tmp_path), "not empty")
    assert [p.name for p in tmp_path.iterdir()] == ["thesis.tex"]


def test_a_dirty_tree(root: Path) -> None:
    (root / "train.py").write_text((root / "train.py").read_text() + "\n# in the middle of something\n")
    refused(nightshift("run", root, "--proposer", "random"), "train.py", "commit")
    assert (root / "train.py").read_text().endswith("# in the middle of something\n")


def test_a_branch_that_exists(root: Path) -> None:
    git(root, "branch", "autoresearch/mine")
    refused(nightshift("run", root, "--proposer", "random", "--tag", "mine"), "autoresearch/mine", "--tag")


def test_a_disk_without_space(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = shutil.disk_usage(root)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=10 * 2**20))
    with pytest.raises(UserError, match=r"only 10 MiB are free.*free some space"), standin_campaign(root):
        pass


@pytest.mark.system
def test_an_endpoint_that_refuses(root: Path) -> None:
    (root / "models.toml").write_text(
        '[models.local]\nbase_url = "http://127.0.0.1:9/v1"\nmodel = "none"\n', encoding="utf-8"
    )
    done = nightshift("run", root, "--proposer", "local", "--trials", "1")
    refused(done, "127.0.0.1:9")
    assert not list((root / ".nightshift").glob("snapshot*")), "it refused before anything was measured"


@pytest.mark.system
def test_an_endpoint_that_refuses_for_good_in_the_night(
    root: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    impatient = Patience(first_s=0.0, ceiling_s=0.01, patience_s=0.1)
    monkeypatch.setattr(graph.campaign.open, "Services", partial(Services, patience=impatient))
    good = ok(json.dumps({"knob": "rows", "new_value": 16, "reason": "more"}))
    with ChatServer([good, *[failing(401)] * 3]) as server:
        (root / "models.toml").write_text(server.models_toml("local"), encoding="utf-8")
        code = run_command(["run", str(root), "--proposer", "local", "--trials", "2"])
    said = capsys.readouterr()
    refused(Finished(code, said.out, said.err), "401", "models.toml")
    status = nightshift("status", root, "--json").document
    assert status["state"] == "ended"
    assert "401" in status["stop_reason"]
    assert status["statuses"] in ({"keep": 1}, {"discard": 1})
    assert status["trials"] == 2, "the second one is open, and goes on when the endpoint is mended"


def test_an_unknown_proposer(root: Path) -> None:
    refused(nightshift("run", root, "--proposer", "tpee"), "tpee", "tpe")


@pytest.mark.system
def test_isolation_that_is_not_to_be_had(root: Path, tmp_path: Path) -> None:
    (tmp_path / "git").symlink_to(shutil.which("git") or "")
    without_bubblewrap = {"PATH": str(tmp_path)}
    refused(nightshift("run", root, "--require-isolation", "L4", env=without_bubblewrap), "L4", "require")


def test_status_without_a_workspace(tmp_path: Path) -> None:
    refused(nightshift("status", tmp_path), str(tmp_path), "nightshift init")


def test_status_before_the_first_campaign(root: Path) -> None:
    refused(nightshift("status", root), "no campaign", "nightshift run")


def test_usage_errors_exit_with_two() -> None:
    assert nightshift("run", "--trials", "many").code == 2
    assert nightshift("frobnicate").code == 2


def test_bad_sql_names_the_trouble(root: Path) -> None:
    with standin_campaign(root, options=RunOptions(proposer="random", trials=1)) as services:
        Runner(services).run()
    refused(nightshift("query", root, "SELECT nothing FROM nowhere"), "nowhere")
    refused(nightshift("show", root, 99), "99", "0 to 1")


def test_a_second_loop_is_told_who_holds_the_workspace(root: Path) -> None:
    with standin_campaign(root):
        done = nightshift("run", root, "--proposer", "random")
    assert done.code == 75
    assert str(os.getpid()) in done.err


@pytest.mark.system
def test_a_program_that_cannot_be_measured_stops_the_night(root: Path) -> None:
    path = root / "train.py"
    path.write_text("raise SystemExit('not today')\n" + path.read_text().replace('"""A fast', '"""A', 1))
    git(root, "-c", "user.name=a", "-c", "user.email=a@b", "commit", "-qam", "break it")
    refused(nightshift("run", root, "--proposer", "random"), "baseline", "not today")


def test_a_limit_that_cannot_be_kept(root: Path) -> None:
    (root / "models.toml").write_text(
        '[models.local]\nbase_url = "http://127.0.0.1:9/v1"\nmodel = "none"\n', encoding="utf-8"
    )
    refused(nightshift("run", root, "--proposer", "local", "--usd", "2"), "prices", "models.toml")


def test_a_fallback_that_nobody_knows(root: Path) -> None:
    refused(nightshift("run", root, "--proposer", "random", "--fallback", "tpee"), "tpee", "tpe")


def test_pausing_and_resuming_where_nothing_runs(root: Path) -> None:
    refused(nightshift("pause", root), "no loop is at work here", "nightshift run")
    refused(nightshift("resume", root), "nobody has paused", "nightshift run")
