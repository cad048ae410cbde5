"""A full disk under the store: a named error, and afterwards exactly what was committed."""

import errno
import os
import random
import shutil
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any, cast

import duckdb
import pytest

from memory.atomic import atomic_write_text, disk_errors
from memory.database.errors import store_error
from memory.database.opening import open_database
from memory.git.repo import GitRepo, GitResult
from memory.publish import publish
from memory.rescue.restore import build, exchange
from memory.store import Store
from rails.errors import DiskFullError, HaltError
from tests.support.filling import fill, small_disk
from tests.support.git_workspace import git
from tests.support.old_stores import rows_of, write_old_store
from tests.support.rows import CampaignRecords, make_records, write_trial
from tests.support.variants import first

Operation = Callable[[Store], object]
DISK_MIB = 12


@pytest.fixture
def disk(tmp_path: Path) -> Generator[Path]:
    """A small disk of its own."""
    try:
        with small_disk(tmp_path / "disk", DISK_MIB) as place:
            yield place
    except (PermissionError, FileNotFoundError) as error:
        pytest.skip(str(error))


class _Recorder:
    """Takes what is written to a store, to be written to another one later."""

    def __init__(self) -> None:
        self.operations: list[Operation] = []

    def __getattr__(self, name: str) -> Callable[..., None]:
        def record(*arguments: Any) -> None:
            self.operations.append(lambda store: getattr(store, name)(*arguments))

        return record


def operations_of(records: CampaignRecords) -> list[Operation]:
    recorder = _Recorder()
    cast(Store, recorder).add_campaign(records.campaign)
    for trial in records.trials:
        write_trial(cast(Store, recorder), records, trial)
    return recorder.operations


def leave(disk: Path, room: int) -> Path:
    """Fill the disk but for `room` bytes; the file that takes the space."""
    filler = disk / "filler"
    fill(filler)
    os.truncate(filler, max(0, filler.stat().st_size - room))
    return filler


@pytest.mark.system
@pytest.mark.parametrize("seed", [*first(1, range(4), rest=pytest.mark.system), *first(0, range(4, 12))])
def test_after_a_full_disk_the_store_has_exactly_what_was_committed(disk: Path, tmp_path: Path, seed: int):
    rng = random.Random(seed)
    records = make_records(30, seed, prompt_chars=rng.choice([100, 20_000, 30_000]))
    operations = operations_of(records)
    path, done = disk / "state" / "store.duckdb", 0
    with Store.open(tmp_path / "reference.duckdb") as reference:
        before = rng.randrange(len(operations) // 2)
        with Store.open(path) as store:
            for operation in operations[:before]:
                operation(store)
        room = rng.choice([0, 3_000, 50_000, 400_000])
        filler = leave(disk, room)
        try:
            with Store.open(path) as store:
                for done, operation in enumerate(operations[before:], before):  # noqa: B007
                    operation(store)
                    if rng.random() < 0.1:
                        publish(store, path.with_name("snapshot"))
            done = len(operations)
        except DiskFullError as error:
            assert str(disk) in str(error)
        full = done < len(operations)
        assert full or room > 50_000
        filler.unlink()
        for operation in operations[:done]:
            operation(reference)
        with Store.open(path) as store:
            whole = [rows_of(reference)]
            if full:  # the commit that failed may be on the disk all the same
                operations[done](reference)
                whole.append(rows_of(reference))
            assert rows_of(store) in whole
            for operation in operations[done:]:
                operation(store)
            assert [trial.seq for trial in store.trials(records.campaign.campaign_id)] == list(range(31))
            publish(store, path.with_name("snapshot"))


def test_a_store_on_a_full_disk_can_be_opened_and_closed(disk: Path):
    path = disk / "store.duckdb"
    records = make_records(3)
    with Store.open(path) as store:
        for operation in operations_of(records):
            operation(store)
    filler = leave(disk, 0)
    with Store.open(path) as store:
        assert store.trials(records.campaign.campaign_id) == records.trials
        for _ in range(3):
            with pytest.raises(DiskFullError):
                publish(store, disk / "snapshot")
    filler.unlink()


def test_a_new_store_on_a_full_disk_is_not_begun(disk: Path):
    filler = leave(disk, 0)
    with pytest.raises(DiskFullError):
        Store.open(disk / "store.duckdb")
    assert list(disk.iterdir()) == [filler]
    filler.unlink()
    Store.open(disk / "store.duckdb").close()


@pytest.mark.parametrize("room", first(1, [20_000, 0, 600_000], rest=pytest.mark.system))
def test_a_disk_too_full_for_the_backup_leaves_the_old_schema(disk: Path, tmp_path: Path, room: int):
    path = disk / "store.duckdb"
    records = make_records(20)
    write_old_store(tmp_path / "store.duckdb", records, 2)
    shutil.copyfile(tmp_path / "store.duckdb", path)
    before = path.read_bytes()
    filler = leave(disk, room)
    with pytest.raises(DiskFullError):
        Store.open(path)
    assert path.read_bytes() == before
    assert [file.name for file in (disk / "backups").glob("*")] == []
    filler.unlink()
    path.write_bytes(before)  # it alone takes more than half of the disk: no room for a copy even now
    with pytest.raises(DiskFullError):
        Store.open(path)
    assert path.read_bytes() == before


def test_a_disk_too_full_for_a_restore_leaves_everything_as_it_was(disk: Path):
    path = disk / "store.duckdb"
    with Store.open(path) as store:
        for operation in operations_of(make_records(20)):
            operation(store)
        publish(store, disk / "snapshot")
    size = path.stat().st_size
    path.write_bytes(b"damaged")
    before = sorted(disk.rglob("*"))
    for room in (0, 100_000, size // 2):
        filler = leave(disk, room)
        with pytest.raises(DiskFullError):
            build(path)
        filler.unlink()
        assert sorted(disk.rglob("*")) == before and path.read_bytes() == b"damaged"
    exchange(build(path), path)
    with Store.open(path) as store:
        assert len(store.trials(make_records(20).campaign.campaign_id)) == 21


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG])
def test_no_room_is_told_from_other_errors(tmp_path: Path, number: int):
    with pytest.raises(DiskFullError), disk_errors(tmp_path):
        raise OSError(number, os.strerror(number))
    said = f"TransactionContext Error: Failed to commit: Could not write file: {os.strerror(number)}"
    assert isinstance(store_error(tmp_path, duckdb.TransactionException(said)), DiskFullError)
    git(tmp_path, "init", "-q")
    failed = GitResult(128, b"", f"fatal: write error: {os.strerror(number)}\n")
    assert isinstance(GitRepo(tmp_path).failure("git add failed", failed), DiskFullError)
    with pytest.raises(HaltError) as caught, disk_errors(tmp_path):
        raise PermissionError(errno.EACCES, "no")
    assert not isinstance(caught.value, DiskFullError)


def test_a_limit_on_the_size_of_files_is_no_room(tmp_path: Path):
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    with Store.open(tmp_path / "store.duckdb") as store:
        store.add_campaign(make_records(30).campaign)
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, hard))
        try:
            with pytest.raises(DiskFullError):
                for operation in operations_of(make_records(30))[1:]:
                    operation(store)
            with pytest.raises(DiskFullError):
                atomic_write_text(tmp_path / "text", "x" * 30_000)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    connection, _ = open_database(tmp_path / "store.duckdb", print)
    connection.close()
