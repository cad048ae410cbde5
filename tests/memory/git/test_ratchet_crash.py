"""Killed anywhere, the ratchet comes back to what the store has recorded."""

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import memory.git.locks
import memory.git.objects
from memory.git.ratchet import Ratchet, init_workspace
from memory.git.repo import GitRunner
from rails.errors import HaltError
from tests.support.git_workspace import FILES, WHEN, git, refs, with_depth
from tests.support.variants import first

HEADER = "commit\tval_bpb\tmemory_gb\tstatus\tdescription\n"
BRANCH = "refs/heads/autoresearch/t"


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    path = tmp_path / "a workspace"
    init_workspace(path, FILES)
    return path


def night(path: Path, record: Callable[[str], None]) -> None:
    """Two trials: a discard, then a keep whose new head is recorded before the branch moves, as the store does it."""
    ratchet = Ratchet(path, "train.py")
    head = ratchet.start("t")
    record(head)
    ratchet.discard(ratchet.commit_candidate(head, with_depth(9), "depth=9", WHEN))
    ratchet.project(head, HEADER + "one\n")
    candidate = ratchet.commit_candidate(head, with_depth(5), "depth=5", WHEN)
    kept = ratchet.commit_keep(head, with_depth(5), HEADER + "one\ntwo\n", "depth=5", WHEN)
    record(kept)
    ratchet.advance(head, kept)
    ratchet.discard(candidate)


def killed_at(step: int, path: Path, ledger: Path) -> bool:
    """Run the night in a process that is killed at its n-th effect, before or after it; False when it got through."""
    child = os.fork()
    if child == 0:
        try:
            arm(step)
            night(path, recorder(ledger))
            os._exit(0)
        finally:
            os._exit(1)
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status) or os.WEXITSTATUS(status) == 0, "the night itself failed"
    return os.WIFSIGNALED(status)


def recorder(ledger: Path) -> Callable[[str], None]:
    """Stands in for the store: the last head written is the recorded one."""

    def record(head: str) -> None:
        ledger.write_text(head)

    return record


def arm(step: int) -> None:
    """Kill this process at the `step`-th point, counting one before and one after every git process and file write."""
    points = iter(range(1_000_000))

    def lethal(action: Callable[..., Any]) -> Callable[..., Any]:
        def run(*arguments: Any, **options: Any) -> Any:
            if next(points) == step:
                os.kill(os.getpid(), signal.SIGKILL)
            result = action(*arguments, **options)
            if next(points) == step:
                os.kill(os.getpid(), signal.SIGKILL)
            return result

        return run

    GitRunner.run = lethal(GitRunner.run)
    memory.git.objects.GitObjects.write = lethal(memory.git.objects.GitObjects.write)
    os.replace = lethal(os.replace)


@pytest.mark.parametrize("stride", first(1, [11, 3], rest=pytest.mark.system))  # coprime to their period of two
def test_a_kill_at_any_point_ends_where_an_undisturbed_night_ends(stride: int, workspace: Path, tmp_path: Path) -> None:
    """At every `stride`-th, that is: every point would take half a minute."""
    git(tmp_path, "clone", "--quiet", str(workspace), "reference")
    git(tmp_path / "reference", "switch", "--quiet", "main")
    night(tmp_path / "reference", lambda head: None)
    reference = refs(tmp_path / "reference")[BRANCH]
    assert git(tmp_path / "reference", "show", f"{reference}:train.py") == with_depth(5).strip()

    step, survived = 0, False
    while not survived:
        path, ledger = tmp_path / f"killed {step}", tmp_path / f"ledger {step}"
        subprocess.run(["cp", "-a", str(workspace), str(path)], check=True)
        survived = not killed_at(step, path, ledger)
        recover(path, ledger)
        assert refs(path)[BRANCH] == reference, step
        assert len(refs(path)) == 2, step
        assert git(path, "status", "--porcelain") == "", step
        assert (path / "train.py").read_text() == with_depth(5), step
        step += stride
    assert step > 30


def recover(path: Path, ledger: Path) -> None:
    """What a new loop does: go on from the recorded head, and finish the night from there."""
    if not ledger.exists():
        if BRANCH in refs(path):  # killed in `start`: the store knows no campaign, and the person makes room for it
            git(path, "switch", "--quiet", "main")
            git(path, "branch", "--quiet", "-D", "autoresearch/t")
        night(path, recorder(ledger))
        return
    ratchet, head = Ratchet(path, "train.py"), ledger.read_text()
    is_start = head == git(path, "rev-parse", "main")
    for _ in range(2):
        ratchet.resume("t", head)
        ratchet.drop_candidates()
        assert ratchet.project(head, HEADER + ("one\n" if is_start else "one\ntwo\n")) == []
    if is_start:
        kept = ratchet.commit_keep(head, with_depth(5), HEADER + "one\ntwo\n", "depth=5", WHEN)
        assert ratchet.advance(head, kept) == []


LOCKS = ["index.lock", f"{BRANCH}.lock", "HEAD.lock", "packed-refs.lock", "config.lock"]


@pytest.mark.parametrize("lock", first(2, LOCKS, rest=pytest.mark.system))
@pytest.mark.parametrize("age_s", [60, -60])
def test_a_lock_of_a_dead_git_is_removed(
    workspace: Path, lock: str, age_s: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory.git.locks, "STALE_AFTER_S", 0.1)
    ratchet = Ratchet(workspace, "train.py")
    head = ratchet.start("t")
    for use in (lambda: ratchet.resume("t", head), ratchet.check_workspace):
        path = workspace / ".git" / lock
        path.touch()
        then = time.time() - age_s
        os.utime(path, times=(then, then))
        use()
        assert not path.exists()


def test_locks_met_in_the_middle_of_the_night_are_removed(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory.git.locks, "STALE_AFTER_S", 0.1)
    ratchet = Ratchet(workspace, "train.py")
    head = ratchet.start("t")
    kept = ratchet.commit_keep(head, with_depth(5), HEADER, "m", WHEN)
    for name in ("HEAD.lock", f"{BRANCH}.lock", f"refs/nightshift/candidates/{kept}.lock"):
        (workspace / ".git" / name).touch()
    assert ratchet.advance(head, kept) == []
    assert refs(workspace) == {"refs/heads/main": head, BRANCH: kept}
    assert git(workspace, "status", "--porcelain") == ""


@pytest.fixture
def other_git(workspace: Path) -> Iterator[subprocess.Popen[str]]:
    """A real git process that holds the lock of the campaign's branch."""
    head = Ratchet(workspace, "train.py").start("t")
    process = subprocess.Popen(
        ["git", "update-ref", "--stdin"], cwd=workspace, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdin is not None and process.stdout is not None
    process.stdin.write(f"start\nupdate {BRANCH} {head}\nprepare\n")
    process.stdin.flush()
    assert [process.stdout.readline() for _ in range(2)] == ["start: ok\n", "prepare: ok\n"]
    yield process
    process.kill()
    process.communicate()


def test_a_living_git_is_waited_for_and_then_named(
    workspace: Path, other_git: subprocess.Popen[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory.git.locks, "STALE_AFTER_S", 0.01)
    monkeypatch.setattr(memory.git.locks, "PATIENCE_S", 0.3)
    ratchet = Ratchet(workspace, "train.py")
    head = refs(workspace)[BRANCH]
    with pytest.raises(HaltError, match=rf"locked by process {other_git.pid} \(git update-ref --stdin\)"):
        ratchet.resume("t", head)
    assert (workspace / ".git" / f"{BRANCH}.lock").exists()
    other_git.kill()
    other_git.communicate()
    ratchet.resume("t", head)
    kept = ratchet.commit_keep(head, with_depth(5), HEADER, "m", WHEN)
    assert ratchet.advance(head, kept) == []


def test_an_index_that_a_person_holds_does_not_stop_a_keep(workspace: Path) -> None:
    ratchet = Ratchet(workspace, "train.py")
    head = start = ratchet.start("t")
    (workspace / ".git" / "index.lock").touch()  # an open commit editor
    for depth in (5, 6):
        kept = ratchet.commit_keep(head, with_depth(depth), HEADER, "m", WHEN)
        assert ratchet.advance(head, kept) == []
        head = kept
    assert refs(workspace) == {"refs/heads/main": start, BRANCH: head}
    assert (workspace / "train.py").read_text() == with_depth(6)
    (workspace / ".git" / "index.lock").unlink()
    assert ratchet.project(head, HEADER) == []
    assert git(workspace, "status", "--porcelain") == ""


def test_advancing_and_projecting_twice_is_harmless(workspace: Path) -> None:
    ratchet = Ratchet(workspace, "train.py")
    head = ratchet.start("t")
    kept = ratchet.commit_keep(head, with_depth(5), HEADER, "m", WHEN)
    for _ in range(2):
        assert ratchet.advance(head, kept) == []
        assert ratchet.project(kept, HEADER) == []
        ratchet.resume("t", kept)
    assert refs(workspace) == {"refs/heads/main": head, BRANCH: kept}
    assert git(workspace, "status", "--porcelain") == ""


def test_temporary_files_of_a_killed_loop_are_swept(workspace: Path) -> None:
    ratchet = Ratchet(workspace, "train.py")
    head = ratchet.start("t")
    for name in (".train.py.12-ab.tmp", ".results.tsv.12-ab.tmp"):
        (workspace / name).write_text("half")
    (workspace / ".train.py.swp").write_text("an editor's")
    ratchet.project(head, HEADER)
    assert [path.name for path in workspace.glob(".*.*")] == [".train.py.swp"]


@pytest.mark.parametrize("rest", [b"", b"\0" * 60])
def test_files_emptied_by_a_power_cut_are_written_again(workspace: Path, rest: bytes) -> None:
    ratchet = Ratchet(workspace, "train.py")
    head = ratchet.start("t")
    for name in ("train.py", "results.tsv"):
        (workspace / name).write_bytes(rest)
    assert ratchet.project(head, HEADER) == []
    assert (workspace / "train.py").read_text() == FILES["train.py"]
    assert (workspace / "results.tsv").read_text() == HEADER


def test_an_object_emptied_by_a_power_cut_is_written_again(workspace: Path) -> None:
    ratchet = Ratchet(workspace, "train.py")
    head = ratchet.start("t")
    candidate = ratchet.commit_candidate(head, with_depth(5), "m", WHEN)
    blob = git(workspace, "rev-parse", f"{candidate}:train.py")
    place = workspace / ".git" / "objects" / blob[:2] / blob[2:]
    place.chmod(0o644)
    place.write_bytes(b"")
    with pytest.raises(HaltError, match=f"the blob {blob[:12]} is missing from the git repository or damaged"):
        ratchet.source(candidate)
    assert ratchet.commit_candidate(head, with_depth(5), "m", WHEN) == candidate
    assert ratchet.source(candidate) == with_depth(5)


def test_a_full_disk_halts_and_nothing_moves(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ratchet = Ratchet(workspace, "train.py")
    head = ratchet.start("t")
    before = refs(workspace)

    def full(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("gitdb.db.loose.LooseObjectDB.store", full)
        with pytest.raises(HaltError, match="the disk is full"):
            ratchet.commit_candidate(head, with_depth(5), "m", WHEN)
    kept = ratchet.commit_keep(head, with_depth(5), HEADER, "m", WHEN)
    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", full)
        with pytest.raises(HaltError, match="the disk is full"):
            ratchet.advance(head, kept)
    assert {**before, BRANCH: kept} == refs(workspace)
    ratchet.resume("t", kept)
    assert ratchet.project(kept, HEADER) == []
    assert git(workspace, "status", "--porcelain") == ""
