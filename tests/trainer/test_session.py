import dataclasses
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
import pytest

from tests.support.tiny_data import SEQ_LEN, STANDIN, VOCAB_SIZE, write_train_dir
from trainer.budget import Budget, BudgetKind
from trainer.data.shards import split_names
from trainer.session import REPORT_MARKS, Session
from trainer.trial import saved_state
from trainer.trial.wire import (
    SPEC_VARIABLE,
    ChildSpec,
    Event,
    Failed,
    Progress,
    Start,
    Trained,
    WireError,
    encode_data,
    encode_score_request,
    parse_event,
)


def nothing(file: BinaryIO) -> None:
    """A model without a state."""


@dataclass
class Parent:
    """The other end of a session in this very process."""

    control: socket.socket
    shm: int
    state: int
    data_dir: Path
    spec: ChildSpec

    def send_data(self, charged_s: float = 0.0) -> None:
        """Answer `start` before it is asked; the session reads it when it is time."""
        names = split_names("train")
        files = [(self.data_dir / name).open("rb") for name in names]
        socket.send_fds(self.control, [encode_data(names, charged_s)], [file.fileno() for file in files])
        for file in files:
            file.close()

    def events(self) -> list[Event]:
        """What was sent so far."""
        self.control.setblocking(False)
        try:
            return [parse_event(line) for line in self.control.recv(1 << 20).splitlines()]
        except BlockingIOError:
            return []
        finally:
            self.control.setblocking(True)


@pytest.fixture
def parent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Parent]:
    ours, theirs = socket.socketpair()
    shm, state = os.memfd_create("test"), saved_state.create()
    data_dir = write_train_dir(tmp_path / "data", documents=3)
    spec = ChildSpec(
        seed=5,
        budget=Budget(kind=BudgetKind.STEPS, amount=4),
        device="cpu",
        threads=1,
        eval_rows=4,
        eval_seq_len=SEQ_LEN,
        vocab_size=VOCAB_SIZE,
        control_fd=theirs.detach(),
        shm_fd=shm,
        state_fd=state,
    )
    os.ftruncate(shm, spec.layout.total_bytes)
    monkeypatch.setenv(SPEC_VARIABLE, spec.to_json())
    with ours:
        yield Parent(ours, shm, state, data_dir, spec)
    os.close(shm)
    os.close(state)


@pytest.fixture
def session(parent: Parent) -> Iterator[Session]:
    opened = Session.open()
    yield opened
    opened.close()


def test_a_session_is_what_the_parent_says(parent: Parent, session: Session) -> None:
    assert (session.seed, session.device, session.threads) == (5, "cpu", 1)
    assert (session.vocab_size, session.eval_seq_len) == (VOCAB_SIZE, SEQ_LEN)
    assert session.budget == parent.spec.budget
    assert SPEC_VARIABLE not in os.environ
    assert not session.replica
    for fd in (parent.spec.control_fd, parent.spec.shm_fd, parent.spec.state_fd):
        assert not os.get_inheritable(fd)


def test_the_clock_starts_with_what_start_up_is_charged(parent: Parent, session: Session) -> None:
    session.budget = Budget(kind=BudgetKind.SECONDS, amount=20)
    parent.send_data(charged_s=12.0)
    assert session.elapsed_s == 0
    session.start(params=1, flops_per_token=1.0)
    assert 12.0 < session.elapsed_s < 17.0
    assert 0.6 < session.progress < 0.85


def test_a_budget_of_cpu_seconds_follows_what_it_computes(parent: Parent, session: Session) -> None:
    """Waiting costs nothing; a child that has ended counts."""
    session.budget = Budget(kind=BudgetKind.CPU_SECONDS, amount=2.0)
    parent.send_data(charged_s=0.5)
    session.start(params=1, flops_per_token=1.0)
    time.sleep(0.3)
    assert 0.5 <= session.elapsed_s < 0.7
    subprocess.run([sys.executable, "-S", "-c", "import time\nwhile time.process_time() < 0.4: pass"], check=True)
    assert 0.9 <= session.elapsed_s < 1.4
    assert 0.45 <= session.progress < 0.7


def test_batches_follow_the_seed(parent: Parent, session: Session) -> None:
    parent.send_data()
    session.start(params=1, flops_per_token=1.0)
    inputs, targets = next(session.batches(3, 16))
    assert inputs.shape == targets.shape == (3, 16)
    assert inputs.dtype == targets.dtype == np.int64
    assert np.array_equal(inputs[:, 1:], targets[:, :-1])
    again, _ = next(session.batches(3, 16))
    assert np.array_equal(inputs, again)


def test_there_is_no_data_before_the_start(parent: Parent, session: Session) -> None:
    batches = session.batches(3, 16)
    with pytest.raises(SystemExit, match="no training data before"):
        next(batches)
    assert isinstance(parent.events()[-1], Failed)


def test_a_parent_that_hangs_up_before_it_sends_the_data(parent: Parent, session: Session) -> None:
    parent.control.shutdown(socket.SHUT_WR)
    with pytest.raises(SystemExit, match="hung up"):
        session.start(params=1, flops_per_token=1.0)


def test_what_was_learned_is_saved_before_the_end_is_reported(parent: Parent, session: Session) -> None:
    def save(file: BinaryIO) -> None:
        assert not any(isinstance(event, Trained) for event in parent.events())
        file.write(b"weights")

    session.finish({}, save)
    assert os.pread(parent.state, 100, 0) == b"weights"
    assert isinstance(parent.events()[-1], Trained)


def test_a_training_without_a_state_is_refused(parent: Parent, session: Session) -> None:
    with pytest.raises(SystemExit, match=r"session\.finish needs save="):
        session.finish({})
    (failed,) = parent.events()
    assert isinstance(failed, Failed) and "session.finish needs save=" in failed.reason


def test_only_a_replica_reads_the_state(parent: Parent, session: Session) -> None:
    with pytest.raises(SystemExit, match="no saved state outside a replica"):
        session.saved_state()


@pytest.fixture
def replica(parent: Parent, monkeypatch: pytest.MonkeyPatch) -> Iterator[Session]:
    os.write(parent.state, b"weights")
    monkeypatch.setenv(SPEC_VARIABLE, dataclasses.replace(parent.spec, replica=True).to_json())
    opened = Session.open()
    yield opened
    opened.close()


def test_a_replica_reads_the_state_from_its_beginning(parent: Parent, replica: Session) -> None:
    assert replica.replica
    for _ in range(2):
        with replica.saved_state() as file:
            assert file.read() == b"weights"


def test_a_replica_does_not_train(parent: Parent, replica: Session) -> None:
    with pytest.raises(SystemExit, match="a replica must not train"):
        replica.start(params=1, flops_per_token=1.0)
    with pytest.raises(SystemExit, match="none in a replica"):
        next(replica.batches(3, 16))


def test_a_training_is_reported(parent: Parent, session: Session, capsys: pytest.CaptureFixture[str]) -> None:
    assert session.progress == 0.0
    parent.send_data()
    session.start(params=10, flops_per_token=60.0)
    shares: list[float] = []
    while not session.done:
        session.step(np.float32(1.5), 100)  # pyright: ignore[reportArgumentType] — what a script may well pass
        shares.append(session.progress)
    session.finish({"depth": 2, "mfu": np.float32(0.5), "what": Path("x"), "bad": float("nan")}, nothing)
    assert shares == [0.25, 0.5, 0.75, 1.0]
    first, *reports, last = parent.events()
    assert first == Start(params=10, flops_per_token=60.0, device="cpu")
    assert [report.step for report in reports if isinstance(report, Progress)] == [1, 2, 3, 4]
    assert isinstance(last, Trained)
    assert last.summary["num_steps"] == 4
    assert (last.summary["depth"], last.summary["mfu"], last.summary["what"], last.summary["bad"]) == (
        2,
        0.5,
        "x",
        "nan",
    )
    printed = capsys.readouterr().out
    assert "---\ntraining_seconds: " in printed
    assert "\nnum_steps: 4\n" in printed


@pytest.mark.parametrize(
    ("loss", "kind", "reason"),
    [
        (float("nan"), "nan", "loss became NaN at step 2"),
        (float("inf"), "diverged", "loss diverged to inf at step 2 (limit 16.64)"),
        (17.0, "diverged", "loss diverged to 17 at step 2 (limit 16.64)"),
    ],
)
def test_a_hopeless_loss_ends_the_training(
    parent: Parent, session: Session, loss: float, kind: str, reason: str
) -> None:
    parent.send_data()
    session.start(params=1, flops_per_token=1.0)
    session.step(4.0, 1)
    with pytest.raises(SystemExit, match="failed: loss"):
        session.step(loss, 1)
    assert parent.events()[-1] == Failed(kind=kind, reason=reason)


def test_serving(parent: Parent, session: Session) -> None:
    tokens = np.arange(3 * SEQ_LEN, dtype=np.int32).reshape(3, SEQ_LEN) % VOCAB_SIZE
    os.pwrite(parent.shm, tokens.tobytes(), 0)
    parent.control.sendall(encode_score_request(3))
    parent.control.shutdown(socket.SHUT_WR)
    session.serve(lambda asked: np.eye(VOCAB_SIZE, dtype=np.float32)[asked])
    logits = np.frombuffer(
        os.pread(parent.shm, 3 * SEQ_LEN * VOCAB_SIZE * 4, parent.spec.layout.logits_offset), np.float32
    )
    assert np.array_equal(logits.reshape(3, SEQ_LEN, VOCAB_SIZE).argmax(-1), tokens)


def test_serving_refuses_a_wrong_shape(parent: Parent, session: Session) -> None:
    parent.control.sendall(encode_score_request(1))
    with pytest.raises(SystemExit):
        session.serve(lambda asked: np.zeros((1, SEQ_LEN, 3), np.float32))
    (event,) = parent.events()
    assert isinstance(event, Failed)
    assert event.kind == "shape"
    assert "(1, 32, 3), not (1, 32, 64)" in event.reason


def test_serving_refuses_an_unknown_request(parent: Parent, session: Session) -> None:
    parent.control.sendall(b'{"op": "dance"}\n')
    with pytest.raises(WireError):
        session.serve(lambda asked: np.zeros((1, SEQ_LEN, VOCAB_SIZE), np.float32))


def test_reports_do_not_pile_up_in_a_fast_training(parent: Parent, session: Session) -> None:
    counted = 0

    def count() -> None:
        nonlocal counted
        with parent.control.makefile("rb") as lines:
            counted = sum(1 for _ in lines)

    reader = threading.Thread(target=count)
    reader.start()
    parent.send_data()
    session.start(params=1, flops_per_token=1.0)
    for _ in range(20_000):
        session.step(1.0, 1)
    elapsed = session.elapsed_s
    session.finish({}, nothing)
    session.close()
    reader.join()
    assert counted <= 4 + REPORT_MARKS + 10 * elapsed


def test_stand_alone_prints_and_has_no_score(tmp_path: Path) -> None:
    data = write_train_dir(tmp_path / "data")
    command = [sys.executable, str(STANDIN), "--tokens", "5000", "--seed", "3", "--data", str(data)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "num_steps: 10" in done.stdout
    assert "step      1" in done.stdout
    assert "bpb" not in done.stdout


def test_stand_alone_says_what_is_wrong(tmp_path: Path) -> None:
    command = [sys.executable, str(STANDIN), "--data", str(tmp_path / "nothing")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert str(tmp_path / "nothing") in done.stderr
