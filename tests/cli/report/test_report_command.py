"""`nightshift report`, and the report that every ended campaign leaves."""

import json
from pathlib import Path
from typing import Any, NoReturn

import pytest

from cli.main import run_command
from cli.report.leave import leave_report
from rails.errors import BusyError, HaltError, UserError
from tests.support.command import nightshift
from tests.support.foreign_logs import narrow_log
from tests.support.many_trials import make_night, many_trials
from tests.support.pages import Page, faults
from tests.support.workspaces import make_quick_workspace, make_standin_workspace


@pytest.fixture
def night(tmp_path: Path) -> Path:
    return make_night(tmp_path / "night", many_trials(20))


@pytest.mark.system
def test_a_night_leaves_its_report_and_names_it_last(tmp_path: Path) -> None:  # a real night: some seconds
    root = make_quick_workspace(tmp_path)
    done = nightshift("run", root, "--proposer", "random", "--trials", 1)
    assert done.code == 0, done.err
    html, png = root / ".nightshift" / "report.html", root / ".nightshift" / "report.png"
    assert done.out.splitlines()[-1] == f"report: {html}"
    page = Page(html.read_text(encoding="utf-8"))
    assert faults(page) == [] and "1 trial" in page.one("h1").text.replace("\N{NO-BREAK SPACE}", " ")
    assert png.read_bytes().startswith(b"\x89PNG")
    assert "stopped: limit of 1 trials reached" in page.words
    assert not list((root / ".nightshift").glob("*.tmp"))


def test_the_command_prints_where_the_report_is(
    night: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "deep" / "morning.html"
    assert run_command(["report", str(night), "-o", str(out), "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["found"].keys() == {"specialists", "origins", "critic"}
    assert said == {"html": str(out), "png": str(out.with_suffix(".png")), "found": said["found"]}
    assert faults(Page(out.read_text(encoding="utf-8"))) == []
    assert run_command(["report", f"{night}@many"]) == 0
    assert f"report: {night / '.nightshift' / 'report.html'}" in capsys.readouterr().out


@pytest.mark.parametrize("name", ["train.py", "report.png", "report"])
def test_only_a_page_is_written(night: Path, tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / name).write_text("mine")
    assert run_command(["report", str(night), "-o", str(tmp_path / name)]) == 1
    assert "HTML" in capsys.readouterr().err
    assert (tmp_path / name).read_text() == "mine"


def test_what_is_no_source_is_refused(tmp_path: Path, night: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command(["report", str(tmp_path)]) == 1
    assert run_command(["report", str(tmp_path / "nothing.jsonl")]) == 1
    assert run_command(["report", f"{night}@other"]) == 1
    assert "other" in capsys.readouterr().err


def test_a_snapshot_by_itself_has_a_report_which_is_put_elsewhere(
    night: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run_command(["report", str(night / ".nightshift" / "snapshot")]) == 0
    assert (tmp_path / "snapshot.report.html").is_file() and (tmp_path / "snapshot.report.png").is_file()


@pytest.mark.system
def test_the_price_of_energy_is_that_of_task_toml_today(night: Path, tmp_path: Path) -> None:
    with (night / "task.toml").open("a") as task:
        task.write("\n[energy]\nusd_per_kwh = 0.37\n")
    out = tmp_path / "r.html"
    assert run_command(["report", str(night), "-o", str(out)]) == 0
    assert "$0.37 per kWh" in Page(out.read_text(encoding="utf-8")).words
    assert run_command(["report", str(night), "-o", str(out), "--usd-per-kwh", "0.5"]) == 0
    assert "$0.5 per kWh" in Page(out.read_text(encoding="utf-8")).words


LOG: list[dict[str, Any]] = [
    {"baseline_val_bpb": 2.0, "baseline_cfg": {"lr": 0.1, "depth": 4}, "accept_delta_frac": 0.005},
    *(
        {
            "iter": number,
            "ts": f"2026-04-25 18:{number:02}:00",
            "stage": "evaluated",
            "proposal": {"knob": "lr", "new_value": value, "reason": "<b>faster</b>"},
            "candidate_cfg": {"lr": value, "depth": 4},
            "val_bpb": bpb,
            "baseline_val_bpb": 2.0,
            "improvement_frac": (2.0 - bpb) / 2.0,
            "decision": "keep" if bpb < 1.99 else "revert",
            "nim_latency_s": 1.0,
            "iter_wall_s": 70.0,
        }
        for number, (value, bpb) in enumerate([(0.2, 1.95), (0.3, 2.1), (0.2, 1.97)], start=1)
    ),
]


def test_another_loops_log_has_a_report(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    log = tmp_path / "theirs.jsonl"
    log.write_text("".join(json.dumps(line) + "\n" for line in LOG) + "{broken\n")
    monkeypatch.chdir(tmp_path)
    assert run_command(["report", str(log), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["html"] == str(tmp_path / "theirs.report.html")
    assert found["png"] == str(tmp_path / "theirs.report.png")
    page = Page(Path(found["html"]).read_text(encoding="utf-8"))
    assert faults(page) == []
    assert "+2 % ± 11 over the baseline, 2 keeps in 3 trials" in page.words
    assert "1 line of the log could not be read" in page.words
    assert "another loop's log" in page.words


def test_a_menu_says_which_knobs_a_log_had(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    log, menu, out = tmp_path / "theirs.jsonl", tmp_path / "menu.json", tmp_path / "r.html"
    log.write_text("".join(json.dumps(line) + "\n" for line in LOG))
    knobs = {name: {"type": "float", "range": [0.0, 9.0], "default": 0.5} for name in ("lr", "dropout", "decay")}
    menu.write_text(json.dumps({"knobs": knobs}))

    def words(*options: object) -> str:
        assert run_command(["report", *map(str, (log, "-o", out, *options))]) == 0
        return Page(out.read_text(encoding="utf-8")).words

    assert "1 of 2 knobs of the menu was touched. Never touched: depth" in words()
    assert "1 of 3 knobs of the menu was touched. Never touched: dropout, decay" in words("--menu", menu)
    menu.write_text("{}")
    assert run_command(["report", str(log), "-o", str(out), "--menu", str(menu)]) == 1
    assert str(menu) in capsys.readouterr().err


def test_without_any_menu_nothing_is_said_of_untouched_knobs(tmp_path: Path) -> None:
    out = tmp_path / "r.html"
    assert run_command(["report", str(narrow_log(tmp_path / "results.tsv")), "-o", str(out)]) == 0
    assert "1 knob was touched; which others there were, no menu says." in Page(out.read_text(encoding="utf-8")).words


def test_a_menu_says_which_knobs_an_imported_record_had(tmp_path: Path) -> None:
    log, menu, out = tmp_path / "theirs.jsonl", tmp_path / "menu.json", tmp_path / "r.html"
    log.write_text("".join(json.dumps(line) + "\n" for line in LOG))
    menu.write_text(json.dumps({"knobs": {"lr": {"type": "float", "range": [0.0, 9.0], "default": 0.5}}}))
    assert run_command(["import", str(log), str(tmp_path / "record")]) == 0
    assert run_command(["report", str(tmp_path / "record"), "--menu", str(menu), "-o", str(out)]) == 0
    assert "1 of 1 knob of the menu was touched" in Page(out.read_text(encoding="utf-8")).words


def test_a_report_that_cannot_be_written_is_a_note(
    night: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(*_: object, **__: object) -> NoReturn:
        raise ValueError("no ink")

    monkeypatch.setattr("cli.report.png.draw_png", broken)
    assert leave_report(night) is None
    assert "the report could not be written: no ink" in capsys.readouterr().err
    assert not list((night / ".nightshift").glob("*report*"))


def test_what_a_killed_writer_left_is_swept_away(night: Path) -> None:
    litter = night / ".nightshift" / ".report.html.1-00.tmp"
    litter.write_text("half")
    assert leave_report(night) is not None
    assert not litter.exists()


def test_nothing_published_is_nothing_to_report(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = make_standin_workspace(tmp_path)
    assert leave_report(root) is None
    assert capsys.readouterr().err == ""


@pytest.mark.system
@pytest.mark.parametrize(
    ("error", "leaves"),
    [(HaltError("the branch was moved"), True), (BusyError("busy"), False), (UserError("no"), False)],
)
def test_a_night_that_ends_in_a_failure_leaves_its_report_too(
    night: Path, error: Exception, leaves: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def failing(*_: object) -> NoReturn:
        raise error

    monkeypatch.setattr("graph.night.run_night", failing)
    assert run_command(["run", str(night)]) == getattr(error, "exit_code", 1)
    assert (night / ".nightshift" / "report.html").exists() is leaves
    assert ("report: " in capsys.readouterr().err) is leaves
