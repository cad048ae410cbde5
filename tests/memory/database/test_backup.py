"""What becomes of a store, and of the copy from before, when its schema is brought up to date."""

import signal
import subprocess
import sys
from pathlib import Path

import duckdb
import pytest

from memory.database.backup import KEPT, back_up, backups
from memory.database.migrations import runner
from memory.database.migrations.runner import Migration, migrations, schema_version
from memory.store import Store
from rails.errors import DiskFullError, HaltError
from tests.support.old_stores import rows_of, write_old_store
from tests.support.rows import make_records, write_records
from tests.support.variants import first

RECORDS = make_records(6, prompt_chars=20)
NEWEST = len(migrations())
MORE = [
    Migration(version=NEWEST + 1, name="more", sql="ALTER TABLE raw.spans ADD COLUMN more INT DEFAULT 1"),
    Migration(version=NEWEST + 2, name="most", sql="ALTER TABLE raw.spans ADD COLUMN most INT DEFAULT 2"),
]
KILLED = """
import os, shutil, signal, sys
from pathlib import Path
import memory.database.backup, memory.database.opening
from memory.database.migrations import runner
from memory.database.migrations.runner import Migration, migrations

point, path, newest = sys.argv[1], Path(sys.argv[2]), len(migrations())
more = [Migration(version=newest + n, name=f"m{n}", sql=sql) for n, sql in enumerate(sys.argv[3:], 1)]
steps = [*migrations(), *more]
runner.migrations = lambda: steps

def kill(*_):
    os.kill(os.getpid(), signal.SIGKILL)

def half(source, target):
    Path(target).write_bytes(Path(source).read_bytes()[:5000])
    kill()

def after(*arguments, made=memory.database.opening.back_up):
    made(*arguments)
    kill()

def at_call(number, now=runner.utc_now, calls=[]):
    calls.append(1)
    return kill() if len(calls) == number else now()

if point == "before the backup":
    memory.database.opening.back_up = kill
elif point == "in the backup":
    memory.database.backup.shutil.copyfile = half
elif point == "before the backup has its name":
    memory.database.backup.Path.rename = kill
elif point == "after the backup":
    memory.database.opening.back_up = after
else:
    runner.utc_now = lambda: at_call({"in the first step": 1, "after the first step": 2}[point])
from memory.store import Store
Store.open(path)
"""
POINTS = (
    "in the backup", "in the first step", "before the backup", "before the backup has its name", "after the backup",
    "after the first step",
)  # fmt: skip


@pytest.mark.parametrize("version", first(1, range(1, NEWEST)))
def test_an_old_store_is_copied_before_it_changes_and_the_person_is_told(tmp_path: Path, version: int):
    path, told = tmp_path / "store.duckdb", list[str]()
    write_old_store(path, RECORDS, version)
    before = path.read_bytes()
    with Store.open(path, told.append) as store:
        assert store.schema == NEWEST
        assert store.trials(RECORDS.campaign.campaign_id) == RECORDS.trials
    (backup,) = backups(tmp_path / "backups")
    assert backup.name.startswith(f"store-v{version}-")
    assert backup.read_bytes() == before
    assert len(told) == 1 and str(backup) in told[0] and f"schema {version}" in told[0]
    with Store.open(path, told.append):
        assert len(told) == 1
    assert sorted(file.name for file in tmp_path.iterdir()) == ["backups", "store.duckdb"]
    assert list((tmp_path / "backups").iterdir()) == [backup]


def test_what_is_only_in_the_log_of_a_killed_loop_is_in_the_backup(tmp_path: Path):
    path = tmp_path / "store.duckdb"
    write_old_store(path, RECORDS, 2)
    span = "INSERT INTO raw.spans VALUES ('t', 'n', 'p', 7)"
    killed = f'import duckdb, os, sys; c = duckdb.connect(sys.argv[1]); c.execute("{span}"); os.kill(os.getpid(), 9)'
    subprocess.run([sys.executable, "-c", killed, str(path)], check=False)
    assert path.with_name("store.duckdb.wal").stat().st_size > 0
    Store.open(path).close()
    (backup,) = backups(tmp_path / "backups")
    with duckdb.connect(str(backup), read_only=True) as connection:
        assert connection.execute("SELECT seconds FROM raw.spans WHERE trial_id = 't'").fetchall() == [(7.0,)]
        assert schema_version(connection) == 2


def test_a_store_without_rows_needs_no_backup(tmp_path: Path):
    path = tmp_path / "store.duckdb"
    with duckdb.connect(str(path)) as connection:
        runner.migrate(connection, upto=1)
    with Store.open(path) as store:
        assert store.schema == NEWEST
    assert not (tmp_path / "backups").exists()


def test_only_the_last_backups_stay(tmp_path: Path):
    path, folder = tmp_path / "store.duckdb", tmp_path / "backups"
    made: list[Path] = []
    for number in range(KEPT + 2):
        path.write_bytes(b"%d" % number)
        made.append(back_up(path, folder, 1 + number // 2))
    assert backups(folder) == made[-KEPT:]
    assert back_up(path, folder, 9) == made[-1]  # the very same bytes are there already


def test_a_new_backup_stays_whatever_the_clock_says(tmp_path: Path):
    path, folder = tmp_path / "store.duckdb", tmp_path / "backups"
    folder.mkdir()
    later = [folder / f"store-v2-2999010{day}T000000000000Z.duckdb" for day in (1, 2, 3)]
    for number, file in enumerate(later):
        file.write_bytes(b"later %d" % number)
    path.write_bytes(b"now")
    new = back_up(path, folder, 2)
    assert backups(folder) == [new, *later[1:]]


@pytest.mark.system
@pytest.mark.parametrize("point", first(2, POINTS, rest=pytest.mark.system))
def test_a_kill_at_any_point_leaves_a_store_that_the_next_start_completes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, point: str
):
    path = tmp_path / "store.duckdb"
    with Store.open(path) as store:
        write_records(store, RECORDS)
        before = rows_of(store)
    command = [sys.executable, "-c", KILLED, point, str(path), *(step.sql for step in MORE)]
    killed = subprocess.run(command, cwd=Path(__file__).parents[3], capture_output=True, text=True, check=False)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    monkeypatch.setattr(runner, "migrations", lambda: [*migrations(), *MORE])
    with Store.open(path) as store:
        assert store.schema == NEWEST + 2
        assert rows_of(store) == before
        assert store._fetch("SELECT DISTINCT more, most FROM raw.spans") == [(1, 2)]  # pyright: ignore[reportPrivateUsage]
    kept = backups(tmp_path / "backups")
    assert 1 <= len(kept) <= 2
    assert set((tmp_path / "backups").iterdir()) == set(kept)
    with duckdb.connect(str(kept[0]), read_only=True) as connection:
        assert schema_version(connection) == NEWEST


def test_a_migration_that_fails_names_the_backup_and_leaves_the_old_schema(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    path = tmp_path / "store.duckdb"
    write_old_store(path, RECORDS, 2)
    broken = Migration(version=3, name="broken", sql="CREATE TABLE raw.half (i INT); SELECT * FROM nowhere")
    monkeypatch.setattr(runner, "migrations", lambda: [*migrations()[:2], broken])
    for _ in range(4):
        with pytest.raises(HaltError):
            Store.open(path)
    with pytest.raises(HaltError) as caught:
        Store.open(path)
    (backup,) = backups(tmp_path / "backups")  # also after five attempts
    for part in (str(path), "cannot be brought to schema 3", "nowhere", str(backup)):
        assert part in str(caught.value)
    with duckdb.connect(str(path), read_only=True) as connection:
        assert schema_version(connection) == 2
        assert connection.execute("SELECT 1 FROM duckdb_tables() WHERE table_name = 'half'").fetchall() == []
    monkeypatch.undo()
    with Store.open(path) as store:
        assert store.trials(RECORDS.campaign.campaign_id) == RECORDS.trials


def test_a_disk_too_full_for_the_backup_leaves_the_store_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    path = tmp_path / "store.duckdb"
    write_old_store(path, RECORDS, 2)
    before = path.read_bytes()

    def full(source: Path, target: Path) -> None:
        target.write_bytes(source.read_bytes()[:1000])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("memory.database.backup.shutil.copyfile", full)
    with pytest.raises(DiskFullError, match="backups"):
        Store.open(path)
    assert path.read_bytes() == before
    assert list((tmp_path / "backups").iterdir()) == []
