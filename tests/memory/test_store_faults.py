"""What a killed process, a second process, a wrong file and a newer schema do to the store."""

import signal
import subprocess
import sys
from pathlib import Path

import duckdb
import pytest

from memory.database.migrations.runner import Migration, migrate, migrations, schema_version
from memory.store import Store
from rails.errors import BusyError, HaltError, UserError
from tests.support.rows import make_campaign

WRITER = """
import sys
from pathlib import Path
from memory.records import Call
from memory.store import Store
from tests.support.rows import START, make_campaign, make_trial, make_measurement
from memory.records import MeasurementState, Phase

with Store.open(Path(sys.argv[1])) as store:
    known = store.latest_campaign()
    campaign = known or make_campaign()
    store.add_campaign(campaign)
    for seq in range(len(store.trials(campaign.campaign_id)), 100_000):
        trial = make_trial(campaign, seq)
        store.open_trial(trial)
        print("trial", seq, flush=True)
        store.open_measurement(make_measurement(trial, 0, None, state=MeasurementState.RUNNING))
        store.finish_measurement(make_measurement(trial, 0, 1.5), None)
        print("measured", seq, flush=True)
"""


def start_writer(path: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", WRITER, str(path)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[2])


@pytest.mark.system
def test_a_killed_writer_loses_no_acknowledged_row(tmp_path: Path):
    path = tmp_path / "store.duckdb"
    campaign_id = make_campaign().campaign_id
    acknowledged: dict[str, set[int]] = {"trial": set(), "measured": set()}
    for lines in (7, 12, 24):
        writer = start_writer(path)
        assert writer.stdout is not None
        told = [writer.stdout.readline() for _ in range(lines)]
        writer.send_signal(signal.SIGKILL)
        told += [line for line in writer.stdout.read().splitlines(keepends=True) if line.endswith("\n")]
        writer.stdout.close()
        assert writer.wait() == -signal.SIGKILL
        for line in told:
            what, seq = line.split()
            acknowledged[what].add(int(seq))
        with Store.open(path) as store:
            trials = {trial.seq: trial for trial in store.trials(campaign_id)}
            done = {m.trial_id for m in store.campaign_measurements(campaign_id) if m.score is not None}
        assert list(trials) == list(range(len(trials)))
        assert acknowledged["trial"] <= set(trials)
        assert len(trials) <= len(acknowledged["trial"]) + 3  # one in flight at each kill
        assert {trials[seq].trial_id for seq in acknowledged["measured"]} <= done
    assert len(acknowledged["measured"]) >= 15


def test_a_second_process_is_told_who_has_the_store(tmp_path: Path):
    path = tmp_path / "store.duckdb"
    writer = start_writer(path)
    assert writer.stdout is not None
    try:
        assert writer.stdout.readline()
        with pytest.raises(BusyError, match=f"process {writer.pid}"):
            Store.open(path)
    finally:
        writer.kill()
        writer.wait()
        writer.stdout.close()


@pytest.mark.parametrize("content", [b"not a database", b"\0" * 20_000])
def test_a_file_that_is_no_store_is_named(tmp_path: Path, content: bytes):
    path = tmp_path / "store.duckdb"
    path.write_bytes(content)
    with pytest.raises(HaltError, match=r"store\.duckdb: the store is damaged "):
        Store.open(path)
    assert path.read_bytes() == content


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path):
    (tmp_path / "file").write_text("")
    with pytest.raises(HaltError, match="cannot be written"):
        Store.open(tmp_path / "file" / "store.duckdb")


def test_a_newer_schema_is_refused_and_nothing_is_written(tmp_path: Path):
    path = tmp_path / "store.duckdb"
    newest = len(migrations())
    later = Migration(version=newest + 1, name="later", sql="CREATE TABLE raw.later (i INT)")
    writing = (
        "import duckdb, os, signal, sys; c = duckdb.connect(sys.argv[1]); c.execute('INSERT INTO raw.later VALUES (1)')"
    )
    with duckdb.connect(str(path)) as connection:
        migrate(connection, steps=[*migrations(), later])
    killed = subprocess.run([sys.executable, "-c", f"{writing}; os.kill(os.getpid(), signal.SIGKILL)", str(path)])
    assert killed.returncode == -signal.SIGKILL
    before = {file.name: (file.read_bytes(), file.stat().st_mtime_ns) for file in tmp_path.iterdir()}
    assert before.keys() == {"store.duckdb", "store.duckdb.wal"}
    with pytest.raises(UserError) as caught:
        Store.open(path)
    for part in (str(path), "newer nightshift", f"schema {newest + 1}", f"up to {newest}"):
        assert part in str(caught.value)
    assert {file.name: (file.read_bytes(), file.stat().st_mtime_ns) for file in tmp_path.iterdir()} == before


def test_a_migration_that_fails_leaves_the_old_schema(tmp_path: Path):
    steps = migrations()
    broken = Migration(
        version=len(steps) + 1, name="broken", sql="CREATE TABLE raw.half (i INT); SELECT * FROM nowhere;"
    )
    with duckdb.connect(str(tmp_path / "store.duckdb")) as connection:
        with pytest.raises(duckdb.CatalogException):
            migrate(connection, steps=[*steps, broken])
        assert schema_version(connection) == len(steps)
        assert connection.execute("SELECT 1 FROM duckdb_tables() WHERE table_name = 'half'").fetchone() is None
        assert migrate(connection) == len(steps)


def test_migrations_are_numbered_without_gaps(tmp_path: Path):
    (tmp_path / "0002_second.sql").write_text("SELECT 1")
    with pytest.raises(ValueError, match="without gaps"):
        migrations(tmp_path)
