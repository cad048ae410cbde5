"""Readers during a run: every reading command answers, and the loop never waits for them."""

import subprocess
from pathlib import Path

import pytest

from tests.support.command import argv, nightshift
from tests.support.workspaces import make_quick_workspace


@pytest.mark.slow
def test_every_reading_command_answers_while_a_campaign_runs(tmp_path: Path) -> None:
    root = make_quick_workspace(tmp_path)
    command = argv("run", root, "--proposer", "random", "--trials", 40, "--tag", "busy")
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as loop:
        assert loop.stderr is not None
        for line in loop.stderr:
            if line.startswith("trial 3: ") and ("keep: " in line or "discard: " in line):
                break
        try:
            misses = nightshift(
                "query", root, "SELECT trial, edit, gain, p_improve FROM near_misses ORDER BY gain DESC", "--json"
            )
            counted = nightshift("query", root, "SELECT count(*) AS n FROM trials", "--json")
            status = nightshift("status", root, "--json")
            near = nightshift("near-misses", root, "--json")
            block = nightshift("lineage", root, "--json")
            shown = nightshift("show", root, 1, "--json")
            writing = nightshift("query", root, "DELETE FROM trials")
            assert loop.poll() is None, "the campaign was still running when the readers asked"
        finally:
            loop.kill()
            loop.communicate()
    for done in (misses, counted, status, near, block, shown):
        assert done.code == 0, done.err
    assert misses.document["columns"] == ["trial", "edit", "gain", "p_improve"]
    assert counted.document["rows"][0][0] >= 4
    assert status.document["stop_reason"] is None
    assert status.document["baseline"]["val_bpb"] > 0
    assert near.document.keys() == {"near_misses", "combinations", "opposites"}
    assert block.document["block"].startswith("# Lineage")
    assert shown.document["trial"]["seq"] == 1
    assert writing.code == 1
    assert "read" in writing.err


@pytest.mark.system
def test_the_stable_keys_of_every_document(tmp_path: Path) -> None:
    root = make_quick_workspace(tmp_path)
    run = nightshift("run", root, "--proposer", "random", "--trials", 2, "--json")
    assert run.code == 0, run.err
    keys = ["campaign", "tag", "trials", "statuses", "baseline", "incumbent", "isolation", "stop_reason", "elapsed_s"]
    keys += ["state", "state_reason", "events", "energy_joules", "usd"]
    assert set(keys) <= run.document.keys()
    assert run.document["trials"] == 2
    assert {"trial", "val_bpb"} <= run.document["baseline"].keys()
    assert {"trial", "val_bpb", "gain", "gain_low", "gain_high"} <= run.document["incumbent"].keys()
    show = nightshift("show", root, 1, "--json").document
    assert set(["trial", "proposal", "verdicts", "diff", "measurements", "decision", "calls"]) <= show.keys()
    analysis = nightshift("analyze", root, "--json").document
    expected = (
        "trials statuses keep_rate first_keep best baseline improvement_frac repeats coverage top_pairs noise "
        "replicated_best unconfirmed_keeps seconds unreadable"
    )
    assert set(expected.split()) <= analysis.keys()
    doctor = nightshift("doctor", root, "--json").document
    assert set(["device", "isolation", "endpoint", "disk"]) <= doctor.keys()
    lineage = nightshift("lineage", root, "--json").document
    assert lineage.keys() == {"block", "sha256"}
    made = nightshift("init", tmp_path / "new", "--json")
    assert made.document == {"workspace": str((tmp_path / "new").resolve())}
