"""Whatever a file holds, reading it ends in a log or in a named failure, and every line is a trial or told of."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from memory.database.rows import ALL_TABLES
from memory.exports.formats import ExportFormat
from memory.exports.write import export_records
from memory.figures.analysis import TrialRow, analyze_rows, rows_of
from memory.importers.log import Log
from memory.importers.reading import read_log
from memory.record_set import RecordSet
from rails.errors import UserError
from tests.support.examples import examples
from tests.support.foreign_logs import (
    HEADER,
    ITERATIONS,
    NARROW,
    NARROW_ROWS,
    WIDE,
    WIDE_ROWS,
    menu_log,
    narrow_log,
    wide_log,
)
from tests.support.many_trials import many_trials

MAKERS = {"menu": menu_log, "wide": wide_log, "narrow": narrow_log}
LAX = settings(max_examples=examples(60), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=6)
FLAT = SCALARS | st.lists(SCALARS, max_size=2) | st.dictionaries(st.text(max_size=4), SCALARS, max_size=2)
JSON_VALUES = FLAT | st.lists(FLAT, max_size=2) | st.dictionaries(st.text(max_size=4), FLAT, max_size=2)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("logs")


@pytest.fixture(scope="module")
def originals(folder: Path) -> dict[str, bytes]:
    """A file of each format, ours included."""
    found = {name: make(folder / name).read_bytes() for name, make in MAKERS.items()}
    made = many_trials(6)
    records = RecordSet(campaign=made.campaign, trials=made.trials, measurements=made.measurements, calls=made.calls)
    for export_format in ExportFormat:
        export_records(records, export_format, folder / export_format)
        found[export_format] = (folder / export_format).read_bytes()
    return found


def read_bytes(folder: Path, content: bytes) -> Log | None:
    """The log of a file with this content; None when it is refused by name."""
    path = folder / "under-test"
    path.write_bytes(content)
    try:
        log = read_log(path)
    except UserError:
        return None
    check(log)
    return log


def check(log: Log) -> None:
    """What is true of every log: it can be analysed and stored, and its numbers are its own."""
    records = log.records
    assert len({trial.seq for trial in records.trials}) == len(records.trials)
    assert len({trial.trial_id for trial in records.trials}) == len(records.trials)
    assert {m.trial_id for m in records.measurements} <= {trial.trial_id for trial in records.trials}
    assert all(found.line > 0 and found.why for found in log.unreadable)
    assert repr(log.rows) == repr(rows_of(records.trials, records.measurements))  # NaN is not equal to itself
    analyze_rows(log.rows, [])
    by_table = {table.record: table for table in ALL_TABLES}
    for record in (records.campaign, *records.trials, *records.measurements):
        by_table[type(record)].to_row(record)  # type: ignore[index]


@LAX
@given(st.binary(max_size=300))
@example(b'{"nightshift')
@example(b'{"nightshift": 1}\n')
@example(b"exp_id\tstatus\n1\tkeep")
@example(b"commit\tstatus\tdescription\n")
@example(b'{"iter": 1e999, "stage": "evaluated"}')
@example(b'{"iter": 1, "stage": "blocked", "ts": "0001-01-01T00:00:00+23:59"}\n')
def test_arbitrary_bytes(folder: Path, content: bytes) -> None:
    read_bytes(folder, content)


@LAX
@given(data=st.data())
def test_arbitrary_truncations(folder: Path, originals: dict[str, bytes], data: st.DataObject) -> None:
    content = originals[data.draw(st.sampled_from(sorted(originals)))]
    read_bytes(folder, content[: data.draw(st.integers(0, len(content)))])


@LAX
@given(data=st.data())
def test_arbitrary_bytes_put_in(folder: Path, originals: dict[str, bytes], data: st.DataObject) -> None:
    content = originals[data.draw(st.sampled_from(sorted(originals)))]
    start = data.draw(st.integers(0, len(content)))
    end = data.draw(st.integers(start, min(len(content), start + 20)))
    read_bytes(folder, content[:start] + data.draw(st.binary(max_size=20)) + content[end:])


@LAX
@given(data=st.data())
def test_every_row_of_a_table_is_a_trial_or_told_of(folder: Path, data: st.DataObject) -> None:
    """Any cells of any rows are replaced by any text."""
    columns = data.draw(st.sampled_from([NARROW, WIDE]))
    make = narrow_log if columns == NARROW else wide_log
    lines = make(folder / "table").read_text().splitlines()
    cell = st.text(st.characters(exclude_characters="\n\r", exclude_categories=("Cs",)), max_size=8)
    for _ in range(data.draw(st.integers(1, 6))):
        row = data.draw(st.integers(1, len(lines) - 1))
        cells = lines[row].split("\t")
        cells[data.draw(st.integers(0, len(cells) - 1))] = data.draw(
            cell
            | st.sampled_from(["keep", "crash", "baseline", "1e400", "nan", "-0", "999999999999", "000", "exp_002"])
        )
        lines[row] = "\t".join(cells)
    log = read_bytes(folder, "\n".join(lines).encode())
    assert log is not None
    told = sum(note.endswith("is the header once more") for note in log.notes)
    empty = sum(not line.strip() for line in lines)
    assert len(log.records.trials) + len(log.unreadable) + told + empty == len(lines) - 1


@LAX
@given(data=st.data())
def test_every_line_of_a_menu_loop_is_a_trial_or_told_of(folder: Path, data: st.DataObject) -> None:
    """Any keys of any iterations get any JSON value."""
    lines: list[dict[str, Any]] = [dict(found) for found in ITERATIONS]
    for _ in range(data.draw(st.integers(1, 6))):
        line = lines[data.draw(st.integers(0, len(lines) - 1))]
        key = data.draw(st.sampled_from([*sorted(line), "new"]))
        line[key] = data.draw(JSON_VALUES)
    content = "\n".join(json.dumps(line) for line in [HEADER, *lines])
    log = read_bytes(folder, content.encode("utf-8", "surrogatepass"))
    assert log is not None
    assert len(log.records.trials) - 1 + len(log.unreadable) == len(lines)


@LAX
@given(row=st.integers(0, 999), key=st.integers(0, 999), value=JSON_VALUES)
def test_every_line_of_our_own_export_is_read_or_told_of(
    folder: Path, originals: dict[str, bytes], row: int, key: int, value: object
) -> None:
    lines: list[Any] = [json.loads(line) for line in originals["jsonl"].decode().splitlines()]
    trial: dict[str, Any] = lines[1 + row % (len(lines) - 1)]["trial"]
    keys = [*sorted(trial), "new"]
    trial[keys[key % len(keys)]] = value
    log = read_bytes(folder, "\n".join(json.dumps(line) for line in lines).encode("utf-8", "surrogatepass"))
    assert log is not None
    assert len(log.records.trials) + len(log.unreadable) == len(lines) - 1


@pytest.mark.parametrize("endless", ["Infinity", "NaN", "1e999", "-1E+400"])
def test_a_number_that_is_not_finite_costs_its_line_alone(
    folder: Path, originals: dict[str, bytes], endless: str
) -> None:
    first, second, *others = originals["jsonl"].decode().splitlines()
    trial: dict[str, Any] = json.loads(second)
    trial["trial"]["decision"] = {"reason": "Infinity", "deep": [{"number": "HERE"}]}
    for text, unreadable in ((f'"{endless}"', 0), (endless, 1)):
        line = json.dumps(trial).replace('"HERE"', text)
        log = read_bytes(folder, "\n".join([first, line, *others]).encode())
        assert log is not None
        assert [found.why for found in log.unreadable] == ["trial decision: numbers must be finite"] * unreadable
        assert len(log.records.trials) == len(others) + 1 - unreadable


def test_an_integer_that_no_column_can_hold_costs_its_line_alone(folder: Path, originals: dict[str, bytes]) -> None:
    lines: list[Any] = [json.loads(line) for line in originals["jsonl"].decode().splitlines()]
    lines[1]["trial"]["attempt"] = 2**63
    log = read_bytes(folder, "\n".join(json.dumps(line) for line in lines).encode())
    assert log is not None
    assert [line.why for line in log.unreadable] == ["trial attempt: integers must fit into 64 bits"]
    assert len(log.records.trials) == len(lines) - 2


@LAX
@given(data=st.data())
def test_both_parsers_find_the_same(folder: Path, originals: dict[str, bytes], data: st.DataObject) -> None:
    """Half of a character keeps a line from the fast parser; in a key that nobody reads it must change nothing."""
    name = data.draw(st.sampled_from(["jsonl", "menu"]))
    lines: list[dict[str, Any]] = [json.loads(line) for line in originals[name].decode().splitlines()]
    for _ in range(data.draw(st.integers(0, 3))):
        line = lines[data.draw(st.integers(1, len(lines) - 1))]
        line = line.get("trial", line)
        line[data.draw(st.sampled_from([*sorted(line), "new"]))] = data.draw(JSON_VALUES)
    texts = [json.dumps(line) for line in lines]
    fast = read_bytes(folder, "\n".join(texts).encode())
    slow = read_bytes(folder, "\n".join(f'{text[:-1]}, "unread": "\\ud800"}}' for text in texts).encode())
    assert fast is not None and slow is not None
    assert (fast.unreadable, fast.notes) == (slow.unreadable, slow.notes)
    if name == "jsonl":
        assert repr(fast.records) == repr(slow.records)
    else:  # the records of a foreign log have ids that are made of the whole file
        assert [without_ids(row, fast) for row in fast.rows] == [without_ids(row, slow) for row in slow.rows]


def without_ids(row: TrialRow, log: Log) -> str:
    return repr(row).replace(log.campaign.campaign_id, "")


def test_untouched_files_are_read_whole(folder: Path, originals: dict[str, bytes]) -> None:
    """The properties above would hold of an importer that refuses everything."""
    rows = {"menu": len(ITERATIONS) + 1, "wide": len(WIDE_ROWS), "narrow": len(NARROW_ROWS)}
    for name, content in originals.items():
        log = read_bytes(folder, content)
        assert log is not None and log.unreadable == []
        assert len(log.records.trials) == rows.get(name, 7)
