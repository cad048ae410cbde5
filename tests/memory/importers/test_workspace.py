"""`import`: a log becomes a folder that can be asked, whole or not at all, and over nothing."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from memory.figures.analysis import analyze_trials, rows_of, stored_rows
from memory.importers import workspace as importing
from memory.importers.log import Log
from memory.importers.reading import read_log
from memory.importers.workspace import UNREADABLE, import_log, imported_record
from memory.reader import Reader
from memory.record_set import read_record_set
from memory.store import Store
from rails.errors import UserError
from tests.support.foreign_logs import NARROW_ROWS, menu_log, narrow_log, wide_log
from tests.support.many_trials import make_night, many_trials
from tests.support.variants import first


def imported(log_path: Path, directory: Path) -> Log:
    log = read_log(log_path)
    import_log(log, log_path, directory)
    return log


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


@pytest.mark.parametrize("make", [menu_log, wide_log, narrow_log])
def test_a_store_and_its_snapshot_hold_what_was_read(tmp_path: Path, make: type) -> None:
    log = imported(make(tmp_path / "log"), tmp_path / "night")
    campaign_id = log.records.campaign.campaign_id
    with Reader.open(tmp_path / "night" / ".nightshift" / "snapshot") as reader:
        assert read_record_set(reader, campaign_id) == log.records
        assert stored_rows(reader, campaign_id) == rows_of(log.records.trials, log.records.measurements)
    with Store.open(tmp_path / "night" / ".nightshift" / "store.duckdb") as store:
        assert read_record_set(store, campaign_id) == log.records
        noise = store.noise(campaign_id)
        assert store.campaigns()[0].source == str(tmp_path / "log")
    analysis = analyze_trials(log.records.trials, log.records.measurements, [])
    assert (noise.df, noise.sd) == (analysis.noise.df, pytest.approx(analysis.noise.sd))


def test_what_could_not_be_read_stays_beside_it(tmp_path: Path) -> None:
    log_path = narrow_log(tmp_path / "log", [*NARROW_ROWS, "x\t1.0\t1\tpromoted\twhat"])
    log = imported(log_path, tmp_path / "night")
    kept = [json.loads(line) for line in (tmp_path / "night" / UNREADABLE).read_text().splitlines()]
    assert kept == [{"line": 8, "why": "unknown status 'promoted'"}]
    record = imported_record(tmp_path / "night")
    assert record is not None
    assert (record.unreadable, record.notes, record.trials) == (log.unreadable, log.notes, 5)


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    log_path = narrow_log(tmp_path / "log")
    (tmp_path / "empty").mkdir()
    imported(log_path, tmp_path / "empty")
    (tmp_path / "file").write_text("mine")
    before = {path: path.read_bytes() for path in (tmp_path / "empty").rglob("*") if path.is_file()}
    for taken in ("empty", "file"):
        with pytest.raises(UserError, match="overwrites nothing"):
            imported(log_path, tmp_path / taken)
    assert (tmp_path / "file").read_text() == "mine"
    assert {path: path.read_bytes() for path in (tmp_path / "empty").rglob("*") if path.is_file()} == before


def test_a_log_without_trials_makes_nothing(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no trial"):
        imported(narrow_log(tmp_path / "log", ["torn"]), tmp_path / "night")
    assert names(tmp_path) == {"log"}


def test_an_import_that_fails_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(importing, "publish_whole", fail)
    with pytest.raises(Exception, match="disk is full"):
        imported(narrow_log(tmp_path / "log"), tmp_path / "night")
    assert names(tmp_path) == {"log"}


_KILLED = """
import os, signal, sys
from pathlib import Path
from memory.importers import workspace
from memory.importers.reading import read_log
def die(*_): os.kill(os.getpid(), signal.SIGKILL)
setattr(workspace, sys.argv[1], die)
log = Path(sys.argv[2])
workspace.import_log(read_log(log), log, Path(sys.argv[3]))
"""


@pytest.mark.system
@pytest.mark.parametrize(
    "where", first(2, ["publish_whole", "sync_directory", "fill", "sync_file"], rest=pytest.mark.system)
)
def test_a_killed_import_leaves_nothing_half_made(tmp_path: Path, where: str) -> None:
    log_path = narrow_log(tmp_path / "log")
    target = tmp_path / "night"
    done = subprocess.run(
        [sys.executable, "-c", _KILLED, where, str(log_path), str(target)], env=os.environ, check=False
    )
    assert done.returncode == -signal.SIGKILL
    if where == "sync_directory":  # it was whole already
        assert imported_record(target) is not None
        return
    assert not target.exists()
    imported(log_path, target)
    assert imported_record(target) is not None
    assert names(tmp_path) == {"log", "night"}


def test_a_damaged_mark_is_named(tmp_path: Path) -> None:
    imported(narrow_log(tmp_path / "log"), tmp_path / "night")
    (tmp_path / "night" / ".nightshift" / "imported.json").write_text("{")
    with pytest.raises(UserError, match="import the log again"):
        imported_record(tmp_path / "night")
    assert imported_record(tmp_path) is None


def test_a_workspace_of_our_own_is_no_imported_record(tmp_path: Path) -> None:
    assert imported_record(make_night(tmp_path / "night", many_trials(3))) is None
