"""analyze, compare, import and export from the command line: stable keys, and errors that say what to do."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from cli.main import run_command
from tests.support.foreign_logs import MENU, NARROW_ROWS, menu_log, narrow_log, wide_log
from tests.support.many_trials import make_night, many_trials
from tests.support.rows import KNOBS

ANALYSIS = {
    *("trials", "statuses", "keep_rate", "first_keep", "best", "baseline", "improvement_frac", "repeats", "coverage"),
    *("top_pairs", "noise", "replicated_best", "unconfirmed_keeps", "seconds", "unreadable"),
}


@pytest.fixture
def ask(capsys: pytest.CaptureFixture[str]) -> Any:
    """Runs a command that must succeed and gives its JSON document."""

    def asked(*arguments: object) -> Any:
        code = run_command([*map(str, arguments), "--json"])
        out, err = capsys.readouterr()
        assert code == 0, err
        return json.loads(out)

    return asked


def test_analyze_gives_the_stable_keys_of_any_source(tmp_path: Path, ask: Any) -> None:
    sources = [
        menu_log(tmp_path / "menu"),
        wide_log(tmp_path / "wide"),
        narrow_log(tmp_path / "narrow"),
        make_night(tmp_path / "night", many_trials(40)),
    ]
    for source in sources:
        document = ask("analyze", source)
        assert document.keys() >= ANALYSIS
        assert document["coverage"].keys() == {"knobs_total", "knobs_touched", "untouched", "counts"}
        assert document["seconds"].keys() == {"total", "wasted", "by_status"}


def test_knobs_come_from_a_menu_the_log_or_what_was_touched(tmp_path: Path, ask: Any) -> None:
    menu = tmp_path / "menu.json"
    menu.write_text(json.dumps(MENU))
    log = menu_log(tmp_path / "log")
    told = ask("analyze", log, "--menu", menu)
    assert (told["knobs_from"], told["coverage"]["knobs_total"], told["notes"]) == ("menu", 4, [])
    header = ask("analyze", log)
    assert (header["knobs_from"], header["coverage"]["knobs_total"]) == ("header", 5)
    assert any("--menu" in note for note in header["notes"])
    seen = ask("analyze", narrow_log(tmp_path / "narrow"))
    assert (seen["knobs_from"], seen["coverage"]["knobs_total"]) == ("observed", 1)
    own = ask("analyze", make_night(tmp_path / "night", many_trials(10)))
    assert (own["knobs_from"], own["coverage"]["knobs_total"]) == ("task", len(KNOBS))


def test_an_imported_log_says_the_same_as_the_log(tmp_path: Path, ask: Any) -> None:
    for make in (menu_log, wide_log, narrow_log):
        log = make(tmp_path / f"{make.__name__}.log")
        told = ask("import", log, tmp_path / make.__name__)
        assert told["workspace"] == str(tmp_path / make.__name__)
        before, after = ask("analyze", log), ask("analyze", tmp_path / make.__name__)
        assert told["trials"] == before["trials"]
        assert {**before, "format": ""} == {**after, "format": ""}


def test_every_reading_command_works_on_an_imported_log(tmp_path: Path, ask: Any) -> None:
    night = tmp_path / "night"
    ask("import", menu_log(tmp_path / "log"), night)
    status = ask("status", night)
    assert (status["trials"], status["incumbent"]["trial"], status["incumbent"]["gain"]) == (10, 1, pytest.approx(0.02))
    assert ask("query", night, "SELECT count(*) FROM trials")["rows"] == [[11]]
    assert ask("show", night, 4)["trial"]["reason"] == "lr is out of range"
    assert ask("near-misses", night)["near_misses"]
    assert "width=512" in ask("lineage", night)["block"]


def test_run_refuses_an_imported_log(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command(["import", str(narrow_log(tmp_path / "log")), str(tmp_path / "night")]) == 0
    before = sorted(tmp_path.rglob("*"))
    assert run_command(["run", str(tmp_path / "night")]) == 1
    said = capsys.readouterr().err
    assert "imported from" in said and "no program to run" in said and "nightshift init" in said
    assert sorted(tmp_path.rglob("*")) == before


def test_unreadable_lines_are_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    log = narrow_log(tmp_path / "log", [*NARROW_ROWS, "x\t1.0\t1\tpro\x1b[31mmoted\twhat"])
    assert run_command(["analyze", str(log)]) == 0
    out = capsys.readouterr().out
    assert "line 8 cannot be read: unknown status 'pro [31mmoted'" in out
    assert "\x1b" not in out


def test_a_log_is_analyzed_without_a_database(tmp_path: Path) -> None:
    """Loading one would take as long as reading 3,000 lines."""
    log = menu_log(tmp_path / "log")
    code = f"""
import sys
from cli.main import run_command
assert run_command(["analyze", {str(log)!r}, "--json"]) == 0
print([name for name in ("duckdb", "numpy", "pyarrow", "rich.progress") if name in sys.modules], file=sys.stderr)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr.strip() == "[]"


def test_compare_gives_the_stable_keys(tmp_path: Path, ask: Any) -> None:
    wide, night = wide_log(tmp_path / "wide"), make_night(tmp_path / "night", many_trials(60))
    found = ask("compare", wide, night, "--margin", "0.001")
    for arm in found["arms"]:
        assert arm.keys() >= {
            *("trials", "statuses", "keep_rate", "best", "gain", "wasted_s", "seconds_by_status", "keeps_over_margin"),
        }
    assert (found["arms"][0]["trials"], found["arms"][1]["trials"]) == (6, 60)
    assert found["arms"][0]["keeps_over_margin"] == 1
    assert found["arms"][0]["best"] == 1.0895
    assert {"p", "method"} <= found["tests"]["keeps"].keys()
    assert found["ratios"].keys() >= {"keeps", "wasted_s"}
    assert any("one campaign an arm" in warning for warning in found["warnings"])


@pytest.mark.system
def test_arms_of_several_sources(tmp_path: Path, ask: Any) -> None:
    nights = [make_night(tmp_path / f"n{n}", many_trials(30, n)) for n in range(6)]
    found = ask("compare", ",".join(map(str, nights[:3])), ",".join(map(str, nights[3:])))
    assert [arm["trials"] for arm in found["arms"]] == [90, 90]
    assert "all 20 splits" in found["tests"]["keeps"]["method"]
    assert found["tests"]["keeps"]["low"] is not None


def test_a_campaign_is_named_by_its_tag(tmp_path: Path, ask: Any, capsys: pytest.CaptureFixture[str]) -> None:
    night = make_night(tmp_path / "night", many_trials(5, tag="first"), many_trials(9, 1, tag="second"))
    assert ask("analyze", f"{night}@first")["trials"] == 5
    assert ask("analyze", night)["trials"] == 9
    found = ask("compare", f"{night}@first", f"{night}@second")
    assert [arm["trials"] for arm in found["arms"]] == [5, 9]
    assert run_command(["analyze", f"{night}@third"]) == 1
    assert "first, second" in capsys.readouterr().err


@pytest.mark.parametrize("form", ["jsonl", "parquet", "results-tsv", "lineage-tsv"])
def test_export_and_analyze_again(tmp_path: Path, ask: Any, form: str) -> None:
    night = make_night(tmp_path / "night", many_trials(40))
    told = ask("export", night, "--format", form, "-o", tmp_path / "out")
    assert (told["trials"], told["unreadable"]) == (40, 0)
    before, after = ask("analyze", night), ask("analyze", tmp_path / "out")
    assert after["statuses"] == before["statuses"]
    assert after["repeats"] == before["repeats"]
    assert after["best"]["trial"] == before["best"]["trial"]


def test_exports_to_stdout(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command(["export", str(narrow_log(tmp_path / "log")), "--format", "results-tsv"]) == 0
    assert capsys.readouterr().out.startswith("commit\tval_bpb\t")
    assert run_command(["export", str(tmp_path / "log"), "--format", "parquet"]) == 1
    assert "-o FILE" in capsys.readouterr().err


@pytest.mark.parametrize("command", [["analyze"], ["export"], ["compare", "."]])
def test_what_is_not_there_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str], command: list[str]) -> None:
    assert run_command([*command, str(tmp_path / "gone")]) == 1
    assert capsys.readouterr().err
