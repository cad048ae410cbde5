"""A trial that is not kept costs no git process, and what git and a person do meanwhile is seen all the same."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from memory.git.ratchet import Ratchet, init_workspace
from memory.git.repo import GitResult, GitRunner
from tests.support.git_workspace import FILES, WHEN, git, refs, with_depth

HEADER = "commit\tval_bpb\tmemory_gb\tstatus\tdescription\n"
CANDIDATES = "refs/nightshift/candidates/"


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    path = tmp_path / "a workspace"
    init_workspace(path, FILES)
    return path


@pytest.fixture
def processes(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """The git commands that were run as processes."""
    commands: list[str] = []
    run = GitRunner.run

    def noted(runner: GitRunner, *arguments: str, stdin: str = "") -> GitResult:
        commands.append(next(word for word in arguments if not word.startswith("-") and "=" not in word))
        return run(runner, *arguments, stdin=stdin)

    monkeypatch.setattr(GitRunner, "run", noted)
    yield commands


def discarded_trial(ratchet: Ratchet, head: str, depth: int) -> str:
    candidate = ratchet.commit_candidate(head, with_depth(depth), f"depth={depth}", WHEN)
    ratchet.discard(candidate)
    assert ratchet.project(head, HEADER + f"{depth}\n") == []
    return candidate


def test_a_discarded_trial_starts_no_git_process(workspace: Path, processes: list[str]) -> None:
    ratchet = Ratchet(workspace, "train.py")
    head = ratchet.start("t")
    discarded_trial(ratchet, head, 5)
    processes.clear()
    for depth in range(6, 12):
        discarded_trial(ratchet, head, depth)
    assert processes == []
    assert sorted(refs(workspace)) == ["refs/heads/autoresearch/t", "refs/heads/main"]
    assert git(workspace, "fsck", "--strict", "--no-dangling") == ""


def test_an_index_that_a_person_changed_is_looked_at_again(workspace: Path, processes: list[str]) -> None:
    ratchet = Ratchet(workspace, "train.py")
    head = ratchet.start("t")
    kept = ratchet.commit_keep(head, with_depth(5), HEADER, "m", WHEN)
    assert ratchet.advance(head, kept) == []
    for _ in range(3):
        assert ratchet.project(kept, HEADER) == []
    git(workspace, "reset", "--quiet", head, "--", "train.py")  # stages the version before
    assert git(workspace, "status", "--porcelain") == "MM train.py"
    processes.clear()
    assert ratchet.project(kept, HEADER) == []
    assert git(workspace, "status", "--porcelain") == ""
    assert "update-index" in processes


def test_an_index_that_could_not_be_written_is_tried_again(workspace: Path) -> None:
    ratchet = Ratchet(workspace, "train.py")
    head = ratchet.start("t")
    kept = ratchet.commit_keep(head, with_depth(5), HEADER, "m", WHEN)
    lock = workspace / ".git" / "index.lock"
    lock.touch()
    assert ratchet.advance(head, kept) == []
    assert ratchet.project(kept, HEADER) == []
    lock.unlink()
    assert ratchet.project(kept, HEADER) == []
    assert git(workspace, "status", "--porcelain") == ""


def test_a_candidate_that_git_has_packed_is_dropped_for_good(workspace: Path) -> None:
    ratchet = Ratchet(workspace, "train.py")
    head = ratchet.start("t")
    candidate = ratchet.commit_candidate(head, with_depth(5), "m", WHEN)
    git(workspace, "pack-refs", "--all", "--prune")
    assert not (workspace / ".git" / CANDIDATES / candidate).exists()
    assert ratchet.commit_candidate(head, with_depth(5), "m", WHEN) == candidate
    ratchet.discard(candidate)
    assert sorted(refs(workspace)) == ["refs/heads/autoresearch/t", "refs/heads/main"]
    git(workspace, "pack-refs", "--all", "--prune")
    assert ratchet.project(head, HEADER) == []  # the branch itself is packed now


def test_a_repository_whose_refs_are_no_files_is_left_to_git(workspace: Path, processes: list[str]) -> None:
    ratchet = Ratchet(workspace, "train.py")
    head = ratchet.start("t")
    (workspace / ".git" / "reftable").mkdir()
    processes.clear()
    discarded_trial(ratchet, head, 5)
    assert processes.count("update-ref") == 2
    assert sorted(refs(workspace)) == ["refs/heads/autoresearch/t", "refs/heads/main"]


def test_git_protects_a_candidate_from_its_own_collection(workspace: Path) -> None:
    ratchet = Ratchet(workspace, "train.py")
    candidate = ratchet.commit_candidate(ratchet.start("t"), with_depth(5), "m", WHEN)
    git(workspace, "gc", "--quiet", "--prune=now")
    assert ratchet.source(candidate) == with_depth(5)
    assert refs(workspace)[CANDIDATES + candidate] == candidate
