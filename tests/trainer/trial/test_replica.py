"""The hand-over of data and state: nothing is learned before the clock, and what is questioned is what was saved."""

import mmap
import os
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from rails.errors import TrialError
from rails.status import Status
from tests.support.launching import left_over, weakest_and_best
from tests.support.raw_trial import PRELUDE
from tests.support.tiny_data import SEQ_LEN, STANDIN, VOCAB_SIZE, eval_set, trial_spec
from trainer.budget import Budget, BudgetKind, Caps
from trainer.launch.launcher import Launcher
from trainer.sandbox.levels import Isolation
from trainer.sandbox.permissions import Limits
from trainer.trial import saved_state
from trainer.trial.process import TrialProcess
from trainer.trial.spec import TrialSpec

SOURCE = STANDIN.read_text()
LIMIT = 2**30


@pytest.fixture(scope="module")
def launcher() -> Iterator[Launcher]:
    with Launcher.for_program(SOURCE, threads=1) as started:
        yield started


def trained(spec: TrialSpec, launcher: Launcher) -> TrialProcess:
    process = TrialProcess.launch(spec, launcher)
    process.train()
    return process


def failure(spec: TrialSpec, launcher: Launcher) -> TrialError:
    """How training fails."""
    with TrialProcess.launch(spec, launcher) as process, pytest.raises(TrialError) as caught:
        process.train()
    assert left_over() == []
    return caught.value


def replica_failure(spec: TrialSpec, launcher: Launcher) -> TrialError:
    """How a replica fails, of a training that went well."""
    rows = eval_set().rows[:4, :-1]
    with trained(spec, launcher) as process, process.replica() as replica, pytest.raises(TrialError) as caught:
        replica.ask(rows)
    assert list(spec.scratch_root.iterdir()) == []
    assert left_over() == []
    return caught.value


@pytest.mark.parametrize("level", weakest_and_best())
def test_a_replica_gives_the_same_answers(tmp_path: Path, launcher: Launcher, level: Isolation) -> None:
    rows = eval_set().rows[:, :-1]
    spec = trial_spec(tmp_path, isolation=level)
    with trained(spec, launcher) as process:
        limit = spec.layout.rows
        answers = [process.ask(rows[first : first + limit]) for first in range(0, len(rows), limit)]
        first, second = process.replica(), process.replica()
    with first, second:  # they outlive the process that they come from
        for replica in (first, second):
            again = [replica.ask(rows[first : first + limit]) for first in range(0, len(rows), limit)]
            assert all(np.array_equal(a, b) for a, b in zip(answers, again, strict=True))
    assert answers[0].shape == (limit, SEQ_LEN, VOCAB_SIZE)
    assert left_over() == []


def test_answers_are_private_copies(tmp_path: Path, launcher: Launcher) -> None:
    rows = eval_set().rows[:2, :-1]
    with trained(trial_spec(tmp_path), launcher) as process:
        answer = process.ask(rows)
        kept = answer.copy()
        process.ask(np.zeros_like(rows))
        assert np.array_equal(answer, kept)


def test_what_was_scored_can_be_kept(tmp_path: Path, launcher: Launcher) -> None:
    held, kept = eval_set(), list[tuple[int, np.ndarray[tuple[int, ...], np.dtype[np.float32]]]]()
    with trained(trial_spec(tmp_path), launcher) as process:
        score = process.score(held, lambda first, logits: kept.append((first, logits.copy())))
        assert process.score(held).total_nats == score.total_nats
        for first, logits in kept:
            assert np.array_equal(process.ask(held.rows[first : first + len(logits), :-1]), logits)
    assert [first for first, _ in kept] == [0, 32, 64]
    assert sum(len(logits) for _, logits in kept) == len(held.rows)


@pytest.mark.parametrize("shape", [(0, SEQ_LEN), (33, SEQ_LEN), (1, SEQ_LEN + 1), (SEQ_LEN,)])
def test_questions_of_another_shape_are_refused(tmp_path: Path, launcher: Launcher, shape: tuple[int, ...]) -> None:
    with trained(trial_spec(tmp_path), launcher) as process, pytest.raises(ValueError, match="tokens of shape"):
        process.ask(np.zeros(shape, np.int32))


def test_only_what_is_trained_has_replicas(tmp_path: Path, launcher: Launcher) -> None:
    with TrialProcess.launch(trial_spec(tmp_path), launcher) as process, pytest.raises(ValueError, match="trained"):
        process.replica()


def test_there_is_no_training_data_before_the_clock(tmp_path: Path, launcher: Launcher) -> None:
    early = SOURCE.replace("    session.start(", "    next(batches)\n    session.start(")
    error = failure(trial_spec(tmp_path, early), launcher)
    assert error.status is Status.PREFLIGHT_CRASH
    assert str(error) == "there is no training data before session.start(), and none in a replica"


def test_the_data_comes_as_open_files_that_cannot_be_written(tmp_path: Path, launcher: Launcher) -> None:
    code = """
start()
line, fds, _, _ = socket.recv_fds(control, 1000, 10)
assert json.loads(line)["files"] == ["meta.json", "train.tokens.bin", "train.offsets.bin"]
for fd in fds:
    assert os.fstat(fd).st_size > 0
    try:
        os.write(fd, b"x")
    except OSError as error:
        print(error)
send("trained", summary={})
hang()
"""
    with TrialProcess.launch(trial_spec(tmp_path, PRELUDE + code), launcher) as process:
        assert process.train().log_tail.count("Bad file descriptor") == 3


def test_a_training_without_a_state_is_refused(tmp_path: Path, launcher: Launcher) -> None:
    source = SOURCE.replace(", save=model.save)", ")")
    assert source != SOURCE
    error = failure(trial_spec(tmp_path, source), launcher)
    assert error.status is Status.CRASH
    assert str(error).startswith("session.finish needs save=")


def test_a_state_that_fails_to_be_saved(tmp_path: Path, launcher: Launcher) -> None:
    error = failure(trial_spec(tmp_path, SOURCE.replace("save=model.save", "save=lambda file: 1 / 0")), launcher)
    assert (error.status, str(error)) == (
        Status.CRASH,
        "exited with code 1 during training: ZeroDivisionError: division by zero",
    )


def test_saving_for_ever_is_an_overrun(tmp_path: Path, launcher: Launcher) -> None:
    endless = SOURCE.replace("save=model.save", "save=lambda file: [file.write(b'x') for _ in iter(int, 1)]")
    spec = trial_spec(tmp_path, endless, budget=Budget(kind=BudgetKind.SECONDS, amount=0.1))
    assert failure(spec, launcher).status is Status.TRAIN_BUDGET_OVERRUN


def test_the_size_of_a_state_is_limited(tmp_path: Path, launcher: Launcher) -> None:
    huge = SOURCE.replace("save=model.save", "save=lambda file: file.write(bytes(9 << 20))")
    spec = trial_spec(tmp_path, huge, limits=Limits(memory_bytes=2**30, disk_bytes=8 << 20))
    error = failure(spec, launcher)
    assert error.status is Status.CRASH
    assert "File too large" in str(error)


@pytest.mark.parametrize("later", ["", "time.sleep(0.5); memory[:8] = b'improved'; memory.close()"], ids=["", "awhile"])
def test_a_state_that_can_still_be_changed_is_disqualified(
    tmp_path: Path, launcher: Launcher, monkeypatch: pytest.MonkeyPatch, later: str
) -> None:
    monkeypatch.setattr(saved_state, "BUSY_FOR_S", 1.0)
    code = f"""
start()
os.ftruncate(spec["state_fd"], 4096)
memory = mmap.mmap(spec["state_fd"], 4096)
send("trained", summary={{}})
{later}
hang()
"""
    error = failure(trial_spec(tmp_path, PRELUDE + code), launcher)
    assert error.status is Status.DISQUALIFIED
    assert str(error) == "it can still change the state that it saved: a writable mapping of the file was left open"


def test_learning_after_the_end_changes_nothing(tmp_path: Path, launcher: Launcher) -> None:
    code = """
start()
socket.recv_fds(control, 1000, 10)
os.write(spec["state_fd"], b"trained")
send("trained", summary={})
control.recv(1)
for attempt in (lambda: os.pwrite(spec["state_fd"], b"improved", 0), lambda: os.ftruncate(spec["state_fd"], 0),
                lambda: mmap.mmap(spec["state_fd"], 7)):
    try:
        attempt()
    except OSError as error:
        print(error, flush=True)
send("scored")
hang()
"""
    replica = 'os._exit(7 if os.pread(spec["state_fd"], 100, 0) == b"trained" else 8)\n'
    source = PRELUDE + f"if spec['replica']:\n    {replica}" + code
    with TrialProcess.launch(trial_spec(tmp_path, source), launcher) as process:
        process.train()
        process.ask(eval_set().rows[:1, :-1])
        with process.replica() as other, pytest.raises(TrialError) as caught:
            other.ask(eval_set().rows[:1, :-1])
        process.close()
    assert str(caught.value) == "its replica failed: exited with code 7 while it was asked"


def test_seals_that_the_trial_sets_itself_are_enough() -> None:
    fd = saved_state.create()
    os.write(fd, b"x")
    os.close(saved_state.seal(fd, LIMIT))
    sealed = saved_state.seal(fd, LIMIT)  # as if the trial had done the first
    assert os.pread(sealed, 9, 0) == b"x"
    for change in (lambda: os.write(sealed, b"y"), lambda: os.ftruncate(sealed, 0), lambda: mmap.mmap(sealed, 1)):
        with pytest.raises(PermissionError):
            change()
    os.close(sealed)
    os.close(fd)


def test_a_file_that_is_busy_for_a_moment_is_sealed_while_the_trial_stands_still() -> None:
    fd = saved_state.create()
    os.write(fd, b"x")
    mapped, held = mmap.mmap(fd, 1), list[str]()

    def hold() -> None:
        held.append("held")
        threading.Timer(0.2, mapped.close).start()  # as the kernel lets go of a page that it moves

    os.close(saved_state.seal(fd, LIMIT, hold))
    assert held == ["held"]
    os.close(fd)


def test_a_file_without_seals_is_copied(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr("fcntl.F_ADD_SEALS")
    fd = saved_state.create()
    os.write(fd, b"x" * (3 << 20))
    copy = saved_state.seal(fd, LIMIT)
    os.pwrite(fd, b"changed", 0)
    assert os.pread(copy, 4 << 20, 0) == b"x" * (3 << 20)
    os.close(copy)
    os.close(fd)


def test_what_a_replica_gets_tells_nothing_but_the_content() -> None:
    """Holes that became pages, modes and times can be changed after the seal: none of them travels."""
    saved = saved_state.create()
    os.write(saved, b"x")
    os.ftruncate(saved, 1 << 20)
    sealed = saved_state.seal(saved, LIMIT)
    with mmap.mmap(saved, 0, mmap.MAP_PRIVATE, mmap.PROT_READ) as memory:
        assert memory[1 << 19] == 0
    os.fchmod(saved, 0)
    first, second = saved_state.copy(sealed), saved_state.copy(sealed)
    for copy in (first, second):
        assert os.lseek(copy, 0, os.SEEK_HOLE) == 1 << 20
        assert os.fstat(copy).st_blocks * 512 == 1 << 20
        assert os.fstat(copy).st_mode == os.fstat(first).st_mode != os.fstat(saved).st_mode
        assert os.pread(copy, 2 << 20, 0) == b"x" + bytes((1 << 20) - 1)
    assert len({os.fstat(fd).st_ino for fd in (saved, sealed, first, second)}) == 4
    for fd in (saved, sealed, first, second):
        os.close(fd)


def test_a_state_that_is_too_large_is_not_copied(tmp_path: Path, launcher: Launcher) -> None:
    code = """
start()
os.ftruncate(spec["state_fd"], 1 << 33)
send("trained", summary={})
hang()
"""
    limits = Limits(memory_bytes=2**30, disk_bytes=1 << 40)
    error = failure(trial_spec(tmp_path, PRELUDE + code, limits=limits), launcher)
    assert (error.status, str(error)) == (Status.CRASH, "it saved a state of 8192 MiB; 256 MiB are allowed")


REPLICA_FAILS = [
    ("raise ValueError('no such layer')", "exited with code 1 while it was asked: ValueError at line"),
    ("import os; os.abort()", "was killed by SIGABRT while it was asked"),
    ("session.start(params=1, flops_per_token=1.0)", "a replica must only load session.saved_state() and answer"),
    ("next(session.batches(1, 4))", "a replica must only load session.saved_state() and answer"),
    ("raise SystemExit", "exited with code 0 while it was asked, without a result"),
]


@pytest.mark.parametrize(("code", "what"), REPLICA_FAILS)
def test_a_replica_that_fails_says_so(tmp_path: Path, launcher: Launcher, code: str, what: str) -> None:
    source = SOURCE.replace("        model.load(session.saved_state())", f"        {code}")
    error = replica_failure(trial_spec(tmp_path, source), launcher)
    assert error.status is Status.CRASH
    assert str(error).startswith(f"its replica failed: {what}")


@pytest.mark.system
def test_a_replica_that_hangs_is_ended(tmp_path: Path, launcher: Launcher) -> None:
    source = SOURCE.replace("        model.load(session.saved_state())", "        import time; time.sleep(1000)")
    error = replica_failure(trial_spec(tmp_path, source, caps=Caps(startup_s=3.0, score_s=0.2)), launcher)
    assert error.status is Status.EVAL_BUDGET_OVERRUN
    assert str(error) == "its replica failed: killed: not asked within 3.2 s"


def test_what_is_put_off_until_the_first_answer_is_ended(tmp_path: Path, launcher: Launcher) -> None:
    source = SOURCE.replace("    session.serve(", "    import time; time.sleep(1000)\n    session.serve(")
    assert source != SOURCE
    spec = trial_spec(tmp_path, source, caps=Caps(answer_s=0.2))
    with trained(spec, launcher) as process, pytest.raises(TrialError) as caught:
        process.score(eval_set())
    assert caught.value.status is Status.EVAL_BUDGET_OVERRUN
    assert str(caught.value) == "killed: its first answer took longer than 0.2 s"
    assert left_over() == []


def test_a_replica_shares_no_folder_with_its_original(tmp_path: Path, launcher: Launcher) -> None:
    source = SOURCE.replace(
        "def main() -> None:",
        "def main() -> None:\n    import os\n    found = os.listdir()\n    open('left', 'w')\n",
    ).replace("        model.load(session.saved_state())", "        os._exit(7 if found == ['train.py'] else 8)")
    error = replica_failure(trial_spec(tmp_path, source), launcher)
    assert "exited with code 7" in str(error)


def test_a_replica_can_be_stopped(tmp_path: Path, launcher: Launcher) -> None:
    with trained(trial_spec(tmp_path), launcher) as process, process.replica() as replica:
        replica.stop()
        with pytest.raises(TrialError, match="its replica failed: stopped on request") as caught:
            replica.ask(eval_set().rows[:1, :-1])
    assert caught.value.status is Status.INTERRUPTED


@pytest.mark.system
def test_a_slow_step_earns_time_but_not_much(tmp_path: Path, launcher: Launcher) -> None:
    """Steps of 0.3 s on a budget of 1 s: the one that begins before the end may be finished, and saved."""
    slow = SOURCE.replace(
        "        inputs, targets = next(batches)", "        time.sleep(0.3)\n        inputs, targets = next(batches)"
    )
    slow = "import time\n" + slow
    budget = Budget(kind=BudgetKind.SECONDS, amount=1.0)
    with TrialProcess.launch(trial_spec(tmp_path, slow, budget=budget), launcher) as process:
        assert process.train().steps >= 2
    silent = PRELUDE + "start(); time.sleep(1000)"
    error = failure(trial_spec(tmp_path, silent, budget=budget), launcher)
    assert str(error) == "killed: still training 1.52 s after its start, with a budget of 1 s"
