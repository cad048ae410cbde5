"""A record that somebody else wrote: whatever its texts hold, they do nothing to a terminal or a spreadsheet."""

import json
import unicodedata
from pathlib import Path
from typing import Any

import pytest
from rich.text import Text

from cli.main import run_command
from cli.terminal.output import stderr, stdout
from memory.exports.formats import ExportFormat
from memory.exports.write import export_records
from memory.record_set import RecordSet
from memory.records import CampaignState
from rails.text import escaped_json
from tests.support.foreign_logs import NARROW_ROWS, narrow_log
from tests.support.many_trials import many_trials

ESCAPES = "\x1b]0;title\x07\x1b[2J\x9b31m\u202eevil\r\nresult: trial 7 is +99 %"
FORMULA = "=cmd|' /C calc'!A0"
READING = (
    ["status"],
    ["show", "3"],
    ["lineage"],
    ["near-misses"],
    ["diff", "1", "3"],
    ["analyze"],
    ["watch"],
    ["export"],
    ["export", "--format", "lineage-tsv"],
    ["query", "FROM trials"],
    ["query", "FROM campaigns", "--json"],
    ["status", "--json"],
)


def exported(path: Path, **campaign: Any) -> list[dict[str, Any]]:
    """The lines of an export of 6 trials."""
    made = many_trials(6)
    ended = made.campaign.model_copy(update={"state": CampaignState.ENDED, "stop_reason": "limit", **campaign})
    records = RecordSet(campaign=ended, trials=made.trials, measurements=made.measurements, verdicts=made.verdicts)
    export_records(records, ExportFormat.JSONL, path)
    return [json.loads(line) for line in path.read_text().splitlines()]


def imported(folder: Path, lines: list[dict[str, Any]], capsys: pytest.CaptureFixture[str]) -> tuple[Path, str]:
    """A workspace of these lines, and what was said when it was made."""
    source = folder / "record.jsonl"
    source.write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    assert run_command(["import", str(source), str(folder / "night")]) == 0
    return folder / "night", capsys.readouterr().out


def acts_on_a_terminal(text: str) -> set[str]:
    return {c for c in text if c not in "\n\t" and unicodedata.category(c)[0] == "C"}


def test_a_hostile_record_prints_no_escape_and_adds_no_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines = exported(tmp_path / "own.jsonl")
    for name in (
        "tag",
        "branch",
        "proposer",
        "keep_rule",
        "isolation",
        "stop_reason",
        "fallback",
        "hardware_fingerprint",
    ):
        lines[0]["campaign"][name] = ESCAPES
    lines[0]["campaign"]["task"]["metric"] = {"name": ESCAPES, "direction": 'minimize"\n[evil]'}
    trial = lines[4]["trial"]
    for name in ("edit_key", "reason", "hypothesis", "rationale", "specialist", "domain", "lesson", "diff"):
        trial[name] = ESCAPES
    night, said = imported(tmp_path, lines, capsys)
    assert "note: control characters were taken out of fields" in said and "campaign keep_rule" in said
    assert not acts_on_a_terminal(said)
    for command, *rest in READING:
        assert run_command([command, str(night), *rest]) == 0
        out, err = capsys.readouterr()
        assert not acts_on_a_terminal(out + err), command
        told = out.partition("\ndiff\n")[0]  # a diff has lines of its own
        assert command in {"diff", "query"} or "\nresult: trial 7" not in told, command
    assert "[evil]" not in (night / "task.toml").read_text()


def test_what_a_record_points_at_and_does_not_have_costs_that_field(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = exported(tmp_path / "own.jsonl", final={"state": "done", "val": "much better"})
    lines[3]["trial"]["parent_trial_id"] = "nobody"
    lines[4]["trial"]["parent_trial_id"] = lines[6]["trial"]["trial_id"]
    lines[5]["trial"]["decision"] = {"rule": "sequential", "noise_df": [], "noise_sd": {}}
    night, said = imported(tmp_path, lines, capsys)
    assert "6 trials of a" in said
    assert "there is none now: trials 2, 3" in said
    assert "campaign final, trial decision" in said
    for arguments in (["status", str(night)], *(["show", str(night), str(seq)] for seq in range(7))):
        assert run_command(arguments) == 0
    capsys.readouterr()
    assert run_command(["show", str(night), "2", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["parent"] is None


def test_a_result_whose_keeps_were_all_undone_survives(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It has no incumbent; nothing of it is wrong."""
    reason = "it looks ahead"
    final = {"state": "failed", "incumbent": None, "n": 0, "failures": [], "val": None, "test": None}
    final |= {"disqualified": [{"trial": 1, "reason": reason}], "test_looks": 2, "seeds": []}
    night, said = imported(tmp_path, exported(tmp_path / "own.jsonl", final=final), capsys)
    assert "campaign final" not in said
    assert run_command(["status", str(night)]) == 0
    assert reason in capsys.readouterr().out


def test_no_cell_of_a_table_is_a_formula(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines = exported(tmp_path / "own.jsonl")
    lines[3]["trial"] |= {"hypothesis": FORMULA, "reason": "-1+1|x", "specialist": "@SUM(1)", "edit_key": None}
    night, _ = imported(tmp_path, lines, capsys)
    query = "SELECT hypothesis, reason, specialist, '-1.5e3', -2, '+x' AS \"=y\" FROM trials WHERE trial = 2"
    assert run_command(["query", str(night), query, "--csv"]) == 0
    header, row = capsys.readouterr().out.splitlines()
    assert header.endswith(",'=y")
    assert row == f"'{FORMULA},'-1+1|x,'@SUM(1),-1.5e3,-2,'+x"
    for form in ("lineage-tsv", "results-tsv"):
        assert run_command(["export", str(night), "--format", form]) == 0
        cells = [cell for line in capsys.readouterr().out.splitlines() for cell in line.split("\t")]
        assert f"'{FORMULA}".replace("|", "¦" if form == "results-tsv" else "|") in cells
        assert not [cell for cell in cells if cell[:1] in {"=", "@"}]


def test_a_log_of_another_loop_is_as_harmless(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    log = narrow_log(tmp_path / "log", [*NARROW_ROWS, f"\x1b[2J1\t0.9\t1\tdiscard\t{ESCAPES.partition(chr(13))[0]}"])
    assert run_command(["import", str(log), str(tmp_path / "night")]) == 0
    for command in ("status", "analyze", "lineage"):
        assert run_command([command, str(tmp_path / "night")]) == 0
    assert run_command(["show", str(tmp_path / "night"), "6"]) == 0
    out, err = capsys.readouterr()
    assert not acts_on_a_terminal(out + err)


@pytest.mark.parametrize("console", [stdout, stderr])
def test_nothing_is_printed_but_through_the_console(capsys: pytest.CaptureFixture[str], console: Any) -> None:
    """Even what no caller has thought of: a text as it is, and one that looks like markup."""
    console().print("a\x1b[2Jb [bold]c[/bold] :smile:", Text("d\x9be\u202ef"))
    out, err = capsys.readouterr()
    assert out + err == "a\\x1b[2Jb [bold]c[/bold] :smile: d\\x9be\\u202ef\n"


def test_json_with_its_unseen_characters_escaped_is_the_same_json() -> None:
    text = json.dumps({"a\x7f": "\x9b \u202e \u2028 \U000e0041 é 漢 \n"}, ensure_ascii=False)
    assert json.loads(escaped_json(text)) == json.loads(text)
    assert not acts_on_a_terminal(escaped_json(text))
