"""Two loops in one workspace, a person at work in it between a kill and going on, and SIGTERM at the worst moment."""

import os
import signal
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from tests.support.command import argv, nightshift
from tests.support.git_workspace import git, refs
from tests.support.killing import Point
from tests.support.killing_digest import compare, digest, stored
from tests.support.killing_matrix import Matrix
from tests.support.killing_night import CHAPTERS
from tests.support.killing_points import POINTS
from tests.support.variants import first
from tests.support.workspaces import make_quick_workspace

BRANCH = "autoresearch/night"
SCORING = ("while scoring", "between trained and scored", "while the replica is probed")


def point(name: str) -> Point:
    return next(point for point in POINTS if point.name == name)


def killed(matrix: Matrix, name: str) -> Path:
    """A workspace in which a loop has died."""
    at = point(name)
    root = matrix.beginning_of(CHAPTERS[at.chapter])
    matrix.kill(root, at)
    return root


def ends_well(matrix: Matrix, root: Path, name: str) -> None:
    at = point(name)
    matrix.go_on(CHAPTERS[at.chapter], root)
    matrix.check_end(root, at)


@pytest.mark.system  # tests/cli/commands/test_bad_input.py has a loop of this process refuse a command
def test_a_second_loop_is_refused_until_the_first_is_dead(tmp_path: Path) -> None:
    root = make_quick_workspace(tmp_path)
    options = ("--proposer", "random", "--tag", "night", "--trials")
    command = argv("run", root, *options, 1000)
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    ) as first:
        assert first.stderr is not None
        while "trial 0" not in (line := first.stderr.readline()):
            assert line, "it ended before its first trial"
        second = nightshift("run", root, *options, 1000)
        assert second.code == 75
        assert f"process {first.pid}" in second.err
        assert first.poll() is None
        os.kill(first.pid, signal.SIGKILL)
    third = nightshift("run", root, *options, 1, "--json")
    assert third.code == 0, third.err
    assert third.document["stop_reason"] == "limit of 1 trials reached"


@pytest.mark.system
@pytest.mark.parametrize("name", first(1, ["after the commit of decided of a keep", "report 9 of training"]))
def test_a_branch_that_a_person_moved_is_left_alone_until_it_is_back(matrix: Matrix, name: str) -> None:
    root = killed(matrix, name)
    before, head = refs(root), git(root, "rev-parse", BRANCH)
    git(root, "commit", "--quiet", "--allow-empty", "-m", "a person's")
    mine = git(root, "rev-parse", BRANCH)
    assert f"somebody moved the campaign's branch {BRANCH}" in matrix.try_to_go_on(CHAPTERS[point(name).chapter], root)
    assert refs(root) == {**before, f"refs/heads/{BRANCH}": mine}
    git(root, "reset", "--quiet", "--soft", head)
    ends_well(matrix, root, name)


@pytest.mark.slow
def test_a_branch_that_a_person_deleted_is_made_again(matrix: Matrix) -> None:
    name = "after the commit of decided of a keep"
    root = killed(matrix, name)
    (head,) = {row["head_commit"] for row in stored(root)["Campaign"][-1:]}
    git(root, "stash", "--quiet", "--include-untracked")  # results.tsv is ahead of the branch's last commit
    git(root, "stash", "drop", "--quiet")
    git(root, "switch", "--quiet", "main")
    git(root, "branch", "--quiet", "-D", BRANCH)
    said = matrix.try_to_go_on(CHAPTERS[point(name).chapter], root)
    assert f"the campaign's branch {BRANCH} is not checked out" in said
    git(root, "checkout", "--quiet", "--detach", head)
    ends_well(matrix, root, name)


@pytest.mark.system
def test_a_persons_uncommitted_work_survives_going_on(matrix: Matrix) -> None:
    name = "after the commit of decided of a keep"
    root = killed(matrix, name)
    program = (root / "train.py").read_text() + "\n# a person's remark\n"
    (root / "train.py").write_text(program)
    (root / "program.md").write_text("my own policy\n")
    (root / "notes.txt").write_text("mine\n")
    git(root, "add", "notes.txt")
    matrix.go_on(CHAPTERS[point(name).chapter], root)
    found, reference = digest(root), matrix.reference(point(name).chapter)
    own = {"files", "status"}
    compare({key: found[key] for key in found if key not in own}, {k: reference[k] for k in reference if k not in own})
    assert (root / "train.py").read_text() == program
    assert (root / "program.md").read_text() == "my own policy\n"
    assert "A  notes.txt" in found["status"]
    assert "rows: int = 32" in git(root, "show", f"{BRANCH}:train.py")


@pytest.mark.slow  # with --all a loop in this process is told so
@pytest.mark.parametrize("name", SCORING)
def test_a_scoring_under_way_is_finished_before_a_sigterm_ends_the_loop(matrix: Matrix, name: str) -> None:
    at = replace(point(name), signal=signal.SIGTERM)
    chapter = CHAPTERS[at.chapter]
    root = matrix.beginning_of(chapter)
    matrix.go_on(chapter, root, at)
    rows = stored(root)
    assert rows["Campaign"][-1]["stop_reason"] == "interrupted by a signal"
    assert rows["Trial"][-1]["status"] == "discard", "it was scored and decided, not interrupted"
    matrix.go_on(chapter, root)
    matrix.check_end(root, at)
