"""What a workspace must be, and the one clear sentence when it is not."""

import os
import re
import shlex
import subprocess
from pathlib import Path

import pytest

from memory.git.ratchet import Ratchet, init_workspace
from rails.errors import UserError
from tests.support.git_workspace import FILES, SOURCE, git, refs

PERSON = {f"GIT_{who}_{what}": "ada@x" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    path = tmp_path / "a workspace"
    init_workspace(path, FILES)
    return path


def refused(action: object, *parts: str) -> None:
    """Calling it must raise a UserError whose sentence has all the parts."""
    assert callable(action)
    with pytest.raises(UserError) as caught:
        action()
    for part in parts:
        assert part in str(caught.value)
    assert "\n" not in str(caught.value) and caught.value.fix


def start(path: Path, tag: str = "t") -> None:
    Ratchet(path, "train.py").start(tag)


def test_no_folder(tmp_path: Path) -> None:
    refused(lambda: start(tmp_path / "none"), str(tmp_path / "none"), "no such folder", "nightshift init")


def test_no_repository(tmp_path: Path) -> None:
    refused(lambda: start(tmp_path), "not a git repository", "nightshift init")


def test_inside_another_repository(tmp_path: Path) -> None:
    git(tmp_path, "init", "--quiet")
    inner = tmp_path / "sub" / "work"
    inner.mkdir(parents=True)
    refused(lambda: start(inner), "inside another git repository", str(tmp_path), "nightshift init DIR")
    refused(lambda: init_workspace(inner / "new", FILES), "inside another git repository", "outside")
    assert not (inner / "new").exists()


def test_a_repository_of_its_own_inside_another_is_fine(workspace: Path, tmp_path: Path) -> None:
    git(tmp_path, "init", "--quiet")
    start(workspace)
    assert "refs/heads/autoresearch/t" in refs(workspace)
    assert refs(tmp_path) == {}


def test_a_subfolder_of_a_workspace(workspace: Path) -> None:
    (workspace / "sub").mkdir()
    refused(lambda: start(workspace / "sub"), "inside another git repository", str(workspace))


def test_half_made_repository(tmp_path: Path) -> None:
    (tmp_path / ".git" / "objects").mkdir(parents=True)
    refused(lambda: start(tmp_path), "damaged or half-made", str(tmp_path / ".git"))


def test_bare_repository(tmp_path: Path) -> None:
    git(tmp_path, "init", "--quiet", "--bare")
    refused(lambda: start(tmp_path), "no working tree")


def test_working_tree_elsewhere(workspace: Path, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    git(workspace, "config", "core.worktree", str(tmp_path / "other"))
    refused(lambda: start(workspace), "another folder", str(tmp_path / "other"))


def test_another_kind_of_object_names(tmp_path: Path) -> None:
    git(tmp_path, "init", "--quiet", "--object-format=sha256")
    refused(lambda: start(tmp_path), "sha256")


def test_no_commits(tmp_path: Path) -> None:
    git(tmp_path, "init", "--quiet")
    (tmp_path / "train.py").write_text(SOURCE)
    refused(lambda: start(tmp_path), "no commit yet", f"git -C {tmp_path} add --all")


def test_file_not_committed(workspace: Path) -> None:
    refused(lambda: Ratchet(workspace, "model.py").start("t"), "model.py is not in the commit", "add --all")


def test_file_is_a_link(workspace: Path) -> None:
    (workspace / "train.py").rename(workspace / "real.py")
    (workspace / "train.py").symlink_to("real.py")
    git(workspace, "add", "--all")
    git(workspace, "commit", "--quiet", "-m", "link")
    refused(lambda: start(workspace), "train.py is not a regular file")


@pytest.mark.parametrize("staged", [False, True])
def test_dirty_tree(workspace: Path, staged: bool) -> None:
    (workspace / "train.py").write_text("changed")
    if staged:
        git(workspace, "add", "train.py")
    refused(lambda: start(workspace), "uncommitted changes to train.py", "stash", f"'{workspace}'")
    assert refs(workspace).keys() == {"refs/heads/main"}


def test_many_dirty_files_are_counted(workspace: Path) -> None:
    names = ("a.py", "b.py", "c.py")
    for name in names:
        (workspace / name).write_text("mine")
    git(workspace, "add", "--all")
    git(workspace, "commit", "--quiet", "-m", "more files")
    for name in (*names, *FILES):
        (workspace / name).write_text("changed")
    refused(lambda: start(workspace), "uncommitted changes to .gitignore, a.py, b.py and 2 more")


@pytest.mark.parametrize("staged", [False, True])
def test_what_is_a_persons_to_edit_may_be_uncommitted(workspace: Path, staged: bool) -> None:
    for name in ("task.toml", "program.md"):
        (workspace / name).write_text("my edit\n")
    if staged:
        git(workspace, "add", "task.toml", "program.md")
    before = git(workspace, "status", "--porcelain")
    start(workspace)
    assert git(workspace, "status", "--porcelain") == before


def test_the_advice_to_put_changes_aside_leaves_an_edited_task_where_it_is(workspace: Path) -> None:
    for name in ("train.py", "task.toml"):
        (workspace / name).write_text("mine\n")
    with pytest.raises(UserError) as caught:
        start(workspace)
    (command,) = re.findall("`(git .*?)`", str(caught.value))
    subprocess.run(shlex.split(command), check=True, capture_output=True, env={**os.environ, **PERSON})
    assert (workspace / "train.py").read_text() == SOURCE
    assert (workspace / "task.toml").read_text() == "mine\n"
    start(workspace)


def test_untracked_files_and_a_changed_results_table_are_fine(workspace: Path) -> None:
    (workspace / "results.tsv").write_text("a\n")
    git(workspace, "add", "results.tsv")
    git(workspace, "commit", "--quiet", "-m", "results of last night")
    (workspace / "results.tsv").write_text("a\nb\n")
    (workspace / "notes.txt").write_text("mine")
    start(workspace)
    assert (workspace / "results.tsv").read_text() == "a\nb\n"


def test_detached_head(workspace: Path) -> None:
    git(workspace, "checkout", "--quiet", "--detach")
    refused(lambda: start(workspace), "detached", "switch --create")


def test_merge_under_way(workspace: Path) -> None:
    git(workspace, "switch", "--quiet", "--create", "other")
    (workspace / "program.md").write_text("theirs")
    git(workspace, "commit", "--quiet", "--all", "-m", "theirs")
    git(workspace, "switch", "--quiet", "main")
    git(workspace, "merge", "--quiet", "--no-commit", "--no-ff", "other")
    refused(lambda: start(workspace), "a merge is under way", "merge --abort")


def test_branch_exists(workspace: Path) -> None:
    start(workspace)
    git(workspace, "switch", "--quiet", "main")
    refused(lambda: start(workspace), "autoresearch/t exists already", "--tag")
    start(workspace, "t2")


def test_branch_named_autoresearch(workspace: Path) -> None:
    git(workspace, "branch", "autoresearch")
    refused(lambda: start(workspace), "a branch named autoresearch is in the way", "branch -m autoresearch")


@pytest.mark.parametrize("tag", ["", "a b", "-x", "a..b", "a/b", "x.lock", "ä", "a.", "x" * 65, "a\n", "~", "@{1}"])
def test_bad_tags(workspace: Path, tag: str) -> None:
    refused(lambda: start(workspace, tag), "--tag", "cannot name a branch")


@pytest.mark.parametrize("tag", ["a", "nov20", "2026-11-20", "A_b.c", "x" * 64])
def test_good_tags(workspace: Path, tag: str) -> None:
    start(workspace, tag)


def test_init_refuses_what_is_in_the_way(workspace: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "train.py").write_text("my own")
    refused(lambda: init_workspace(workspace, FILES), "already a git repository")
    refused(lambda: init_workspace(tmp_path / "file", FILES), "a file of that name")
    refused(lambda: init_workspace(tmp_path / "full", FILES), "not empty (train.py)")
    assert (tmp_path / "full" / "train.py").read_text() == "my own"


def test_init_in_the_empty_folder_one_is_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    init_workspace(Path(), FILES)
    assert git(Path(), "status", "--porcelain") == ""


def test_init_completes_what_a_killed_one_began(tmp_path: Path) -> None:
    path = tmp_path / "w"
    git(tmp_path, "init", "--quiet", "w/.nightshift-init")
    (path / "train.py").write_text(SOURCE)
    (path / ".task.toml.123-abcd.tmp").write_text("na")
    init_workspace(path, FILES)
    assert git(path, "status", "--porcelain", "--ignored") == ""
    assert sorted(entry.name for entry in path.iterdir()) == sorted([*FILES, ".git"])


def test_git_says_whose_repository_it_is(workspace: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can give files away")
    for folder, _, files in os.walk(workspace):
        for name in [".", *files]:
            os.chown(Path(folder, name), 12345, 12345)
    refused(lambda: start(workspace), "dubious ownership", "safe.directory")


def test_no_git_on_this_machine(workspace: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from memory.git.ratchet import Ratchet\n"
        "from rails.errors import UserError\n"
        "try: Ratchet(Path(sys.argv[1]), 'train.py')\n"
        "except UserError as error: print(error)"
    )
    python = str(Path(__import__("sys").executable))
    done = subprocess.run(
        [python, "-c", code, str(workspace)], env={"PATH": "/nonexistent"}, capture_output=True, text=True, check=True
    )
    assert done.stdout.startswith("git is not installed — install git")
