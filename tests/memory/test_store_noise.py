"""The noise a keep rule uses: pooled over every campaign of the store that measures alike, and over no other."""

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from memory.keep.comparable import evidence_of
from memory.publish import publish
from memory.reader import Reader
from memory.records import Measurement, MeasurementState, Phase, Purpose, Trial
from memory.statistics.noise import Noise, pool
from memory.store import Store
from rails.status import Status
from tests.support.rows import make_campaign, make_measurement, make_trial

TASK: dict[str, Any] = {
    "metric": {"name": "val_bpb", "direction": "minimize"},
    "budget": {"kind": "seconds", "amount": 20.0, "score_s": 120.0},
    "data": {"vocab_size": 512, "eval_seq_len": 64, "eval_tokens": 4096},
    "menu": {"knobs": {}},
}


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(tmp_path / "store.duckdb") as opened:
        yield opened


def add_night(store: Store, tag: str, values: list[float], minutes: int = 0, **campaign: Any) -> str:
    """A campaign whose baseline was measured to these values, and its id."""
    fields = {"task": TASK, "stop_reason": "limit", **campaign}
    record = make_campaign(tag, minutes=minutes).model_copy(update=fields)
    store.add_campaign(record)
    trial = make_trial(record, 0)
    store.open_trial(trial)
    for index, value in enumerate(values):
        measure(store, trial, index, value)
    decided = {"phase": Phase.DECIDED, "status": Status.BASELINE, "metric": values[0], "reason": "the start"}
    store.decide(Trial.model_validate({**trial.model_dump(), **decided}), None, trial.trial_id, None)
    return record.campaign_id


def measure(store: Store, trial: Trial, index: int, value: float, **fields: Any) -> Measurement:
    done = make_measurement(trial, index, value, **fields)
    store.open_measurement(
        done.model_copy(update={"state": MeasurementState.RUNNING, "score": None, "finished_at": None})
    )
    store.finish_measurement(done, None)
    return done


def with_task(**changes: Any) -> dict[str, Any]:
    return {"task": {**TASK, **changes}}


def test_campaigns_that_measure_alike_are_pooled_but_their_distance_is_no_noise(store: Store) -> None:
    one = add_night(store, "one", [1.0, 1.2])
    two = add_night(store, "two", [5.0, 5.4, 5.8], minutes=10)
    squares = 0.02 + 0.32
    assert store.store_noise(two) == Noise(sd=pytest.approx(math.sqrt(squares / 3)), df=3, campaigns=2)  # type: ignore[arg-type]
    assert store.store_noise(one) == store.store_noise(two)
    assert store.noise(two).df == 2


@pytest.mark.parametrize(
    "other",
    [
        {"hardware_fingerprint": "another"},
        {"hardware": {"device": "cuda"}},
        {"corpus_sha256": "cd" * 32},
        with_task(budget={"kind": "seconds", "amount": 30.0}),
        with_task(budget={"kind": "steps", "amount": 20.0}),
        with_task(data={"vocab_size": 512, "eval_seq_len": 128, "eval_tokens": 4096}),
        with_task(metric={"name": "accuracy", "direction": "maximize"}),
    ],
)
def test_campaigns_that_measure_otherwise_are_not(store: Store, other: dict[str, Any]) -> None:
    add_night(store, "other", [1.0, 9.0], **other)
    night = add_night(store, "night", [1.0, 1.2], minutes=10)
    assert store.store_noise(night) == store.noise(night)


def test_what_does_not_move_a_score_may_differ(store: Store) -> None:
    menu = {"knobs": {"depth": {"type": "int"}}}
    add_night(store, "other", [1.0, 1.2], **with_task(menu=menu, limits={"trials": 3}), seed=5, keep_rule="strict")
    night = add_night(store, "night", [1.0, 1.2], minutes=10)
    assert store.store_noise(night).campaigns == 2


def test_final_measurements_are_replicates(store: Store) -> None:
    night = add_night(store, "night", [1.0, 1.2], stop_reason=None)
    baseline = store.trials(night)[0]
    measure(store, baseline, 1000, 1.1, purpose=Purpose.FINAL, test_score=2.0)
    assert store.store_noise(night).df == 2


def test_a_reader_knows_the_same(store: Store, tmp_path: Path) -> None:
    add_night(store, "one", [1.0, 1.2])
    two = add_night(store, "two", [5.0, 5.4, 5.8], minutes=10)
    publish(store, tmp_path / "snapshot")
    with Reader.open(tmp_path / "snapshot") as reader:
        assert reader.store_noise(two) == store.store_noise(two)


def test_without_any_replicate_nothing_is_known(store: Store) -> None:
    assert store.store_noise(add_night(store, "night", [1.0])) == Noise(sd=None, df=0, campaigns=0)
    assert pool([]) == Noise(sd=None, df=0, campaigns=0)


def test_a_campaign_that_goes_on_is_counted_anew(store: Store) -> None:
    one = add_night(store, "one", [1.0, 1.2], stop_reason=None)
    two = add_night(store, "two", [2.0, 2.2], minutes=10, stop_reason=None)
    assert store.store_noise(two).df == 2
    measure(store, store.trials(one)[0], 7, 1.1)
    assert store.store_noise(two).df == 3


def test_a_campaign_that_moved_counts_where_it_is_now(store: Store) -> None:
    one = add_night(store, "one", [1.0, 1.2])
    trial = store.trials(one)[0]
    assert store.noise(one).df == 1
    store.update_campaign(one, hardware_fingerprint="gpu-8")
    assert store.noise(one) == Noise(sd=None, df=0)
    for index, value in enumerate([2.0, 2.1, 2.2]):
        measure(store, trial, index, value, machine="gpu-8", measurement_id=f"again-{index}")
    assert store.noise(one).df == 2
    assert store.noise(one).sd == pytest.approx(0.1)
    store.update_campaign(one, hardware_fingerprint="cpu-2")
    assert store.noise(one).df == 1


def test_where_a_task_compares_logarithms_the_rule_is_given_theirs(store: Store) -> None:
    metric = {"name": "seconds", "direction": "minimize", "scale": "log"}
    night = add_night(store, "one", [10.0, 12.0, 15.0], **with_task(metric=metric))
    logs = [math.log(value) for value in (10.0, 12.0, 15.0)]
    expected = math.sqrt(math.fsum((value - math.fsum(logs) / 3) ** 2 for value in logs) / 2)
    assert store.compared_noise(night).sd == pytest.approx(expected)
    assert store.noise(night).sd == pytest.approx(math.sqrt(19 / 3)), "a person reads seconds"
    evidence = evidence_of(store.campaign(night), store.noise(night), ((0, 9.0),), ((0, 10.0), (1, 12.0), (2, 15.0)))
    assert evidence.noise_sd == pytest.approx(expected, rel=0.05)
    measure(store, store.trials(night)[0], 7, 10.0)
    assert store.compared_noise(night).df == 3
