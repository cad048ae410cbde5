"""`nightshift ablate`: what a dry run says, the keys of a result, and the report that it leaves."""

import json
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import pytest

from cli.main import run_command
from studies.ablation.arms import parse_arms
from studies.ablation.outcome import Outcome
from studies.ablation.plan import make_plan
from tests.support.recorded import make_table, make_table_workspace


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    table = make_table()
    for place in ("graph.campaign.create", "graph.campaign.circumstances"):
        monkeypatch.setattr(f"{place}.open_recorded", lambda name: table)
    return make_table_workspace(tmp_path / "night")


def asked(root: Path, *options: str) -> list[str]:
    return ["ablate", str(root), "--arms", "proposer=random,proposer=tpe", "--pairs", "2", "--trials", "3", *options]


def test_a_dry_run_says_what_it_takes_and_writes_nothing(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command(asked(root, "--dry-run", "--json")) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["campaigns"], found["trials"], found["recorded"]) == (4, 12, 0)
    assert (found["tokens_most"], found["usd_most"]) == (0, 0.0) and found["hours"] > 0
    assert run_command(asked(root, "--dry-run")) == 0
    shown = capsys.readouterr().out
    assert "4 campaigns to run, 12 trials" in shown and "no model is asked" in shown
    assert not (root / ".nightshift" / "studies").exists()


def recorded(root: Path) -> Path:
    """A study in which all campaigns were run, by hand."""
    files = {path.name: path.read_text() for path in root.iterdir() if path.is_file() and path.name != ".git"}
    plan = make_plan(parse_arms("proposer=random,proposer=tpe"), 3, "tpe", files)
    folder = root / ".nightshift" / "studies" / "by-hand"
    (folder / "results").mkdir(parents=True)
    (folder / "study.json").write_text(plan.model_dump_json())
    for job in plan.jobs(2):
        curve = (0.7, 0.7 + 0.01 * job.arm, 0.72 + 0.01 * job.arm, 0.72 + 0.01 * job.arm)
        measures: dict[str, float | None] = {"best": curve[-1], "area": sum(curve[1:]) / 3, "keeps": 1.0 + job.arm}
        outcome = Outcome(
            pair=job.pair, arm=job.arm, seed=job.seed, measures=measures, curve=curve, baseline=0.7, true_scores=True
        )
        (folder / "results" / f"{job.name}.json").write_text(outcome.model_dump_json())
    return folder


def test_the_stable_keys_and_a_report(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = recorded(root)
    assert run_command(asked(root, "--name", "by-hand", "--json")) == 0
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    assert found.keys() >= {"arms", "pairs", "differences", "pairs_to_settle", "verdict"}
    assert found["differences"]["best"].keys() >= {"mean", "low", "high", "p"}
    assert found["pairs"] == 2 and found["differences"]["best"]["mean"] == pytest.approx(-0.01)
    assert "No difference between proposer=random and proposer=tpe can be told" in found["verdict"]
    assert json.loads((folder / "result.json").read_text()) == found
    page = (folder / "report.html").read_text()
    assert "Mean best so far" in page and "best so far, mean over trials" in page
    drawn = ET.parse(folder / "report.svg").getroot()
    assert sum("arm-1" in (node.get("class") or "") for node in drawn.iter()) == 2
    assert run_command(asked(root, "--name", "by-hand")) == 0
    assert "p (Holm)" in capsys.readouterr().out


def test_what_is_refused_is_refused_in_a_sentence(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arms = ["ablate", str(root), "--arms"]
    for text, says in (
        ("seed=1,seed=2", "pairs share it"),
        ("lineage=on", "two arms"),
        ("keep.rule=lax,lineage=on", "sequential"),
        ("proposer=tpe,proposer=rndom", "random"),
    ):
        assert run_command([*arms, text]) == 1
        assert says in capsys.readouterr().err
