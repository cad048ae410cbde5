"""Restoring a damaged store: the loop refuses, `restore` says what is lost, and the campaign goes on as it was."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from graph.campaign.options import RunOptions
from graph.campaign.restore import restore_store
from graph.night import run_night
from memory.lock import workspace_lock
from memory.records import EventKind, Trial
from rails.errors import BusyError, HaltError, UserError
from tests.support.git_workspace import git
from tests.support.nights import Endpoint, Killed, Listener, kill, kinds, record, rows
from tests.support.workspaces import make_quick_workspace

BRANCH = "autoresearch/night"
KEPT = "keep: rows=32: because"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return make_quick_workspace(tmp_path)


def damage(root: Path) -> bytes:
    """Overwrite the store after its headers, as a bad disk or a stray `dd` does; its content then."""
    path = root / ".nightshift" / "store.duckdb"
    with path.open("rb+") as file:
        file.seek(3 * 4096)
        file.write(bytes(path.stat().st_size - 3 * 4096))
    return path.read_bytes()


def outcomes(trials: list[Trial]) -> list[tuple[object, ...]]:
    return [(trial.seq, trial.status, trial.edit_key, trial.metric, trial.gain) for trial in trials]


@pytest.mark.system
def test_a_night_whose_store_is_damaged_goes_on_at_the_right_trial(root: Path, tmp_path: Path) -> None:
    options = RunOptions(proposer="random", trials=4, tag="night")
    (tmp_path / "other").mkdir()
    undisturbed = make_quick_workspace(tmp_path / "other")
    run_night(undisturbed, options, Listener())
    with pytest.raises(Killed):
        run_night(root, options, Listener("training 3", kill))
    data = damage(root)
    with pytest.raises(HaltError, match=rf"its snapshot has 3 trials, .*`nightshift restore {root}`"):
        run_night(root, options, Listener())
    done = restore_store(root)
    assert (done.copy.trials, done.tag, done.taken_off, done.notes) == (3, "night", [], [])
    assert list(done.lost) == [3], "it was in hand"
    (kept,) = done.kept
    assert kept.read_bytes() == data
    run_night(root, options, Listener())
    campaign, trials, events = record(root)
    assert campaign.stop_reason == "limit of 4 trials reached"
    assert outcomes(trials) == outcomes(record(undisturbed)[1])
    assert git(root, "rev-parse", BRANCH) == campaign.head_commit
    assert kinds(events) == [EventKind.RESTORED, EventKind.RESUMED, EventKind.STOPPED]
    assert events[0].text.endswith("is as it was published last; lost: trials 3")
    with pytest.raises(UserError, match="nothing to restore"):
        restore_store(root)


@pytest.fixture
def ahead(root: Path) -> Path:
    """A workspace whose damaged store and branch were a kept trial ahead of its snapshot, which has two trials."""
    snapshot, earlier = root / ".nightshift" / "snapshot", root / ".nightshift" / "earlier"

    def copy_snapshot() -> None:
        shutil.copytree(snapshot, earlier)

    options = RunOptions(trials=3, tag="night")
    with pytest.raises(Killed):
        run_night(root, options, _Two(copy_snapshot), Endpoint(rows(4), rows(32), rows(4)))
    assert record(root)[1][2].commit_sha == git(root, "rev-parse", BRANCH)
    shutil.rmtree(snapshot)
    earlier.rename(snapshot)
    damage(root)
    return root


class _Two(Listener):
    """Does something when trial 1 is decided, and dies when trial 2 is."""

    def __init__(self, then: Callable[[], None]) -> None:
        super().__init__("decided 1", then)

    def decided(self, trial: Trial) -> None:
        super().decided(trial)
        if trial.seq == 2:
            kill()


@pytest.mark.system
def test_a_kept_trial_that_the_record_lost_is_taken_off_the_branch_and_tried_again(ahead: Path) -> None:
    (ahead / "program.md").write_text("my own policy\n")
    commit, head = git(ahead, "rev-parse", BRANCH, f"{BRANCH}~").split()
    done = restore_store(ahead)
    assert (done.lost, done.taken_off, done.notes) == ({2: KEPT}, [commit], [])
    assert git(ahead, "rev-parse", "HEAD", BRANCH).split() == [head, head]
    assert git(ahead, "status", "--porcelain").splitlines() == ["M program.md", "?? results.tsv"]
    assert len((ahead / "results.tsv").read_text().splitlines()) == 3
    campaign = run_night(ahead, RunOptions(trials=2), Listener(), Endpoint(rows(32)))
    assert git(ahead, "rev-parse", BRANCH, f"{BRANCH}~").split() == [campaign.head_commit, head]
    assert (ahead / "program.md").read_text() == "my own policy\n"


@pytest.mark.system
def test_a_branch_that_a_person_moved_is_left_alone_and_named(ahead: Path) -> None:
    git(ahead, "commit", "--quiet", "--allow-empty", "-m", "a person's")
    tip, program = git(ahead, "rev-parse", BRANCH), (ahead / "train.py").read_text()
    done = restore_store(ahead)
    assert (done.lost, done.taken_off) == ({2: KEPT}, [])
    (note,) = done.notes
    assert f"somebody moved the campaign's branch {BRANCH}" in note
    assert (git(ahead, "rev-parse", BRANCH), (ahead / "train.py").read_text()) == (tip, program)
    with pytest.raises(HaltError, match="somebody moved"):
        run_night(ahead, RunOptions(trials=2), Listener(), Endpoint(rows(32)))


@pytest.mark.system
def test_a_persons_program_stays_when_the_branch_goes_back(ahead: Path) -> None:
    (ahead / "train.py").write_text("my own experiment\n")
    commit = git(ahead, "rev-parse", BRANCH)
    done = restore_store(ahead)
    assert done.taken_off == [commit]
    assert done.notes == ["train.py has your uncommitted changes and stays as it is"]
    assert (ahead / "train.py").read_text() == "my own experiment\n"


@pytest.mark.system
def test_nothing_is_restored_while_a_loop_is_at_work(ahead: Path) -> None:
    before = (ahead / ".nightshift" / "store.duckdb").read_bytes()
    with workspace_lock(ahead / ".nightshift" / "lock"), pytest.raises(BusyError):
        restore_store(ahead)
    assert (ahead / ".nightshift" / "store.duckdb").read_bytes() == before
