"""A damaged store: it is noticed at opening, left as it is, and what can be read of it is exported."""

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import duckdb
import pytest

from graph.workspace import Workspace
from memory.database import opening
from memory.publish import publish
from memory.reader import Reader
from memory.records import Phase
from memory.rescue.refusal import rescue
from memory.store import Store
from rails.errors import DiskFullError, HaltError
from tests.support.rows import make_records, make_trial, write_records, write_trial

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


@pytest.fixture(scope="module")
def closed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store that was closed, without its last trial published."""
    folder = tmp_path_factory.mktemp("closed")
    with Store.open(folder / "store.duckdb") as store:
        start = {"incumbent_trial_id": None, "head_commit": RECORDS.campaign.baseline_commit}
        store.add_campaign(RECORDS.campaign.model_copy(update=start))
        for trial in RECORDS.trials[:-1]:
            write_trial(store, RECORDS, trial)
        publish(store, folder / "snapshot")
        write_trial(store, RECORDS, RECORDS.trials[-1])
    return folder


@pytest.fixture(scope="module")
def killed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store whose process was killed: everything is in its write-ahead log. Nothing was published."""
    path = tmp_path_factory.mktemp("killed") / "store.duckdb"
    done = subprocess.run([sys.executable, "-c", KILLED, str(path)], cwd=Path(__file__).parents[3], check=False)
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


def refused(path: Path) -> str:
    """Opening the store at `path` fails, names damage, and changes neither file. The sentence."""
    files = [file for file in (path, path.with_name("store.duckdb.wal")) if file.exists()]
    before = [file.read_bytes() for file in files]
    with pytest.raises(HaltError) as caught:
        Store.open(path)
    assert [file.read_bytes() for file in files] == before
    assert path.with_name("store.duckdb.wal").exists() == (len(files) == 2)
    return str(caught.value)


def rescue_of(path: Path) -> Path:
    (folder,) = path.parent.glob("rescue-*")
    assert not list(path.parent.glob(".*"))
    return folder


DAMAGES: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda _: b"",
    "text": lambda _: b"these are not the trials you are looking for",
    "zeros": lambda data: bytes(len(data)),
    "random": lambda data: os.urandom(len(data)),
    "first header only": lambda data: data[:HEADER],
    "headers only": lambda data: data[: 3 * HEADER],
    "half": lambda data: data[: len(data) // 2],
    "first block lost": lambda data: flipped(data, 3 * HEADER + 100),
    "magic": lambda data: flipped(data, 9),
    "first header": lambda data: flipped(data, 200),
    "second header": lambda data: flipped(data, HEADER + 10),
    "third header": lambda data: flipped(data, 2 * HEADER + 10),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_whatever_happened_to_the_file_the_published_trials_are_saved(closed: Path, tmp_path: Path, damage: str):
    path = tmp_path / "store.duckdb"
    shutil.copytree(closed, tmp_path, dirs_exist_ok=True)
    path.write_bytes(DAMAGES[damage](path.read_bytes()))
    sentence = refused(path)
    folder = rescue_of(path)
    account = json.loads((folder / "rescue.json").read_text())
    saved = account["from_store"]["trials"] + account["from_snapshot"]["trials"]
    assert f"{saved} trials were saved into {folder}" in sentence and str(path) in sentence
    with Reader.open(folder) as reader:
        assert reader.trials(ID)[:40] == RECORDS.trials[:40]
        for trial in RECORDS.trials[:40]:
            assert reader.measurements(trial.trial_id) == RECORDS.of(RECORDS.measurements, trial)
            assert reader.spans(trial.trial_id) == RECORDS.of(RECORDS.spans, trial)
            assert reader.verdicts(trial.trial_id) == RECORDS.of(RECORDS.verdicts, trial)
        assert reader.query("SELECT count(*) FROM lineage_blocks").rows[0][0] >= 39
    text = (folder / "README.txt").read_text()
    assert account["found"] and all(found in text for found in account["found"])
    assert str(path) in text and "nightshift run" in text


@pytest.mark.parametrize("damage", ["magic", "first header", "second header", "third header"])
def test_a_damaged_header_costs_no_row_when_the_other_ones_tell_enough(closed: Path, tmp_path: Path, damage: str):
    path = tmp_path / "store.duckdb"
    shutil.copytree(closed, tmp_path, dirs_exist_ok=True)
    with duckdb.connect(str(path)) as connection:  # both headers name the present state from here on
        for change in ("CREATE TABLE passing (i INT)", "DROP TABLE passing"):
            connection.execute(change)
            connection.execute("CHECKPOINT")
    path.write_bytes(DAMAGES[damage](path.read_bytes()))
    refused(path)
    with Reader.open(rescue_of(path)) as reader:
        assert reader.trials(ID) == RECORDS.trials


def test_a_bad_block_costs_its_own_rows_and_the_snapshot_fills_the_gap(closed: Path, tmp_path: Path):
    path = tmp_path / "store.duckdb"
    shutil.copytree(closed, tmp_path, dirs_exist_ok=True)
    path.write_bytes(flipped(path.read_bytes(), block_of(path, "trials", "diff") + 5_000))
    assert "Corrupt" in refused(path)
    folder = rescue_of(path)
    account = json.loads((folder / "rescue.json").read_text())
    assert account["from_store"]["trials"] == 0 and account["from_snapshot"]["trials"] == 40
    assert account["from_store"]["verdicts"] == len(RECORDS.verdicts)
    assert account["from_store"]["calls"] == len(RECORDS.calls)
    assert any(found.startswith("table trials: a part could not be read (Corrupt") for found in account["found"])
    with Reader.open(folder) as reader:
        assert reader.trials(ID) == RECORDS.trials[:40]
        assert reader.verdicts(RECORDS.trials[40].trial_id) == RECORDS.of(RECORDS.verdicts, RECORDS.trials[40])
        campaign = reader.campaign(ID)
    assert campaign.head_commit == RECORDS.campaign.head_commit  # the store's row, newer than the published one


def test_a_second_run_reuses_the_rescue_of_the_same_damage(closed: Path, tmp_path: Path):
    path = tmp_path / "store.duckdb"
    shutil.copytree(closed, tmp_path, dirs_exist_ok=True)
    path.write_bytes(path.read_bytes()[:20_000])
    first, second = refused(path), refused(path)
    assert first == second
    rescue_of(path)
    path.write_bytes(path.read_bytes()[:18_000])
    assert refused(path) != first
    assert len(list(tmp_path.glob("rescue-*"))) == 2


def test_a_rescue_that_was_killed_is_made_again(closed: Path, tmp_path: Path):
    path = tmp_path / "store.duckdb"
    shutil.copytree(closed, tmp_path, dirs_exist_ok=True)
    path.write_bytes(path.read_bytes()[:20_000])
    script = (
        "import os, sys; from pathlib import Path; import memory.rescue.refusal as r\n"
        "r.sync_file = lambda _: os.kill(os.getpid(), 9)\n"
        "r.rescue(Path(sys.argv[1]))"
    )
    root = Path(__file__).parents[3]
    done = subprocess.run([sys.executable, "-c", script, str(path)], cwd=root, check=False)
    assert done.returncode == -signal.SIGKILL
    assert list(tmp_path.glob(".rescue-*.tmp")) and not list(tmp_path.glob("rescue-*"))
    refused(path)
    rescue_of(path)


def test_moving_the_damaged_store_away_is_the_way_on(closed: Path, tmp_path: Path):
    path, told = tmp_path / "store.duckdb", list[str]()
    shutil.copytree(closed, tmp_path, dirs_exist_ok=True)
    path.write_bytes(b"")
    refused(path)
    path.rename(tmp_path / "damaged.duckdb")
    with Store.open(path, told.append) as store:
        assert store.campaigns() == []
    assert "kept in" in told[0]
    with Store.open(path) as store:
        write_records(store, make_records(2, tag="anew"))
        publish(store, tmp_path / "snapshot")
    for folder in tmp_path.glob("rescue-*"):
        with Reader.open(folder) as reader:
            assert reader.trials(ID)[:40] == RECORDS.trials[:40]


def test_a_store_that_is_gone_leaves_its_snapshot_and_its_log(killed: Path, closed: Path, tmp_path: Path):
    path = tmp_path / "store.duckdb"
    shutil.copytree(closed / "snapshot", tmp_path / "snapshot")
    shutil.copyfile(killed / "store.duckdb.wal", tmp_path / "store.duckdb.wal")
    with Store.open(path) as store:
        assert store.campaigns() == []
    with Reader.open(next(tmp_path.glob("rescue-*"))) as reader:
        assert reader.trials(ID) == RECORDS.trials[:40]
    (log,) = tmp_path.glob("orphan-*.wal")
    assert log.read_bytes() == (killed / "store.duckdb.wal").read_bytes()


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
    assert not list(tmp_path.glob("rescue-*"))


@pytest.mark.parametrize("share", [0.3, 0.999])
def test_garbage_after_a_torn_log_costs_nothing_that_was_committed(killed: Path, tmp_path: Path, share: float):
    log = (killed / "store.duckdb.wal").read_bytes()
    path = copy_with_log(killed, tmp_path, log[: int(share * len(log))] + b"garbage" * 1_000)
    with suppress(HaltError):  # a last entry that is all there, and wrong, may be one that was committed once
        Store.open(path).close()
    if rescues := list(tmp_path.glob("rescue-*")):
        with Reader.open(rescues[0]) as reader:
            trials = reader.trials(ID)
    else:
        with Store.open(path) as store:
            trials = store.trials(ID)
    assert len(trials) > share * 41 - 5
    assert trials[:-1] == RECORDS.trials[: len(trials) - 1]


def test_what_is_written_after_a_torn_log_survives_the_next_kill(killed: Path, tmp_path: Path):
    log = (killed / "store.duckdb.wal").read_bytes()
    path = copy_with_log(killed, tmp_path, log[: len(log) // 2])
    script = KILLED.replace("make_records(40, prompt_chars=3_000)", "make_records(3, tag='later')")
    done = subprocess.run([sys.executable, "-c", script, str(path)], cwd=Path(__file__).parents[3], check=False)
    assert done.returncode == -signal.SIGKILL
    with Store.open(path) as store:
        assert store.trials("c-later") == make_records(3, tag="later").trials
        assert len(store.trials(ID)) > 10


@pytest.mark.parametrize("log", [b"hello world", os.urandom(20_000)], ids=["text", "random"])
def test_a_log_that_is_something_else_is_damage(killed: Path, tmp_path: Path, log: bytes):
    path = copy_with_log(killed, tmp_path, log)
    assert "write-ahead log is something else" in refused(path)


def test_a_byte_that_changed_in_the_log_is_damage_and_what_comes_before_is_saved(killed: Path, tmp_path: Path):
    log = (killed / "store.duckdb.wal").read_bytes()
    path = copy_with_log(killed, tmp_path, flipped(log, len(log) // 2))
    assert "WAL" in refused(path)
    with Reader.open(rescue_of(path)) as reader:
        trials = [trial for trial in reader.trials(ID) if trial.phase is Phase.DECIDED]
    assert 10 < len(trials) < 35 and trials == RECORDS.trials[: len(trials)]


def test_the_log_of_another_store_is_damage_and_costs_nothing_of_the_file(killed: Path, closed: Path, tmp_path: Path):
    path = copy_with_log(closed, tmp_path, (killed / "store.duckdb.wal").read_bytes())
    assert "WAL" in refused(path)
    with Reader.open(rescue_of(path)) as reader:
        assert reader.trials(ID) == RECORDS.trials


def test_a_log_that_is_gone_is_noticed_by_what_was_published(tmp_path: Path):
    path = tmp_path / "store.duckdb"
    done = subprocess.run(
        [sys.executable, "-c", KILLED, str(path), "publish"], cwd=Path(__file__).parents[3], check=False
    )
    assert done.returncode == -signal.SIGKILL
    path.with_name("store.duckdb.wal").unlink()
    assert "41 trials of the snapshot" in refused(path)
    with Reader.open(rescue_of(path)) as reader:
        assert reader.trials(ID) == RECORDS.trials


def test_a_restored_older_copy_goes_on_once_the_snapshot_is_moved(closed: Path, tmp_path: Path):
    path = tmp_path / "store.duckdb"
    with Store.open(path) as store:
        older = make_records(5)
        write_records(store, older)
    shutil.copytree(closed / "snapshot", tmp_path / "snapshot")
    assert "are not in it" in refused(path)
    (tmp_path / "snapshot").rename(tmp_path / "aside")
    with Store.open(path) as store:
        assert store.trials(ID) == older.trials


def test_a_torn_snapshot_says_nothing_against_the_store(closed: Path, tmp_path: Path):
    shutil.copytree(closed, tmp_path, dirs_exist_ok=True)
    for number, file in enumerate(sorted((tmp_path / "snapshot").glob("trials-*.parquet"))):
        file.write_bytes(b"" if number else file.read_bytes()[:50])
    with Store.open(tmp_path / "store.duckdb") as store:
        assert store.trials(ID) == RECORDS.trials


# Damage that shows only later


def test_an_error_of_duckdb_inside_the_loop_says_that_the_store_is_damaged(
    closed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    path = copy_with_log(closed, tmp_path, None)
    path.write_bytes(flipped(path.read_bytes(), block_of(path, "curves", "loss") + 3_000))
    monkeypatch.setattr(opening, "inspect", lambda *_: {})  # as if the block had gone bad after opening
    with Store.open(path) as store:
        for ask in (
            lambda: store.curve(RECORDS.curves[0].measurement_id),
            lambda: store.finish_measurement(RECORDS.measurements[0], RECORDS.curves[0]),
        ):
            with pytest.raises(HaltError, match=r"store\.duckdb: the store is damaged .* `nightshift run` again"):
                ask()
        assert store.trials(ID) == RECORDS.trials  # the rest can still be read


def test_a_mistake_in_sql_is_no_damage(tmp_path: Path):
    with Store.open(tmp_path / "store.duckdb") as store:
        with pytest.raises(duckdb.CatalogException):
            store._fetch("SELECT * FROM nowhere")  # pyright: ignore[reportPrivateUsage]
        with pytest.raises(duckdb.ParserException), store.transaction():
            store._fetch("SELEC")  # pyright: ignore[reportPrivateUsage]


# Trouble while rescuing


def test_a_process_that_dies_over_a_table_costs_only_that_table(
    closed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    path = copy_with_log(closed, tmp_path, None)
    path.write_bytes(flipped(path.read_bytes(), block_of(path, "curves", "loss") + 3_000))
    reading = [sys.executable, "-m", "memory.rescue.reading"]
    dying = (
        "import os, sys, memory.rescue.reading as reading\n"
        "run = reading._Export.run\n"
        "reading._Export.run = lambda self: os.abort() if self.table == 'calls' else run(self)\n"
        "reading.main(sys.argv[1:])"
    )
    run = subprocess.run

    def run_dying(command: list[str], **options: Any) -> Any:
        assert command[:3] == reading
        return run([sys.executable, "-c", dying, *command[3:]], **options)

    monkeypatch.setattr("memory.rescue.salvage.subprocess.run", run_dying)
    saved = rescue(path)
    assert saved.from_store["calls"] == 0
    assert saved.from_store["trials"] == 41
    assert any("table calls" in found for found in saved.found)


def test_a_disk_too_full_for_a_rescue_is_a_full_disk_and_leaves_nothing(
    closed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    path = copy_with_log(closed, tmp_path, None)
    path.write_bytes(flipped(path.read_bytes(), 2 * HEADER + 10))
    script = 'print(\'{"why": "Could not write file: No space left on device"}\')'
    run = subprocess.run

    def run_full(_: list[str], **options: Any) -> Any:
        return run([sys.executable, "-c", script], **options)

    monkeypatch.setattr("memory.rescue.salvage.subprocess.run", run_full)
    with pytest.raises(DiskFullError):
        Store.open(path)
    assert list(tmp_path.iterdir()) == [path]
