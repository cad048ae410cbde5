"""`nightshift query`: every form of an answer, of any length, and nothing that SQL could do to the machine."""

import csv
import io
import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from cli.terminal.output import printable
from memory.publish import publish
from memory.store import Store
from tests.support.command import argv, nightshift
from tests.support.rows import CampaignRecords, make_records, write_records

EVIL = "\x1b]0;owned\x07\u202egnp.exe \x9b31m [bold]x[/bold]\nnext"


@pytest.fixture(scope="module")
def night(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, CampaignRecords]]:
    """A workspace's folder with a published record; one reply in it is not to be printed as it is."""
    root = tmp_path_factory.mktemp("query")
    records = make_records(30, seed=4)
    records.calls[0] = records.calls[0].model_copy(update={"raw_reply": EVIL})
    (root / ".nightshift").mkdir()
    (root / "task.toml").write_text("")
    with Store.open(root / ".nightshift" / "store.duckdb") as store:
        write_records(store, records)
        publish(store, root / ".nightshift" / "snapshot")
    yield root, records


def test_all_forms_have_the_same_rows(night: tuple[Path, CampaignRecords], tmp_path: Path) -> None:
    root, records = night
    sql = "SELECT trial, status, gain, decision, created_at, trial > 3 AS late FROM trials"
    document = nightshift("query", root, sql, "--json").document
    assert document["columns"] == ["trial", "status", "gain", "decision", "created_at", "late"]
    assert [row[0] for row in document["rows"]] == [trial.seq for trial in records.trials]
    header, *rows = csv.reader(io.StringIO(nightshift("query", root, sql, "--csv").out))
    assert header == document["columns"]
    words = {None: "", True: "true", False: "false"}
    plain = [[words[v] if v is None or isinstance(v, bool) else str(v) for v in row] for row in document["rows"]]
    assert rows == plain
    file = tmp_path / "out.parquet"
    done = nightshift("query", root, sql, "--parquet", file)
    assert (done.code, done.out) == (0, f"{file}: {len(records.trials)} rows\n")
    parquet = pq.read_table(file).to_pydict()
    assert [list(row) for row in zip(parquet["trial"], parquet["status"], parquet["gain"], strict=True)] == [
        row[:3] for row in document["rows"]
    ]
    shown = nightshift("query", root, sql).out.splitlines()
    assert shown[0].split() == document["columns"]
    assert len(shown) == 1 + len(records.trials)


def test_a_long_answer_is_whole_for_programs_and_cut_for_people(night: tuple[Path, CampaignRecords]) -> None:
    sql = "SELECT range AS n FROM range(5000)"
    shown = nightshift("query", night[0], sql)
    assert len(shown.out.splitlines()) == 1001
    assert "only the first 1000 rows are shown" in shown.err
    assert nightshift("query", night[0], sql, "--csv").out.splitlines() == ["n", *map(str, range(5000))]
    assert nightshift("query", night[0], sql, "--json").document["rows"] == [[n] for n in range(5000)]


def test_an_endless_answer_ends_with_its_reader(night: tuple[Path, CampaignRecords]) -> None:
    command = argv("query", night[0], "SELECT range FROM range(100000000000)", "--csv")
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert [process.stdout.readline() for _ in range(3)] == ["range\n", "0\n", "1\n"]
        process.stdout.close()
        assert process.wait(60) == 1
        assert "Traceback" not in process.stderr.read()


def test_a_row_too_wide_for_a_table_is_shown_upright(night: tuple[Path, CampaignRecords]) -> None:
    lines = nightshift("query", night[0], "FROM trials WHERE trial IN (1, 2)").out.splitlines()
    assert lines[0] == "── row 1 ──"
    assert lines[1].split() == ["trial", "1"]
    assert "── row 2 ──" in lines


def test_text_of_a_model_does_nothing_to_a_terminal(night: tuple[Path, CampaignRecords]) -> None:
    sql = "SELECT raw_reply FROM calls WHERE attempt = 0 LIMIT 1"
    shown = nightshift("query", night[0], sql).out
    assert "[bold]x[/bold]" in shown
    assert not {"\x1b", "\x07", "\u202e", "\x9b"} & set(shown)
    assert nightshift("query", night[0], sql, "--json").document["rows"] == [[EVIL]]


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a\tb\nc", "a\tb\nc"),
        ("\x1b[31m", "\\x1b[31m"),
        ("\u202e", "\\u202e"),
        ("é 木 😀", "é 木 😀"),
        ("\r\x00", "\\r\\x00"),
    ],
)
def test_printable_text(text: str, shown: str) -> None:
    assert printable(text) == shown


def test_a_query_that_wants_too_much_memory_is_an_error_in_one_sentence(night: tuple[Path, CampaignRecords]) -> None:
    done = nightshift(
        "query", night[0], "SELECT sum(len(x)) FROM (SELECT range(4000000000 + range) AS x FROM range(9))"
    )
    assert done.code == 1
    assert "needs more memory than it may have" in done.err
    assert "Traceback" not in done.err


def test_forms_exclude_each_other_and_errors_leave_no_file(night: tuple[Path, CampaignRecords], tmp_path: Path) -> None:
    assert nightshift("query", night[0], "SELECT 1", "--json", "--csv").code == 2
    done = nightshift("query", night[0], "SELECT nothing FROM trials", "--parquet", tmp_path / "x.parquet")
    assert done.code == 1
    assert done.err.startswith("nightshift: the query failed")
    assert os.listdir(tmp_path) == []


def test_a_copied_snapshot_can_be_asked(night: tuple[Path, CampaignRecords], tmp_path: Path) -> None:
    shutil.copytree(night[0] / ".nightshift" / "snapshot", tmp_path / "copy")
    found = nightshift("query", tmp_path / "copy", "SELECT count(*) FROM trials", "--json")
    assert json.loads(found.out)["rows"] == [[len(night[1].trials)]]


def test_where_nothing_is_to_be_read(tmp_path: Path) -> None:
    done = nightshift("query", tmp_path, "SELECT 1")
    assert (done.code, done.out) == (1, "")
    assert "not a workspace" in done.err
