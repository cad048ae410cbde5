"""Records survive the way through a row, for every table and any content."""

from typing import Any

import duckdb
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from memory.database.migrations.runner import migrate
from memory.database.rows import ALL_TABLES, CALLS, NUMBERED_TABLES, TRIALS, Table
from memory.records import Record
from tests.support.rows import make_campaign, make_trial, records_of


@pytest.fixture(scope="module")
def connection():
    with duckdb.connect(":memory:", config={"threads": 1}) as connection:
        migrate(connection)
        yield connection


def hidden_columns(table: Table[Any]) -> list[str]:
    return ["ordinal"] if table in NUMBERED_TABLES else []


@pytest.mark.parametrize("table", ALL_TABLES, ids=lambda table: table.name)
def test_record_to_row_to_record(table: Table[Any], connection: duckdb.DuckDBPyConnection):
    @settings(max_examples=25, deadline=None)
    @given(records_of(table.record))
    def round_trip(record: Record):
        hidden = hidden_columns(table)
        places = ", ".join("?" * (len(table.columns) + len(hidden)))
        sql = f"INSERT INTO raw.{table.name} ({', '.join([*table.columns, *hidden])}) VALUES ({places})"
        connection.execute(sql, [*table.to_row(record), *([0] * len(hidden))])
        row = connection.execute(f"SELECT {table.column_list} FROM raw.{table.name}").fetchone()
        connection.execute(f"DELETE FROM raw.{table.name}")
        assert row is not None
        assert table.to_record(row) == record

    round_trip()


@pytest.mark.parametrize("table", ALL_TABLES, ids=lambda table: table.name)
def test_columns_are_the_record_fields(table: Table[Any], connection: duckdb.DuckDBPyConnection):
    found = connection.execute(
        "SELECT column_name FROM duckdb_columns() WHERE schema_name = 'raw' AND table_name = ? ORDER BY column_index",
        [table.name],
    ).fetchall()
    # A column that a migration adds comes last in the file, wherever its field stands in the record.
    assert {name for (name,) in found} == {*table.columns, *hidden_columns(table)}


@pytest.mark.parametrize(
    ("field", "value", "why"),
    [
        ("attempt", 2**63, "64 bits"),
        ("edit", {"kind": "knob", "value": float("nan")}, "JSON"),
        ("edit", {"kind": "knob", "value": "\ud800"}, "surrogates"),
    ],
)
def test_what_cannot_be_stored_is_refused_by_name(field: str, value: object, why: str):
    trial = make_trial(make_campaign(), 1).model_copy(update={field: value})
    with pytest.raises(ValueError, match=rf"Trial\.{field} cannot be stored.*{why}"):
        TRIALS.to_row(trial)


@given(st.datetimes())
def test_naive_times_are_refused(moment: Any):
    trial = make_trial(make_campaign(), 1).model_copy(update={"created_at": moment})
    with pytest.raises(ValueError, match="time zone"):
        TRIALS.to_row(trial)


def test_prompts_are_json():
    assert set(CALLS.encoders) == {"prompt", "created_at", "message", "role"}
