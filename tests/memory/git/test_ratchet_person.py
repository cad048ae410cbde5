"""A person works in the same repository while the campaign runs, with a set-up of their own."""

import re
import shlex
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

from memory.git.ratchet import Ratchet, init_workspace
from rails.errors import HaltError
from tests.support.git_workspace import FILES, SOURCE, WHEN, git, refs, with_depth

HEADER = "commit\tval_bpb\tmemory_gb\tstatus\tdescription\n"
ROW = "abc1234\t1.7\t0.1\tdiscard\tdepth=9\n"


@dataclass
class Night:
    """A campaign under way on branch autoresearch/t."""

    path: Path
    ratchet: Ratchet
    head: str

    def keep(self, depth: int, results: str = HEADER) -> list[str]:
        """Keep a program; returns the files that were left alone."""
        kept = self.ratchet.commit_keep(self.head, with_depth(depth), results, f"depth={depth}", WHEN)
        skipped = self.ratchet.advance(self.head, kept)
        self.head = kept
        return skipped

    def branch(self) -> str:
        return refs(self.path)["refs/heads/autoresearch/t"]

    def text(self, name: str = "train.py") -> str:
        return (self.path / name).read_text()


@pytest.fixture
def night(tmp_path: Path) -> Night:
    path = tmp_path / "a workspace"
    init_workspace(path, FILES)
    ratchet = Ratchet(path, "train.py")
    return Night(path, ratchet, ratchet.start("t"))


def test_an_edited_program_is_left_alone_and_the_branch_still_advances(night: Night) -> None:
    (night.path / "train.py").write_text("my own experiment\n")
    (night.path / "program.md").write_text("a new policy\n")
    assert night.keep(5) == ["train.py"]
    assert night.keep(6) == ["train.py"]
    assert night.branch() == night.head
    assert night.text() == "my own experiment\n" and night.text("program.md") == "a new policy\n"
    assert night.text("results.tsv") == HEADER
    assert git(night.path, "status", "--porcelain").splitlines() == ["M program.md", " M train.py"]
    git(night.path, "restore", "train.py")  # the person changes their mind
    assert night.text() == with_depth(6)
    assert night.keep(7) == []


def test_a_branch_that_is_taken_back_leaves_an_edited_program_alone(night: Night) -> None:
    start = night.head
    night.keep(5)
    first = night.head
    night.keep(6)
    assert night.ratchet.take_back(night.head, first) == []
    assert (night.branch(), night.text()) == (first, with_depth(5))
    assert night.ratchet.take_back(night.head, first) == [], "doing it again is harmless"
    assert git(night.path, "status", "--porcelain") == ""
    (night.path / "train.py").write_text("my own experiment\n")
    assert night.ratchet.take_back(first, start) == ["train.py"]
    assert (night.branch(), night.text()) == (start, "my own experiment\n")
    git(night.path, "commit", "--quiet", "--all", "-m", "mine")
    with pytest.raises(HaltError, match="somebody moved the campaign's branch"):
        night.ratchet.take_back(first, start)
    assert night.text() == "my own experiment\n"


@pytest.mark.parametrize("staged", [False, True])
def test_an_edited_task_outlives_keeps_starts_and_new_campaigns_and_is_never_committed(
    night: Night, staged: bool
) -> None:
    mine = {"task.toml": 'name = "mine"\n', "program.md": "my policy\n"}
    for name, text in mine.items():
        (night.path / name).write_text(text)
    if staged:
        git(night.path, "add", *mine)
    before = git(night.path, "status", "--porcelain")
    assert night.keep(5) == []
    again = Ratchet(night.path, "train.py")
    again.resume("t", night.head)
    assert again.project(night.head, HEADER) == []
    second = Ratchet(night.path, "train.py")
    head = second.start("t2")
    assert second.project(head, HEADER) == []
    night.ratchet = second
    assert night.keep(6) == []
    assert {name: night.text(name) for name in mine} == mine
    assert git(night.path, "status", "--porcelain") == before
    for name in mine:
        assert git(night.path, "show", f"autoresearch/t2:{name}") + "\n" == FILES[name]


def test_what_a_person_staged_stays_staged(night: Night) -> None:
    (night.path / "train.py").write_text("staged work\n")
    (night.path / "new.py").write_text("also staged\n")
    git(night.path, "add", "train.py", "new.py")
    assert night.keep(5) == ["train.py"]
    assert git(night.path, "show", ":train.py") == "staged work"
    assert git(night.path, "diff", "--cached", "--name-only").split() == ["new.py", "train.py"]
    assert night.ratchet.project(night.head, HEADER) == ["train.py"]
    assert git(night.path, "show", ":train.py") == "staged work"


def test_a_staged_program_restored_in_the_working_tree_stays_staged(night: Night) -> None:
    (night.path / "train.py").write_text("staged work\n")
    git(night.path, "add", "train.py")
    (night.path / "train.py").write_text(SOURCE)
    assert night.keep(5) == []
    assert git(night.path, "show", ":train.py") == "staged work"
    assert night.text() == with_depth(5)


def test_a_deleted_or_replaced_program_is_left_alone(night: Night) -> None:
    (night.path / "train.py").unlink()
    assert night.keep(5) == ["train.py"]
    assert not (night.path / "train.py").exists()
    (night.path / "mine.py").write_text(SOURCE)
    (night.path / "train.py").symlink_to("mine.py")
    assert night.keep(6) == ["train.py"]
    assert (night.path / "mine.py").read_text() == SOURCE
    (night.path / "train.py").unlink()
    (night.path / "train.py").mkdir()
    assert night.keep(7) == ["train.py"]


def test_a_line_added_to_the_results_table_is_kept_and_a_table_ahead_is_not_taken_for_an_edit(night: Night) -> None:
    assert night.ratchet.project(night.head, HEADER + ROW) == []
    assert night.keep(5, HEADER + ROW) == []
    assert night.ratchet.project(night.head, HEADER + ROW + ROW.replace("9", "8")) == []
    (night.path / "results.tsv").write_text(HEADER + ROW + "# promising!\n")
    assert night.keep(6, HEADER + ROW) == ["results.tsv"]
    assert "# promising!" in night.text("results.tsv")
    (night.path / "results.tsv").unlink()
    assert night.ratchet.project(night.head, HEADER + ROW) == []
    assert night.text("results.tsv") == HEADER + ROW


def test_a_row_that_changes_with_new_measurements_is_not_taken_for_an_edit(night: Night) -> None:
    for metric in ("1.70", "1.71", "1.72"):
        again = Ratchet(night.path, "train.py")
        again.resume("t", night.head)
        assert again.project(night.head, HEADER + ROW.replace("1.7", metric)) == []
    (night.path / ".git" / "nightshift-results").unlink()
    assert night.ratchet.project(night.head, HEADER + ROW.replace("1.7", "1.73")) == ["results.tsv"]


def test_a_results_table_of_an_earlier_campaign_is_replaced(night: Night) -> None:
    night.keep(5, HEADER + "old0000\t1.9\t0.1\tkeep\tdepth=5\n")
    second = Ratchet(night.path, "train.py")
    head = second.start("t2")
    assert second.project(head, HEADER + ROW) == []
    assert night.text("results.tsv") == HEADER + ROW


def test_other_work_on_other_branches_is_no_trouble(night: Night) -> None:
    git(night.path, "switch", "--quiet", "main")
    assert night.keep(5) == ["train.py", "results.tsv"]
    assert night.branch() == night.head
    assert night.text() == SOURCE and not (night.path / "results.tsv").exists()
    assert git(night.path, "status", "--porcelain") == ""
    git(night.path, "switch", "--quiet", "autoresearch/t")
    assert night.text() == with_depth(5)
    assert night.keep(6) == []
    git(night.path, "checkout", "--quiet", "--detach")
    assert night.keep(7) == ["train.py", "results.tsv"]
    assert git(night.path, "status", "--porcelain") == ""


def test_a_commit_on_the_campaigns_branch_halts_and_the_advice_works(night: Night) -> None:
    (night.path / "program.md").write_text("a person's commit\n")
    git(night.path, "commit", "--quiet", "--all", "-m", "mine")
    mine = night.branch()
    old = night.head
    with pytest.raises(HaltError, match=r"somebody moved the campaign's branch autoresearch/t: it is at") as caught:
        night.keep(5)
    assert mine[:12] in str(caught.value) and old[:12] in str(caught.value) and "--fresh" in str(caught.value)
    assert night.branch() == mine and night.text("program.md") == "a person's commit\n"

    kept = night.ratchet.commit_keep(old, with_depth(5), HEADER, "depth=5", WHEN)  # what the store has recorded
    with pytest.raises(HaltError, match="somebody moved"):
        Ratchet(night.path, "train.py").resume("t", kept)
    for command in re.findall("`(git .*?)`", str(caught.value)):
        subprocess.run(shlex.split(command), check=True, capture_output=True)
    again = Ratchet(night.path, "train.py")
    again.resume("t", kept)
    assert again.project(kept, HEADER) == []
    assert refs(night.path)["refs/heads/my-work"] == mine
    assert night.branch() == kept and night.text() == with_depth(5)
    assert git(night.path, "status", "--porcelain") == ""


def test_a_branch_moved_while_another_is_checked_out_halts_and_the_advice_works(night: Night) -> None:
    git(night.path, "switch", "--quiet", "--create", "mine")
    git(night.path, "commit", "--quiet", "--allow-empty", "-m", "mine")
    git(night.path, "branch", "--force", "autoresearch/t", "mine")
    with pytest.raises(HaltError, match="somebody moved") as caught:
        night.keep(5)
    for command in re.findall("`(git .*?)`", str(caught.value)):
        subprocess.run(shlex.split(command), check=True, capture_output=True)
    night.keep(5)


def test_a_deleted_branch_halts_and_a_new_start_makes_it_again(night: Night) -> None:
    night.keep(5)
    git(night.path, "switch", "--quiet", "main")
    git(night.path, "branch", "--quiet", "-D", "autoresearch/t")
    with pytest.raises(HaltError, match=r"somebody deleted the campaign's branch"):
        night.keep(6)
    with pytest.raises(HaltError, match="not checked out"):
        Ratchet(night.path, "train.py").resume("t", night.head)
    git(night.path, "checkout", "--quiet", night.head)
    Ratchet(night.path, "train.py").resume("t", night.head)
    assert night.branch() == night.head
    assert git(night.path, "symbolic-ref", "HEAD") == "refs/heads/autoresearch/t"


def test_resume_with_another_branch_checked_out_says_how_to_go_on(night: Night) -> None:
    night.keep(5)
    git(night.path, "switch", "--quiet", "main")
    with pytest.raises(HaltError, match="autoresearch/t is not checked out") as caught:
        Ratchet(night.path, "train.py").resume("t", night.head)
    (command,) = re.findall("`(git .*?)`", str(caught.value))
    subprocess.run(shlex.split(command), check=True, capture_output=True)
    Ratchet(night.path, "train.py").resume("t", night.head)


def test_a_recorded_commit_that_is_gone_halts(night: Night) -> None:
    with pytest.raises(HaltError, match=r"the commit 1234567 *1* is missing from the git repository"):
        night.ratchet.resume("t", "1234567".ljust(40, "1"))


def test_hooks_are_never_run(night: Night) -> None:
    hooks = night.path / ".git" / "hooks"
    hooks.mkdir()
    names = ["pre-commit", "commit-msg", "post-commit", "post-checkout", "post-index-change", "reference-transaction"]
    for name in [*names, "pre-auto-gc", "post-rewrite", "fsmonitor-watchman", "update"]:
        (hooks / name).write_text(f"#!/bin/sh\ntouch '{night.path}/ran-{name}'\nexit 1\n")
        (hooks / name).chmod(0o755)
    git(night.path, "config", "core.hooksPath", str(hooks))
    git(night.path, "config", "core.fsmonitor", str(hooks / "fsmonitor-watchman"))
    ratchet = Ratchet(night.path, "train.py")
    head = ratchet.start("t2")
    ratchet.discard(ratchet.commit_candidate(head, with_depth(5), "m", WHEN))
    kept = ratchet.commit_keep(head, with_depth(5), HEADER, "m", WHEN)
    assert ratchet.advance(head, kept) == []
    ratchet.resume("t2", kept)
    assert ratchet.project(kept, HEADER) == []
    assert [path.name for path in night.path.iterdir() if path.name.startswith("ran-")] == []


SIGNING = """
[commit]
    gpgsign = true
[tag]
    gpgsign = true
[gpg]
    program = /bin/false
[user]
    useConfigOnly = true
[core]
    autocrlf = input
    logAllRefUpdates = always
[init]
    defaultBranch = trunk
    templateDir = {template}
[push]
    gpgSign = true
"""


@pytest.mark.parametrize("home", ["signing", "empty", "unset"])
def test_a_persons_configuration_does_not_matter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, home: str) -> None:
    template = tmp_path / "template" / "hooks"
    template.mkdir(parents=True)
    (template / "pre-commit").write_text("#!/bin/sh\nexit 1\n")
    (tmp_path / "home").mkdir()
    if home == "signing":
        (tmp_path / "home" / ".gitconfig").write_text(SIGNING.format(template=template.parent))
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")
    if home == "unset":
        monkeypatch.delenv("HOME")
        monkeypatch.setenv("GIT_CONFIG_GLOBAL", "/dev/null")
    path = tmp_path / "work"
    init_workspace(path, FILES)
    ratchet = Ratchet(path, "train.py")
    night = Night(path, ratchet, ratchet.start("t"))
    assert night.keep(5) == []
    assert "gpgsig" not in git(path, "cat-file", "commit", night.head)
    assert git(path, "log", "-1", "--format=%an|%cn") == "nightshift|nightshift"
    assert not (path / ".git" / "hooks").exists()
    assert git(path, "reflog", "show", "--format=%gn %gs", "-1", "autoresearch/t") == "nightshift nightshift: keep"


def test_variables_of_another_git_do_not_lead_astray(
    night: Night, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = tmp_path / "other"
    init_workspace(other, FILES)
    before = refs(other)
    for name, place in [("GIT_DIR", ".git"), ("GIT_WORK_TREE", "."), ("GIT_INDEX_FILE", ".git/index")]:
        monkeypatch.setenv(name, str(other / place))
    monkeypatch.setenv("GIT_OBJECT_DIRECTORY", str(other / ".git" / "objects"))
    night.ratchet = Ratchet(night.path, "train.py")
    night.ratchet.resume("t", night.head)
    assert night.keep(5) == []
    assert refs(other) == before and night.branch() == night.head
