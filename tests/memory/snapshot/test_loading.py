"""Opening only what is asked for: the same rows, types and answers as the whole record, or a clear refusal."""

import math
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import duckdb
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from memory.database.migrations.runner import migrate, newest_version
from memory.database.rows import ALL_TABLES
from memory.publish import publish
from memory.reader import VIEWS, Reader
from memory.schema_doc import EXAMPLES
from memory.snapshot.loading import connect, load, load_tables
from memory.snapshot.manifest import read_manifest
from memory.snapshot.needs import EVERYTHING, TABLES, known_views, needs_of
from memory.store import Store
from rails.errors import HaltError, UserError
from tests.support.rows import make_records, write_records


@pytest.fixture(scope="module")
def snapshot(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("loading")
    with Store.open(folder / "store.duckdb") as store:
        write_records(store, make_records(40, seed=2, tag="one"))
        write_records(store, make_records(3, seed=3, tag="two"))
        publish(store, folder / "snapshot")
    return folder / "snapshot"


@pytest.fixture(scope="module")
def reader(snapshot: Path) -> Iterator[Reader]:
    with Reader.open(snapshot) as opened:
        yield opened


def columns(connection: duckdb.DuckDBPyConnection) -> dict[str, list[tuple[str, str]]]:
    sql = "SELECT table_name, column_name, data_type FROM duckdb_columns() WHERE schema_name = 'raw' ORDER BY ALL"
    found: dict[str, list[tuple[str, str]]] = {}
    for table, column, type_ in connection.execute(sql).fetchall():
        found.setdefault(table, []).append((column, type_))
    return found


def test_the_tables_of_a_reader_are_those_of_the_migrations(snapshot: Path) -> None:
    migrated = connect()
    migrate(migrated)
    expected = {table: found for table, found in columns(migrated).items() if table in TABLES}
    read = load_tables(snapshot, read_manifest(snapshot), EVERYTHING)
    assert columns(read) == expected
    migrated.close()
    read.close()


def test_both_ways_of_loading_give_the_same_rows(snapshot: Path) -> None:
    manifest = read_manifest(snapshot)
    whole, read = load(snapshot, manifest), load_tables(snapshot, manifest, EVERYTHING)
    for table in ALL_TABLES:
        sql = f"SELECT {table.column_list} FROM raw.{table.name} ORDER BY ALL"
        rows = read.execute(sql).fetchall()
        assert rows == whole.execute(sql).fetchall()
        assert rows or table.name == "events"
    whole.close()
    read.close()


def test_views_name_what_is_behind_them() -> None:
    views = known_views()
    assert list(views) == list(VIEWS) or views.keys() == set(VIEWS)
    assert views["trials"].needs.keys() == {"trials", "campaigns"}
    assert views["near_misses"].needs.keys() == views["noise"].needs.keys() == {"trials", "campaigns", "measurements"}
    assert views["near_misses"].others == {"noise"}
    assert {"p_improve", "status", "kind"} <= views["near_misses"].needs["trials"]
    assert not {"diff", "lesson", "decision"} & views["near_misses"].needs["trials"]


@pytest.mark.parametrize("view", VIEWS)
def test_a_view_is_the_same_without_the_columns_that_it_does_not_need(
    view: str, snapshot: Path, reader: Reader
) -> None:
    sql = f"FROM {view} ORDER BY ALL"
    with Reader.open_for(snapshot, sql) as some:
        assert some.query(sql) == reader.query(sql)


@pytest.mark.parametrize(
    "sql",
    [
        *(f"SELECT count(*) FROM {view}" for view in VIEWS),
        *(sql for _, sql in EXAMPLES),
        'SELECT count(*) FROM "TRIALS"',
        "SELECT count(*) FROM query('SELECT * FROM cur' || 'ves')",
        "SELECT count(*) FROM query_table('spa' || 'ns')",
        "SELECT sum(estimated_size) FROM duckdb_tables() WHERE schema_name = 'raw'",
        "SELECT count(*) FROM json_execute_serialized_sql(json_serialize_sql('SELECT * FROM raw.calls'))",
        "SELECT count(*) FROM raw.lessons",
        "SUMMARIZE verdicts",
        "PIVOT trials ON kind USING count(*)",
        "WITH t AS (FROM near_misses) SELECT count(*) FROM t",
    ],
)
def test_a_query_gets_the_same_answer_from_the_tables_that_it_needs(sql: str, snapshot: Path, reader: Reader) -> None:
    with Reader.open_for(snapshot, sql) as some:
        assert some.query(sql) == reader.query(sql)


def test_a_query_over_one_view_does_not_load_the_others() -> None:
    needed = needs_of("SELECT status, count(*) FROM trials GROUP BY 1")
    assert needed.keys() == {"trials", "campaigns"}
    assert needed["trials"] == EVERYTHING["trials"]
    assert needs_of("FROM raw.lessons")["lessons"] == EVERYTHING["lessons"]
    assert needs_of("SELECT 1") == {}


@pytest.mark.parametrize("sql", ["FROM trials", "FROM measurements", "SELECT diff FROM raw.trials", "FROM query('x')"])
def test_a_query_for_more_than_was_loaded_is_refused_and_never_empty(snapshot: Path, sql: str) -> None:
    with Reader.open_for(snapshot, "FROM near_misses") as reader:
        assert reader.query("SELECT count(*) FROM noise").rows == [[2]]
        with pytest.raises(ValueError, match="opened without"):
            reader.query(sql)


def test_what_is_there_is_listed_whole(snapshot: Path) -> None:
    for sql in ("SHOW TABLES", "SELECT view_name FROM duckdb_views() WHERE NOT internal"):
        with Reader.open_for(snapshot, sql) as reader:
            assert set(VIEWS) <= {row[0] for row in reader.query(sql).rows}, sql


def test_what_was_not_loaded_is_refused_and_never_empty(snapshot: Path) -> None:
    with Reader.open(snapshot, {"trials"}) as reader:
        campaign = reader.latest_campaign()
        assert campaign is not None
        assert reader.trials(campaign.campaign_id)
        for ask in (reader.noise, reader.lessons, reader.events, reader.peak_bytes):
            with pytest.raises(ValueError, match="opened without"):
                ask(campaign.campaign_id)


def test_the_newest_migration_is_what_snapshots_have(snapshot: Path) -> None:
    assert read_manifest(snapshot).schema == newest_version()


def test_an_answer_has_a_limit_and_says_so(reader: Reader) -> None:
    assert reader.query("FROM range(10)", 3).rows == [[0], [1], [2]]
    assert reader.query("FROM range(10)", 3).more
    assert not reader.query("FROM range(3)", 3).more
    assert not reader.query("FROM range(0)", 3).more
    endless = reader.query("SELECT range, repeat('x', 1000) FROM range(1000000000000)", 2)
    assert [row[0] for row in endless.rows] == [0, 1]
    assert endless.more


def test_a_query_that_takes_too_long_is_broken_off_and_the_reader_goes_on(reader: Reader) -> None:
    slow = "SELECT count(*) FROM range(10000000) a, range(10000000) b WHERE a.range * b.range % 7 = 1"
    with pytest.raises(UserError, match=r"took longer than 0\.2 s"):
        reader.query(slow, timeout_s=0.2)
    assert reader.query("SELECT 1").rows == [[1]]


@given(st.integers(0, 5000), st.integers(1, 700))
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_batches_are_the_whole_answer(reader: Reader, count: int, size: int) -> None:
    with reader.asking(f"SELECT range AS n, range / 3 AS x FROM range({count})") as answer:
        assert answer.columns == ["n", "x"]
        batches = list(answer.batches(size))
    assert [row[0] for batch in batches for row in batch] == list(range(count))
    assert all(0 < len(batch) <= size for batch in batches)


def test_parquet_has_the_rows_and_types_of_the_answer(reader: Reader, tmp_path: Path) -> None:
    path, told = tmp_path / "out.parquet", list[int]()
    with reader.asking("SELECT trial, status, gain, created_at, decision FROM trials WHERE campaign = 'one'") as answer:
        assert answer.write_parquet(path, told.append) == 41
    assert told[-1] == 41
    table = pq.read_table(path)
    assert [str(t) for t in table.schema.types] == ["int64", "string", "double", "timestamp[us]", "string"]
    expected = reader.query("SELECT trial, status, gain FROM trials WHERE campaign = 'one'").rows
    assert [list(row.values()) for row in table.select([0, 1, 2]).to_pylist()] == expected
    assert os.listdir(tmp_path) == ["out.parquet"]


@pytest.mark.parametrize(
    "sql", ["SELECT count(*) FROM range(2) WHERE range > 5", "FROM trials WHERE false", "SELECT NULL AS a"]
)
def test_small_answers_are_parquet_too(sql: str, reader: Reader, tmp_path: Path) -> None:
    with reader.asking(sql) as answer:
        assert answer.write_parquet(tmp_path / "x.parquet") == pq.read_table(tmp_path / "x.parquet").num_rows


def test_a_failed_parquet_leaves_the_old_file(reader: Reader, tmp_path: Path) -> None:
    path = tmp_path / "out.parquet"
    path.write_text("mine")
    for sql in ("SELECT error('broken') FROM range(9000)", "SELECT INTERVAL 1 MONTH AS i", "COPY trials TO 'x'"):
        with pytest.raises(UserError), reader.asking(sql) as answer:
            answer.write_parquet(path)
    assert path.read_text() == "mine"
    with pytest.raises(HaltError, match="cannot be written"), reader.asking("SELECT 1") as answer:
        answer.write_parquet(tmp_path / "none" / "out.parquet")
    assert os.listdir(tmp_path) == ["out.parquet"]


MISUSED = [
    "SELECT getenv('HOME')",
    "SELECT * FROM read_csv('{file}')",
    "SELECT * FROM read_csv_auto('{file}')",
    "SELECT * FROM sniff_csv('{file}')",
    "SELECT * FROM read_json('{file}')",
    "SELECT * FROM read_text('{file}')",
    "SELECT * FROM read_blob('{file}')",
    "SELECT * FROM read_parquet('{file}')",
    "SELECT * FROM parquet_metadata('{file}')",
    "SELECT * FROM glob('{folder}/*')",
    "FROM '{file}'",
    "FROM query_table('{file}')",
    "FROM query('FROM read_text(''{file}'')')",
    "FROM query('DELETE FROM raw.trials')",
    "FROM 'https://example.com/x.parquet'",
    "FROM json_execute_serialized_sql(json_serialize_sql('FROM read_text(''{file}'')'))",
    "SELECT * FROM duckdb_secrets()",
    "ATTACH '{folder}/x.duckdb'",
    "COPY (SELECT 1) TO '{folder}/x.csv'",
    "EXPORT DATABASE '{folder}/x'",
    "IMPORT DATABASE '{folder}'",
    "INSTALL httpfs",
    "LOAD '{file}'",
    "PRAGMA database_list",
    "CALL pragma_version()",
    "SET memory_limit = '1TB'",
    "RESET ALL",
    "SET VARIABLE x = 1",
    "CREATE MACRO f() AS 1",
    "CREATE TEMP TABLE t AS SELECT 1",
    "INSERT INTO raw.trials SELECT * FROM raw.trials",
    "UPDATE raw.trials SET status = 'keep'",
    "TRUNCATE raw.trials",
    "MERGE INTO raw.trials USING raw.trials t ON false WHEN NOT MATCHED THEN INSERT",
    "ALTER TABLE raw.trials DROP COLUMN status",
    "PREPARE p AS SELECT 1",
    "EXECUTE p",
    "CHECKPOINT",
    "VACUUM",
    "USE memory",
    "SELECT 1; SELECT 2",
    "SELECT 1; COPY raw.trials TO '{folder}/x.csv'",
    "SELECT * FROM local_rows",
    "SELECT * FROM checkpoint_abort",
    "SELECT * FROM enable_logging()",
    "SELECT nextval('x')",
    "/* SELECT */ DROP VIEW trials",
    "WITH x AS (INSERT INTO raw.lessons SELECT * FROM raw.lessons RETURNING *) FROM x",
    "EXPLAIN ANALYZE INSERT INTO raw.lessons SELECT * FROM raw.lessons",
    "",
    ";",
    "-- nothing",
    "SELECT '\0'; DROP VIEW trials",
]


@pytest.mark.parametrize("sql", MISUSED)
def test_sql_reaches_nothing_but_the_record(sql: str, reader: Reader, tmp_path: Path) -> None:
    local_rows = pq.read_table  # what DuckDB would find in the caller's frame, if it still looked there
    secret = tmp_path / "secret.csv"
    secret.write_text("a,b\n1,2\n")
    before = reader.query("SELECT count(*), max(lesson) FROM trials").rows
    with pytest.raises(UserError):
        reader.query(sql.replace("{file}", str(secret)).replace("{folder}", str(tmp_path)))
    assert os.listdir(tmp_path) == ["secret.csv"]
    assert reader.query("SELECT count(*), max(lesson) FROM trials").rows == before
    assert callable(local_rows)


def test_settings_of_a_reader_hold(reader: Reader) -> None:
    asked = "SELECT current_setting('enable_external_access'), current_setting('lock_configuration')"
    assert reader.query(asked).rows == [[False, True]]
    limit = reader.query("SELECT current_setting('memory_limit')").rows[0][0]
    assert limit == "1.0 GiB" or limit.endswith("MiB")
    assert reader.query("SELECT current_setting('temp_directory')").rows == [[""]]


def test_numbers_that_json_does_not_have_are_null(reader: Reader) -> None:
    found = reader.query("SELECT 'inf'::DOUBLE, ['nan'::DOUBLE, 1.0], {'x': '-inf'::FLOAT}").rows
    assert found == [[None, [None, 1.0], {"x": None}]]
    assert not any(isinstance(x, float) and math.isnan(x) for x in found[0])


def test_opening_a_record_loads_no_arrow_and_no_torch(snapshot: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from memory.reader import Reader; "
        f"Reader.open(Path({str(snapshot)!r})).query('FROM trials'); "
        "print([m for m in ('pyarrow', 'pandas', 'torch', 'git') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
