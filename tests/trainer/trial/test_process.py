import math
import os
import signal
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rails.errors import HaltError, TrialError
from rails.status import Status
from tests.support.standin_train import Knobs, NGram
from tests.support.tiny_data import BOS_ID, SEQ_LEN, STANDIN, VOCAB_SIZE, eval_set, trial_spec
from trainer.budget import Budget, BudgetKind
from trainer.data.packing import pack
from trainer.data.shards import open_documents
from trainer.launch.launcher import Launcher
from trainer.scoring.evaluate import Score
from trainer.trial.process import TrainOutcome, TrialProcess
from trainer.trial.spec import TrialSpec
from trainer.trial.wire import Progress


@pytest.fixture(scope="module")
def launcher() -> Iterator[Launcher]:
    with Launcher.for_program(STANDIN.read_text(), threads=1) as started:
        yield started


def measure(spec: TrialSpec, launcher: Launcher) -> tuple[TrainOutcome, Score]:
    with TrialProcess.launch(spec, launcher) as process:
        return process.train(), process.score(eval_set())


def expected_bpb(spec: TrialSpec) -> float:
    """The stand-in trained and scored in this process, in plain float64."""
    knobs, rows = Knobs(), eval_set().rows
    model = NGram(knobs, VOCAB_SIZE)
    batches = pack(open_documents(spec.data_dir), knobs.rows, knobs.seq_len, spec.seed)
    for _ in range(20):
        model.learn(*next(batches))
    logits = model.logits(rows[:, :-1].astype(np.int64)).astype(np.float64)
    log_z = np.log(np.exp(logits).sum(-1))
    costs = log_z - np.take_along_axis(logits, rows[:, 1:, None].astype(np.int64), -1)[..., 0]
    sizes = eval_set().token_bytes[rows[:, 1:]]
    return float((costs * (sizes > 0)).sum() / (math.log(2) * sizes.sum()))


def test_a_trial_is_trained_and_scored(tmp_path: Path, launcher: Launcher) -> None:
    spec, seen = trial_spec(tmp_path), list[Progress]()
    with TrialProcess.launch(spec, launcher, seen.append) as process:
        outcome, score = process.train(), process.score(eval_set())
    assert (outcome.steps, outcome.tokens, outcome.device) == (20, 20 * 8 * 64, "cpu")
    assert outcome.flops == outcome.tokens * 24.0
    assert outcome.params == VOCAB_SIZE * (1 + VOCAB_SIZE + 256)
    assert outcome.curve == tuple(seen)
    assert outcome.curve[0].step == 1
    assert outcome.curve[-1].step == 20
    assert outcome.curve[-1].loss < outcome.curve[0].loss
    assert outcome.startup_s > 0 and outcome.train_s > 0
    assert outcome.peak_rss_bytes > 2**20
    assert outcome.summary["buckets"] == 256
    assert "num_steps: 20" in outcome.log_tail
    assert score.total_bytes == eval_set().total_bytes
    assert score.val_bpb == pytest.approx(expected_bpb(spec), abs=1e-6)
    assert list(spec.scratch_root.iterdir()) == []


def test_counting_takes_no_more_threads_than_the_trial_that_answers(tmp_path: Path, launcher: Launcher) -> None:
    import torch

    spec, seen = trial_spec(tmp_path), set[int]()
    with TrialProcess.launch(spec, launcher) as process:
        process.train()
        process.score(eval_set(), lambda first, logits: seen.add(torch.get_num_threads()))
    assert seen == {spec.threads} == {1}


def test_equal_trials_score_equally_and_seeds_differ(tmp_path: Path, launcher: Launcher) -> None:
    first, again, other = (measure(trial_spec(tmp_path, seed=seed), launcher)[1] for seed in (1, 1, 2))
    assert (first.val_bpb, first.total_nats) == (again.val_bpb, again.total_nats)
    assert first.val_bpb != other.val_bpb
    assert first.val_bpb == pytest.approx(other.val_bpb, rel=0.05)


@pytest.mark.parametrize(("kind", "amount", "steps"), [("tokens", 2000, 4), ("flops", 2000 * 24, 4), ("steps", 3, 3)])
def test_budgets_that_do_not_depend_on_the_machine(
    tmp_path: Path, launcher: Launcher, kind: str, amount: int, steps: int
) -> None:
    budget = Budget(kind=BudgetKind(kind), amount=amount)
    assert measure(trial_spec(tmp_path, budget=budget), launcher)[0].steps == steps


def test_a_budget_in_seconds_is_kept(tmp_path: Path, launcher: Launcher) -> None:
    outcome, _ = measure(trial_spec(tmp_path, budget=Budget(kind=BudgetKind.SECONDS, amount=0.3)), launcher)
    assert outcome.train_s > 0.28
    assert outcome.steps > 20
    assert 2 <= len(outcome.curve) <= 45  # ten a second and forty in all, and the first


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("bigram_weight: float = 0.5", "bigram_weight: float = 0.3"),
        ("trigram_weight: float = 0.05", "trigram_weight: float = 0.2"),
        ("smoothing: float = 4.0", "smoothing: float = 30.0"),
        ("buckets: int = 256", "buckets: int = 4096"),
        ("decay: float = 1.0", "decay: float = 0.8"),
        ("rows: int = 8", "rows: int = 2"),
        ("seq_len: int = 64", "seq_len: int = 16"),
    ],
)
def test_every_knob_of_the_stand_in_matters(tmp_path: Path, launcher: Launcher, old: str, new: str) -> None:
    source = STANDIN.read_text()
    assert old in source
    spec = trial_spec(tmp_path, source.replace(old, new))
    assert abs(measure(spec, launcher)[1].val_bpb - expected_bpb(spec)) > 0.01


@settings(deadline=None)
@given(st.integers(0, SEQ_LEN - 1), st.integers(0, 2**32 - 1))
def test_the_stand_in_does_not_see_the_future(cut: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    model = NGram(Knobs(), VOCAB_SIZE)
    model.learn(rng.integers(0, VOCAB_SIZE, (4, 16)), rng.integers(0, VOCAB_SIZE, (4, 16)))
    rows = rng.integers(0, VOCAB_SIZE, (2, SEQ_LEN))
    changed = rows.copy()
    changed[:, cut + 1 :] = BOS_ID
    assert np.array_equal(model.logits(rows)[:, : cut + 1], model.logits(changed)[:, : cut + 1])


def test_a_printed_score_is_ignored(tmp_path: Path, launcher: Launcher) -> None:
    source = STANDIN.read_text().replace("session.finish(", 'print("---\\nval_bpb: 0.000001")\n    session.finish(')
    spec = trial_spec(tmp_path, source.replace('{"buckets"', '{"val_bpb": 0.000001, "buckets"'))
    outcome, score = measure(spec, launcher)
    assert "val_bpb: 0.000001" in outcome.log_tail
    assert score.val_bpb == pytest.approx(expected_bpb(spec), abs=1e-6)


def test_what_the_callback_raises_comes_through(tmp_path: Path, launcher: Launcher) -> None:
    def broken(progress: Progress) -> None:
        raise LookupError(progress.step)

    spec = trial_spec(tmp_path)
    with TrialProcess.launch(spec, launcher, broken) as process, pytest.raises(LookupError):
        process.train()
    assert list(spec.scratch_root.iterdir()) == []


ENDLESS = Budget(kind=BudgetKind.STEPS, amount=1e9)


def by_signal(process: TrialProcess) -> None:
    os.kill(os.getpid(), signal.SIGUSR1)


def by_thread(process: TrialProcess) -> None:
    thread = threading.Thread(target=process.stop)
    thread.start()
    thread.join()


@pytest.mark.parametrize("stop", [by_signal, by_thread, TrialProcess.stop])
def test_stop_interrupts_a_training(tmp_path: Path, launcher: Launcher, stop: Callable[[TrialProcess], None]) -> None:
    with TrialProcess.launch(trial_spec(tmp_path, budget=ENDLESS), launcher, lambda progress: stop(process)) as process:
        previous = signal.signal(signal.SIGUSR1, lambda *_: process.stop())
        try:
            with pytest.raises(TrialError, match="stopped on request during training") as caught:
                process.train()
        finally:
            signal.signal(signal.SIGUSR1, previous)
    assert caught.value.status is Status.INTERRUPTED
    process.stop()


def test_stop_wakes_a_parent_that_waits(tmp_path: Path, launcher: Launcher) -> None:
    spec = trial_spec(tmp_path, "import time; time.sleep(1000)")
    with TrialProcess.launch(spec, launcher) as process:
        timer = threading.Timer(0.1, process.stop)
        timer.start()
        with pytest.raises(TrialError, match="stopped on request before training started"):
            process.train()
        timer.join()


def test_an_unused_process_is_closed(tmp_path: Path, launcher: Launcher) -> None:
    spec = trial_spec(tmp_path)
    process = TrialProcess.launch(spec, launcher)
    process.close()
    process.close()
    assert list(spec.scratch_root.iterdir()) == []


def test_rows_of_another_length_are_refused(tmp_path: Path, launcher: Launcher) -> None:
    with TrialProcess.launch(trial_spec(tmp_path, eval_seq_len=SEQ_LEN + 1), launcher) as process:
        process.train()
        with pytest.raises(ValueError, match="rows of 33 tokens"):
            process.score(eval_set())


def test_a_machine_that_cannot_start_a_process_halts_the_loop(tmp_path: Path, launcher: Launcher) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(HaltError, match="could not be started"):
        TrialProcess.launch(trial_spec(tmp_path, scratch_root=tmp_path / "file" / "scratch"), launcher)


def test_no_descriptors_leak(tmp_path: Path, launcher: Launcher) -> None:
    spec = trial_spec(tmp_path, "raise SystemExit(3)")
    before = os.listdir("/proc/self/fd")
    for _ in range(3):
        with TrialProcess.launch(spec, launcher) as process, pytest.raises(TrialError):
            process.train()
    assert len(os.listdir("/proc/self/fd")) == len(before)
