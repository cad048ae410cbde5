"""A change that makes the program simpler and costs nothing is kept as that, and counted as no gain anywhere."""

import subprocess
from pathlib import Path

import pytest

from agents.scripted import ScriptedProposer
from cli.show.decision import evidence_lines
from cli.show.status import status_document
from graph.campaign.options import RunOptions
from graph.runner import Runner
from memory.figures.analysis import analyze_trials, stored_rows
from memory.lineage.block import render_lineage
from memory.reader import Reader
from memory.records import Measurement, Trial
from rails.status import Status
from tests.support.workspaces import code, make_quick_workspace, standin_campaign

AS_GOOD = code(
    "            if counts is self.unigram and isinstance(target, slice):\n"
    "                context = context[:1]  # it knows no context: one row is every row\n",
    "",
)
"""Without a shortcut: less code, and the same answers."""


def workspace(folder: Path, margin: float) -> Path:
    root = make_quick_workspace(folder, rule="sequential", max_measurements=8, baseline_seeds=8)
    task = root / "task.toml"
    task.write_text(task.read_text().replace("[keep]", f"[keep]\nsimpler_margin = {margin}"))
    commit = ["-c", "user.name=a", "-c", "user.email=a@b", "commit", "-qam", "margin"]
    subprocess.run(["git", "-C", str(root), *commit], check=True)
    return root


def run(root: Path) -> tuple[Trial, list[Measurement]]:
    options = RunOptions(trials=1, tag="night")
    with standin_campaign(root, proposer=ScriptedProposer([AS_GOOD]), options=options) as services:
        Runner(services).run()
        trial = services.store.trials(services.campaign_id)[1]
        return trial, services.store.measurements(trial.trial_id)


@pytest.fixture(scope="module")
def night(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Trial, list[Measurement]]:
    root = workspace(tmp_path_factory.mktemp("night"), 0.1)
    return root, *run(root)


@pytest.mark.system
def test_it_is_kept_as_simpler_after_replicates_and_deep_probes(night: tuple[Path, Trial, list[Measurement]]) -> None:
    _, trial, measurements = night
    assert (trial.status, trial.kept_as_simpler, trial.ended_as) == (Status.KEEP, True, "kept_as_simpler")
    assert str(trial.reason).startswith("simpler, ")
    assert "syntax nodes less; no more than 10.00 % worse than the baseline" in str(trial.reason)
    assert abs(trial.gain or 0.0) < 0.02
    assert len(measurements) >= 3
    assert sum((m.probes or {}).get("cuts", 0) for m in measurements) > 64 * len(measurements)
    assert any("judged as a simplification" in line for line in evidence_lines(trial.decision or {}))


@pytest.mark.system
def test_it_is_counted_as_no_gain(night: tuple[Path, Trial, list[Measurement]]) -> None:
    root, trial, _ = night
    message = subprocess.run(
        ["git", "-C", str(root), "log", "-1", "--format=%B", "autoresearch/night"], capture_output=True, text=True
    ).stdout
    assert f"Nightshift-Kept-As: simpler ({trial.gain:.6f})" in message
    assert "Nightshift-Gain" not in message
    with Reader.open(root / ".nightshift" / "snapshot") as reader:
        campaign = reader.campaigns()[-1]
        trials = reader.trials(campaign.campaign_id)
        analysis = analyze_trials(trials, reader.campaign_measurements(campaign.campaign_id), [])
        assert (analysis.statuses, analysis.keep_rate, analysis.first_keep) == ({"kept_as_simpler": 1}, 0.0, None)
        assert stored_rows(reader, campaign.campaign_id)[1].simpler
        assert status_document(reader, campaign)["statuses"] == {"kept_as_simpler": 1}
        assert "1 trials so far, 0 kept, 1 kept as simpler" in render_lineage(reader, campaign.campaign_id)
        assert reader.query("SELECT kept_as FROM trials WHERE trial = 1").rows == [["simpler"]]
        assert "makes the program simpler" in str(trial.lesson)


@pytest.mark.slow
def test_without_a_margin_it_is_discarded(tmp_path: Path) -> None:
    trial, _ = run(workspace(tmp_path, 0.0))
    assert (trial.status, trial.kept_as_simpler) == (Status.DISCARD, False)
