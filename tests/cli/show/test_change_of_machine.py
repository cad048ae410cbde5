"""What `status` and `diff` say after a campaign moved: scores of two machines are never in one number."""

from pathlib import Path
from typing import Any

import pytest

from cli.show.difference import difference
from cli.show.status import status_document, status_sentence
from memory.publish import publish
from memory.reader import Reader
from memory.records import Campaign, MeasurementState, Phase, Trial
from memory.store import Store
from rails.status import Status
from tests.support.rows import make_campaign, make_measurement, make_trial

TASK: dict[str, Any] = {
    "metric": {"name": "val_bpb", "direction": "minimize"},
    "budget": {"kind": "seconds", "amount": 20.0},
}
HOME, AWAY = "cpu-2", "gpu-8"
BASELINE = {HOME: [1.80, 1.81, 1.79], AWAY: [1.20, 1.21, 1.19]}
KEPT = {HOME: [1.70, 1.72], AWAY: [1.17]}
STEPS_PER_S = {HOME: 10, AWAY: 90}


@pytest.fixture
def moved(tmp_path: Path) -> Path:
    """The snapshot of a campaign that began on one machine and was measured again on a faster one."""
    with Store.open(tmp_path / "store.duckdb") as store:
        campaign = make_campaign().model_copy(update={"task": TASK})
        store.add_campaign(campaign)
        baseline = add(store, make_trial(campaign, 0), Status.BASELINE, BASELINE)
        kept = add(store, make_trial(campaign, 1, parent_trial_id=baseline.trial_id), Status.KEEP, KEPT)
        there = {"hardware_fingerprint": AWAY, "incumbent_trial_id": kept.trial_id}
        store.update_campaign(campaign.campaign_id, **there)
        publish(store, tmp_path / "snapshot")
    return tmp_path / "snapshot"


def add(store: Store, trial: Trial, status: Status, scores: dict[str, list[float]]) -> Trial:
    """Measure a trial on both machines and decide it."""
    store.open_trial(trial)
    for machine, found in scores.items():
        for seed, score in enumerate(found):
            timing = {"steps": 20 * STEPS_PER_S[machine], "train_s": 20.0}
            name = f"{trial.trial_id}-{machine}-s{seed}"
            done = make_measurement(trial, seed, score, measurement_id=name, machine=machine, **timing)
            blank = {"state": MeasurementState.RUNNING, "score": None, "finished_at": None}
            store.open_measurement(done.model_copy(update=blank))
            store.finish_measurement(done, None)
    metric = sum(scores[AWAY]) / len(scores[AWAY])
    decided = {"phase": Phase.DECIDED, "status": status, "metric": metric, "reason": "r"}
    store.decide(Trial.model_validate({**trial.model_dump(), **decided}), None, trial.trial_id, None)
    return trial


def read(snapshot: Path) -> tuple[Reader, Campaign]:
    reader = Reader.open(snapshot)
    return reader, reader.campaigns()[-1]


def test_status_tells_of_the_machine_that_the_campaign_is_on(moved: Path) -> None:
    reader, campaign = read(moved)
    with reader:
        document = status_document(reader, campaign)
    assert document["baseline"]["values"] == BASELINE[AWAY]
    assert document["baseline"]["sd"] == pytest.approx(0.01)
    assert document["incumbent"]["n"] == 1
    assert document["incumbent"]["gain"] == pytest.approx((1.20 - 1.17) / 1.20)


def test_what_was_not_measured_here_yet_has_no_gain(moved: Path) -> None:
    reader, campaign = read(moved)
    with reader:
        document = status_document(reader, campaign.model_copy(update={"hardware_fingerprint": "gpu-9"}))
    assert document["baseline"]["values"] == []
    assert document["incumbent"]["gain"] is None
    assert "trial 1, – on the baseline" in status_sentence(document)


def test_another_machines_speed_is_no_unevenness_of_this_one(moved: Path) -> None:
    reader, campaign = read(moved)
    with reader:
        machine = status_document(reader, campaign)["machine"]
    assert (machine["slowest_steps_per_s"], machine["fastest_steps_per_s"]) == (90, 90)


def test_diff_compares_what_one_machine_measured(moved: Path, tmp_path: Path) -> None:
    reader, campaign = read(moved)
    with reader:
        baseline, kept = reader.trials(campaign.campaign_id)
        there = difference(reader, campaign, tmp_path, baseline, kept)["comparison"]
        back = campaign.model_copy(update={"hardware_fingerprint": HOME})
        here = difference(reader, back, tmp_path, baseline, kept)["comparison"]
    assert there["gain"] == pytest.approx((1.20 - 1.17) / 1.20)
    assert here["gain"] == pytest.approx((1.80 - 1.71) / 1.80, rel=0.1)  # not of shared seeds alone
