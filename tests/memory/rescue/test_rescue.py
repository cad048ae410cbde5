"""A damaged store: it is noticed at opening, left as it is, and built anew from what was published of it."""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
import pytest

from graph.workspace import Workspace
from memory.database import opening
from memory.publish import publish
from memory.records import Event, EventKind, Phase, utc_now
from memory.rescue.refusal import open_store
from memory.rescue.restore import build, damage_of, exchange
from memory.store import Store
from rails.errors import HaltError
from tests.support.old_stores import rows_of
from tests.support.rows import make_records, make_trial, write_records, write_trial

ROOT = Path(__file__).parents[3]
RECORDS = make_records(40, prompt_chars=3_000)
ID = RECORDS.campaign.campaign_id
HEADER, BLOCK = 4096, 262_144
KILLED = """
import os, sys
from pathlib import Path
from memory.publish import publish
from memory.store import Store
from tests.support.rows import make_records, write_records
path = Path(sys.argv[1])
store = Store.open(path)
write_records(store, make_records(40, prompt_chars=3_000))
if sys.argv[2:]:
    publish(store, path.with_name("snapshot"))
os.kill(os.getpid(), 9)
"""


@dataclass(frozen=True)
class Closed:
    """A store that was closed, and what it held when it was published last: all but its last trial."""

    folder: Path
    published: dict[str, list[Any]]


@pytest.fixture(scope="module")
def closed(tmp_path_factory: pytest.TempPathFactory) -> Closed:
    folder = tmp_path_factory.mktemp("closed")
    with Store.open(folder / "store.duckdb") as store:
        start = {"incumbent_trial_id": None, "head_commit": RECORDS.campaign.baseline_commit}
        store.add_campaign(RECORDS.campaign.model_copy(update=start))
        for trial in RECORDS.trials[:-1]:
            write_trial(store, RECORDS, trial)
            event = Event(campaign_id=ID, kind=EventKind.PAUSED, text=f"after {trial.seq}", created_at=utc_now())
            store.add_event(event)
        publish(store, folder / "snapshot")
        published = rows_of(store)
        write_trial(store, RECORDS, RECORDS.trials[-1])
    return Closed(folder, published)


@pytest.fixture(scope="module")
def killed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store whose process was killed: everything is in its write-ahead log. Nothing was published."""
    path = tmp_path_factory.mktemp("killed") / "store.duckdb"
    done = subprocess.run([sys.executable, "-c", KILLED, str(path)], cwd=ROOT, check=False)
    assert done.returncode == -signal.SIGKILL
    return path.parent


def flipped(data: bytes, place: int) -> bytes:
    return data[:place] + bytes([data[place] ^ 0xFF]) + data[place + 1 :]


def block_of(path: Path, table: str, column: str) -> int:
    """Where in the file the first block of a column lies."""
    with duckdb.connect(str(path), read_only=True) as connection:
        sql = f"SELECT block_id FROM pragma_storage_info('raw.{table}') WHERE column_name = ? AND block_id >= 0"
        found = connection.execute(sql, [column]).fetchone()
    assert found is not None
    return 3 * HEADER + BLOCK * int(found[0])


def files_in(folder: Path) -> dict[str, bytes]:
    return {str(file): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


def refused(path: Path) -> str:
    """Opening the store at `path` fails, names damage, and changes no file. The sentence."""
    before = files_in(path.parent)
    why = damage_of(path)
    assert why and "/nightshift-" not in why, "the copy that was read is nobody's business"
    with pytest.raises(HaltError, match="the store is damaged") as caught:
        open_store(path, Path("/my night"))
    assert files_in(path.parent) == before
    return str(caught.value)


DAMAGES: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda _: b"",
    "text": lambda _: b"these are not the trials you are looking for",
    "zeros": lambda data: bytes(len(data)),
    "random": lambda data: os.urandom(len(data)),
    "headers only": lambda data: data[: 3 * HEADER],
    "half": lambda data: data[: len(data) // 2],
    "first block lost": lambda data: flipped(data, 3 * HEADER + 100),
    "first header": lambda data: flipped(data, 200),
    "third header": lambda data: flipped(data, 2 * HEADER + 10),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_whatever_happened_to_the_file_it_is_refused_and_the_snapshot_is_named(
    closed: Closed, tmp_path: Path, damage: str
):
    path = tmp_path / "store.duckdb"
    shutil.copytree(closed.folder, tmp_path, dirs_exist_ok=True)
    path.write_bytes(DAMAGES[damage](path.read_bytes()))
    sentence = refused(path)
    newest = max(trial.decided_at for trial in RECORDS.trials[:-1] if trial.decided_at)
    for part in (str(path), f"its snapshot has 40 trials, the newest of {newest:%Y-%m-%dT%H:%M:%S} UTC"):
        assert part in sentence
    assert "`nightshift restore '/my night'`" in sentence


def test_a_restored_store_has_every_row_that_was_published_and_goes_on(closed: Closed, tmp_path: Path):
    path = tmp_path / "store.duckdb"
    shutil.copytree(closed.folder, tmp_path, dirs_exist_ok=True)
    damaged = flipped(path.read_bytes(), block_of(path, "trials", "diff") + 5_000)
    path.write_bytes(damaged)
    path.with_name("store.duckdb.wal").write_bytes(b"a log")
    (kept, log) = exchange(build(path), path)
    assert (kept.read_bytes(), log.read_bytes()) == (damaged, b"a log") and log.name == f"{kept.name}.wal"
    assert damage_of(path) is None
    with Store.open(path) as store:
        assert rows_of(store) == closed.published
        for table in ("lineage_blocks", "events"):
            sql = f"SELECT ordinal FROM raw.{table} ORDER BY rowid"
            ordinals = [row[0] for row in store._fetch(sql)]  # pyright: ignore[reportPrivateUsage]
            assert ordinals == list(range(len(closed.published[table]))) and len(ordinals) > 30
        write_trial(store, RECORDS, RECORDS.trials[-1])
        publish(store, tmp_path / "snapshot")
        assert store.trials(ID) == RECORDS.trials
        whole = rows_of(store)
    path.unlink()  # the whole file this time
    assert "its file is gone" in refused(path)
    assert exchange(build(path), path) == []
    with Store.open(path) as store:
        assert rows_of(store) == whole


@pytest.mark.system
@pytest.mark.parametrize("renames", [1, 2])
def test_a_restore_that_is_killed_can_be_done_again(closed: Closed, tmp_path: Path, renames: int):
    path = tmp_path / "store.duckdb"
    shutil.copytree(closed.folder, tmp_path, dirs_exist_ok=True)
    path.write_bytes(path.read_bytes()[:20_000])
    path.with_name("store.duckdb.wal").write_bytes(b"a log")
    script = (
        "import os, sys; from pathlib import Path; from memory.rescue.restore import build, exchange\n"
        "rename, left = Path.rename, [int(sys.argv[2])]\n"
        "def dying(self, target):\n"
        "    rename(self, target)\n"
        "    left[0] -= 1\n"
        "    left[0] or os.kill(os.getpid(), 9)\n"
        "path = Path(sys.argv[1]); temporary = build(path); Path.rename = dying; exchange(temporary, path)"
    )
    done = subprocess.run([sys.executable, "-c", script, str(path), str(renames)], cwd=ROOT, check=False)
    assert done.returncode == -signal.SIGKILL
    assert "its file is gone" in refused(path)
    exchange(build(path), path)
    with Store.open(path) as store:
        assert rows_of(store) == closed.published
    assert not list(tmp_path.glob(".*")) and len(list(tmp_path.glob("damaged-*"))) == 2


def test_without_a_snapshot_the_backups_are_named(closed: Closed, tmp_path: Path):
    path = tmp_path / "store.duckdb"
    shutil.copytree(closed.folder, tmp_path, dirs_exist_ok=True)
    path.write_bytes(b"")
    manifest = tmp_path / "snapshot" / "manifest.json"
    for torn in sorted((tmp_path / "snapshot").glob("curves-*.parquet"))[:1]:
        torn.write_bytes(b"")
    before = files_in(tmp_path)
    with pytest.raises(HaltError, match="the snapshot is damaged, too"):
        build(path)
    assert files_in(tmp_path) == before
    manifest.write_text("")
    assert "there is no backup either" in refused(path)
    (tmp_path / "backups").mkdir()
    for version, year in ((2, 2025), (3, 2024)):
        (tmp_path / "backups" / f"store-v{version}-{year}0101T000000000000Z.duckdb").write_text("")
    said = refused(path)
    assert "no snapshot of it can be read" in said and f"copy {tmp_path}/backups/store-v3-2024" in said
    with pytest.raises(HaltError, match=r"the snapshot cannot be read .* copy .*/backups/store-v3-2024"):
        build(path)


@pytest.mark.system
def test_a_store_that_is_gone_is_missed_by_its_log_alone(killed: Path, tmp_path: Path):
    path = tmp_path / "store.duckdb"
    shutil.copyfile(killed / "store.duckdb.wal", tmp_path / "store.duckdb.wal")
    assert "its file is gone" in refused(path)
    (tmp_path / "store.duckdb.wal").rename(tmp_path / "aside")
    assert damage_of(path) is None
    open_store(path, tmp_path).close()


def test_the_folders_are_those_of_a_workspace(tmp_path: Path):
    workspace = Workspace(tmp_path)
    assert workspace.store_path.with_name(opening.SNAPSHOT) == workspace.snapshot_dir


# The write-ahead log


def copy_with_log(source: Path, target: Path, log: bytes | None) -> Path:
    shutil.copyfile(source / "store.duckdb", target / "store.duckdb")
    if log is not None:
        (target / "store.duckdb.wal").write_bytes(log)
    return target / "store.duckdb"


@pytest.mark.parametrize("share", [0.001, 0.2, 0.5, 0.8, 0.999])
@pytest.mark.parametrize("tail", [b"", bytes(5_000)], ids=["cut", "zeros"])
def test_a_torn_log_is_no_damage(killed: Path, tmp_path: Path, share: float, tail: bytes):
    log = (killed / "store.duckdb.wal").read_bytes()
    path = copy_with_log(killed, tmp_path, log[: int(share * len(log))] + tail)
    with Store.open(path) as store:
        trials = store.trials(ID) if store.campaigns() else []
        decided = [trial for trial in trials if trial.phase is Phase.DECIDED]
        assert decided == RECORDS.trials[: len(decided)]
        assert len(trials) - len(decided) <= 1
        assert abs(len(decided) - share * 41) < 15
        next_one = make_trial(RECORDS.campaign, len(trials))
        if trials:
            store.open_trial(next_one)
    with Store.open(path) as store:
        assert not trials or store.trials(ID) == [*trials, next_one]


@pytest.mark.parametrize("share", [0.3, 0.999])
def test_garbage_after_a_torn_log_costs_nothing_that_was_committed(killed: Path, tmp_path: Path, share: float):
    log = (killed / "store.duckdb.wal").read_bytes()
    path = copy_with_log(killed, tmp_path, log[: int(share * len(log))] + b"garbage" * 1_000)
    with suppress(HaltError), Store.open(path) as store:  # a last entry that is all there, and wrong, is damage
        trials = store.trials(ID)
        assert len(trials) > share * 41 - 5
        assert trials[:-1] == RECORDS.trials[: len(trials) - 1]


def test_what_is_written_after_a_torn_log_survives_the_next_kill(killed: Path, tmp_path: Path):
    log = (killed / "store.duckdb.wal").read_bytes()
    path = copy_with_log(killed, tmp_path, log[: len(log) // 2])
    script = KILLED.replace("make_records(40, prompt_chars=3_000)", "make_records(3, tag='later')")
    done = subprocess.run([sys.executable, "-c", script, str(path)], cwd=ROOT, check=False)
    assert done.returncode == -signal.SIGKILL
    with Store.open(path) as store:
        assert store.trials("c-later") == make_records(3, tag="later").trials
        assert len(store.trials(ID)) > 10


def test_a_log_that_is_something_else_is_damage(killed: Path, closed: Closed, tmp_path: Path):
    log = (killed / "store.duckdb.wal").read_bytes()
    for content in (b"hello world", os.urandom(20_000)):
        assert "write-ahead log is something else" in refused(copy_with_log(killed, tmp_path, content))
    assert "WAL" in refused(copy_with_log(killed, tmp_path, flipped(log, len(log) // 2)))
    assert "WAL" in refused(copy_with_log(closed.folder, tmp_path, log)), "another store's"


@pytest.mark.system
def test_a_log_that_is_gone_is_noticed_by_what_was_published(tmp_path: Path):
    path = tmp_path / "store.duckdb"
    done = subprocess.run([sys.executable, "-c", KILLED, str(path), "publish"], cwd=ROOT, check=False)
    assert done.returncode == -signal.SIGKILL
    path.with_name("store.duckdb.wal").unlink()
    assert "41 trials of the snapshot" in refused(path)
    exchange(build(path), path)
    with Store.open(path) as store:
        assert store.trials(ID) == RECORDS.trials


def test_an_older_copy_goes_on_once_the_snapshot_is_moved(closed: Closed, tmp_path: Path):
    path = tmp_path / "store.duckdb"
    with Store.open(path) as store:
        older = make_records(5)
        write_records(store, older)
    shutil.copytree(closed.folder / "snapshot", tmp_path / "snapshot")
    assert "are not in it" in refused(path)
    (tmp_path / "snapshot").rename(tmp_path / "aside")
    with Store.open(path) as store:
        assert store.trials(ID) == older.trials


def test_a_torn_snapshot_says_nothing_against_the_store(closed: Closed, tmp_path: Path):
    shutil.copytree(closed.folder, tmp_path, dirs_exist_ok=True)
    for number, file in enumerate(sorted((tmp_path / "snapshot").glob("trials-*.parquet"))):
        file.write_bytes(b"" if number else file.read_bytes()[:50])
    with Store.open(tmp_path / "store.duckdb") as store:
        assert store.trials(ID) == RECORDS.trials


# Damage that shows only later


def test_an_error_of_duckdb_inside_the_loop_says_that_the_store_is_damaged(
    closed: Closed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    path = copy_with_log(closed.folder, tmp_path, None)
    path.write_bytes(flipped(path.read_bytes(), block_of(path, "curves", "loss") + 3_000))
    monkeypatch.setattr(opening, "inspect", lambda *_: {})  # as if the block had gone bad after opening
    with Store.open(path) as store:
        for ask in (
            lambda: store.curve(RECORDS.curves[0].measurement_id),
            lambda: store.finish_measurement(RECORDS.measurements[0], RECORDS.curves[0]),
        ):
            with pytest.raises(HaltError, match=r"store\.duckdb: the store is damaged .* `nightshift restore`"):
                ask()
        assert store.trials(ID) == RECORDS.trials  # the rest can still be read


def test_a_mistake_in_sql_is_no_damage(tmp_path: Path):
    with Store.open(tmp_path / "store.duckdb") as store:
        with pytest.raises(duckdb.CatalogException):
            store._fetch("SELECT * FROM nowhere")  # pyright: ignore[reportPrivateUsage]
        with pytest.raises(duckdb.ParserException), store.transaction():
            store._fetch("SELEC")  # pyright: ignore[reportPrivateUsage]
