"""`nightshift lineage` and `near-misses`: what the next proposer reads, and what the record suggests."""

from pathlib import Path

import pytest

from memory.lineage.block import lineage_sha256, render_lineage
from memory.reader import Reader
from memory.records import Trial
from rails.status import Status
from tests.support.command import nightshift
from tests.support.histories import BASELINE, CAMPAIGN, code_trial, interval, knob_trial, trial_id
from tests.support.many_trials import make_night
from tests.support.rows import CampaignRecords

TRIALS = [
    BASELINE,
    knob_trial(1, "depth", 4, **interval(0.002, 0.004, 0.8), decision={"rule": "threshold"}),
    knob_trial(2, "matrix_lr", 0.01, **interval(0.003, 0.004, 0.9), decision={"rule": "strict"}),
    knob_trial(3, "width", 192, **interval(-0.02, 0.004, 0.01), decision={"rule": "threshold"}),
    code_trial(4, {}, **interval(0.001, 0.004, 0.6), hypothesis="[bold]fewer heads[/bold]"),
]


def night(folder: Path, trials: list[Trial]) -> Path:
    campaign = CAMPAIGN.model_copy(update={"incumbent_trial_id": trial_id(0)})
    return make_night(folder / "night", CampaignRecords(campaign, trials=trials))


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return night(tmp_path_factory.mktemp("lineage"), TRIALS)


def test_near_misses_combinations_and_opposites_as_json(root: Path) -> None:
    document = nightshift("near-misses", root, "--json").document
    assert document.keys() == {"near_misses", "combinations", "opposites"}
    first, second, third = document["near_misses"]
    assert (first["trial"], first["edit"], first["gain"], first["p_improve"]) == (2, "matrix_lr=0.01", 0.003, 0.9)
    assert first["gain_low"] == pytest.approx(-0.001) and first["gain_high"] == pytest.approx(0.007)
    assert (first["needed"], first["needed_for"], first["proven_by"]) == (0.0, "keep", None)
    assert (second["needed"], second["fell_short"]) == (0.003, "needed +0.30 % to be kept")
    assert (third["trial"], third["needed"], third["fell_short"]) == (4, None, None)
    assert document["combinations"] == [
        {
            "trials": [2, 1],
            "settings": [
                {"trial": 2, "knob": "matrix_lr", "value": 0.01, "gain": 0.003},
                {"trial": 1, "knob": "depth", "value": 4, "gain": 0.002},
            ],
            "sum_of_gains": 0.005,
        }
    ]
    (opposite,) = document["opposites"]
    assert opposite.pop("gain_high") == pytest.approx(-0.016)
    assert opposite == {"trial": 3, "knob": "width", "lost_at": 192, "start": 128, "value": 64, "gain": -0.02}


def test_near_misses_for_people(root: Path) -> None:
    shown = nightshift("near-misses", root).out
    for part in (
        "matrix_lr=0.01",
        "+0.30 % [-0.10, +0.70]",
        "needed +0.30 % to be kept",
        "Never tried together:",
        "2 + 1",
        "matrix_lr=0.01, depth=4",
        "+0.50 %",
        "The other side of a clear loss, never tried:",
        "width=64",
    ):
        assert part in shown, shown
    assert nightshift("near-misses", root, "--limit", 1, "--json").document["near_misses"][0]["trial"] == 2
    assert len(nightshift("near-misses", root, "--limit", 1, "--json").document["near_misses"]) == 1


def test_without_near_misses_it_says_so(tmp_path: Path) -> None:
    root = night(tmp_path, TRIALS[:1])
    assert nightshift("near-misses", root).out == "no near misses yet\n"
    document = nightshift("near-misses", root, "--json").document
    assert document == {"near_misses": [], "combinations": [], "opposites": []}


def test_lineage_is_the_block_that_the_next_proposer_reads(root: Path) -> None:
    document = nightshift("lineage", root, "--json").document
    with Reader.open(root / ".nightshift" / "snapshot") as reader:
        block = render_lineage(reader, CAMPAIGN.campaign_id)
    assert document == {"block": block, "sha256": lineage_sha256(block)}
    shown = nightshift("lineage", root).out
    assert shown.strip() == block.strip()
    assert "[bold]fewer heads[/bold]" in shown, "a model's text is no markup"


def test_the_tasks_parameters_count(tmp_path: Path) -> None:
    task = CAMPAIGN.task | {"lineage": {"max_tokens": 2000, "last": 1, "stuck_after": 2, "lessons": ""}}
    campaign = CAMPAIGN.model_copy(update={"task": task, "incumbent_trial_id": trial_id(0)})
    failed = knob_trial(5, "depth", 8, Status.CRASH)
    root = make_night(tmp_path / "night", CampaignRecords(campaign, trials=[*TRIALS, failed]))
    block = nightshift("lineage", root, "--json").document["block"]
    assert "## When out of ideas: 5 trials without a keep" in block and "# Lineage\n" in block


def test_a_specialist_has_a_block_of_its_own(tmp_path: Path) -> None:
    specialists = {"architecture": {"focus": "size", "knobs": ["depth", "width"], "prompt": ""}}
    campaign = CAMPAIGN.model_copy(
        update={"task": CAMPAIGN.task | {"specialists": specialists}, "incumbent_trial_id": trial_id(0)}
    )
    mine = [trial.model_copy(update={"specialist": "architecture"}) if trial.seq == 1 else trial for trial in TRIALS]
    root = make_night(tmp_path / "night", CampaignRecords(campaign, trials=mine))
    document = nightshift("lineage", root, "--for", "architecture", "--json").document
    assert document.keys() == {"block", "sha256"} and document["sha256"] == lineage_sha256(document["block"])
    assert "## For architecture\n- last proposed trial 1: depth=4" in document["block"]
    unknown = nightshift("lineage", root, "--for", "architect")
    assert unknown.code == 1
    assert "no specialist 'architect' (did you mean 'architecture'?) — its task.toml has architecture" in unknown.err


def test_without_specialists_the_error_says_so(root: Path) -> None:
    assert "its task.toml names none: leave --for out" in nightshift("lineage", root, "--for", "anybody").err
