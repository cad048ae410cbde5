"""Programs that crash, hang, lie, flood and leave things behind; none may cost more than its own trial."""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

from rails.errors import TrialError
from rails.status import Status
from tests.support.launching import left_over, weakest_and_best
from tests.support.raw_trial import PRELUDE
from tests.support.tiny_data import STANDIN, eval_set, trial_spec
from trainer.budget import Budget, BudgetKind, Caps
from trainer.launch.launcher import Launcher
from trainer.sandbox.levels import Isolation
from trainer.sandbox.permissions import Limits
from trainer.trial.process import TrialProcess
from trainer.trial.spec import TrialSpec
from trainer.trial.wire import Progress

QUICK = Caps(startup_s=20, score_s=20)
SECOND = Budget(kind=BudgetKind.SECONDS, amount=0.1)


@dataclass(frozen=True)
class World:
    """Where trials run: the weakest isolation and the best there is must tell the same story of every failure."""

    level: Isolation
    launcher: Launcher


@pytest.fixture(scope="module", params=weakest_and_best())
def world(request: pytest.FixtureRequest) -> Iterator[World]:
    with Launcher.for_program(STANDIN.read_text(), threads=1) as launcher:
        yield World(request.param, launcher)


def failure(world: World, spec: TrialSpec) -> TrialError:
    """How a trial fails; nothing of it may be left."""
    with TrialProcess.launch(spec, world.launcher) as process, pytest.raises(TrialError) as caught:
        process.train()
        process.score(eval_set())
    assert list(spec.scratch_root.iterdir()) == []
    assert left_over() == []
    return caught.value


def raw(world: World, tmp_path: Path, code: str, budget: Budget | None = None) -> TrialSpec:
    steps = Budget(kind=BudgetKind.STEPS, amount=20)
    return trial_spec(tmp_path, PRELUDE + code, isolation=world.level, caps=QUICK, budget=budget or steps)


@pytest.mark.parametrize(
    ("code", "what"),
    [
        ("raise ValueError('no such knob')", "exited with code 1 before training started: ValueError: no such knob"),
        ("def f(:", "exited with code 1 before training started: SyntaxError: invalid syntax"),
        ("import no_such_module", "ModuleNotFoundError: No module named 'no_such_module'"),
        ("sys.exit(0)", "exited with code 0 before training started, without a result"),
        ("os._exit(7)", "exited with code 7 before training started"),
        ("os.abort()", "was killed by SIGABRT before training started: Fatal Python error: Aborted"),
        ("os.kill(os.getpid(), 9)", "was killed by SIGKILL before training started"),
        (
            "control.sendall(b'nonsense\\n'); hang()",
            "killed before training started: it sent a message that is not JSON",
        ),
        ("progress(1); hang()", "killed: it reported 'progress' before training started, where 'start' was due"),
        ("send('failed', kind='error', reason='bad\\nluck'); hang()", "bad luck"),
        ("control.sendall(b'x' * 200_000); hang()", "it sent a message of more than 65536 bytes"),
    ],
)
def test_before_training(world: World, tmp_path: Path, code: str, what: str) -> None:
    error = failure(world, raw(world, tmp_path, code))
    assert error.status is Status.PREFLIGHT_CRASH
    assert what in str(error)


@pytest.mark.parametrize(
    ("code", "what"),
    [
        ("raise ValueError('too deep')", "exited with code 1 during training: ValueError: too deep"),
        ("sys.exit(0)", "exited with code 0 during training, without a result"),
        ("os.abort()", "was killed by SIGABRT during training: Fatal Python error: Aborted"),
        (
            "import ctypes; ctypes.string_at(0)",
            "killed by SIGSEGV during training: Fatal Python error: Segmentation fault",
        ),
        ("start(); hang()", "killed: it reported 'start' during training, where 'trained' was due"),
        ("send('trained'); hang()", "event 'trained' must have exactly the keys"),
        ("progress(1, float('nan')); hang()", "it sent a message that is not JSON"),
        ("progress(5); progress(4); hang()", "killed: its report of step 4 came after one of step 5"),
        ("control.sendall(b'[' * 60_000 + b'\\n'); hang()", "it sent a message that is not JSON"),
        ("control.sendall(b'\\xff\\xfe\\n'); hang()", "it sent a message that is not JSON"),
        ("send('trained', summary={}); sys.exit(0)", "exited with code 0 while it was scored, without a result"),
        ("send('trained', summary={}); os.abort()", "was killed by SIGABRT while it was scored"),
        (
            "send('trained', summary={}); progress(1); hang()",
            "it reported 'progress' while it was scored, where 'scored'",
        ),
        (
            "send('trained', summary={}); asked(); os.ftruncate(spec['shm_fd'], 0)",
            "exited with code 1 while it was scored: PermissionError at line",
        ),
        (
            "send('trained', summary={}); asked(); send('failed', kind='error', reason='secret'); hang()",
            "gave up",
        ),
        (
            "send('trained', summary={}); asked(); send('secret'); hang()",
            "a message that is not as documented",
        ),
        ("import fcntl; fcntl.fcntl(spec['shm_fd'], fcntl.F_ADD_SEALS, 16)", "Operation not permitted"),
    ],
)
def test_after_the_start(world: World, tmp_path: Path, code: str, what: str) -> None:
    error = failure(world, raw(world, tmp_path, "start()\n" + code))
    assert error.status is Status.CRASH
    assert what in str(error)


def test_a_traceback_is_kept_for_the_repair(world: World, tmp_path: Path) -> None:
    error = failure(world, raw(world, tmp_path, "print('hello')\nraise ValueError('x')"))
    assert error.detail.startswith("hello\nTraceback (most recent call last):")
    assert error.detail.endswith("ValueError: x")


def test_nothing_that_it_says_when_it_has_seen_questions_is_kept(world: World, tmp_path: Path) -> None:
    code = """
print("before", flush=True)
start()
send("trained", summary={})
asked()
print("SECRET", flush=True)
class SECRET(Exception): pass
"""
    for end in (
        "raise SECRET('SECRET')",
        "raise ValueError('SECRET')",
        "send('SECRET')\nhang()",
        "send('failed', kind='error', reason='SECRET')\nhang()",
        "send('failed', kind='SECRET', reason='')\nhang()",
        "sys.exit('SECRET')",
        "os.abort()",
    ):
        error = failure(world, raw(world, tmp_path, code + end))
        assert "SECRET" not in f"{error} {error.detail}"
        assert error.detail == "before"


def test_a_hang_that_ignores_signals(world: World, tmp_path: Path) -> None:
    error = failure(world, raw(world, tmp_path, "start(); progress(1); hang()", SECOND))
    assert error.status is Status.TRAIN_BUDGET_OVERRUN
    assert str(error).startswith("killed: still training 0.6")
    assert str(error).endswith(" s after its start, with a budget of 0.1 s")


SECONDS = Budget(kind=BudgetKind.SECONDS, amount=3.0)


@pytest.mark.system
def test_a_long_start_up_is_taken_from_the_budget(world: World, tmp_path: Path) -> None:
    """The child is told, and one that does not care is killed that much earlier."""
    code = "time.sleep(1.5); start(); charged = json.loads(control.recv(1000))['charged_s']; "
    code += "send('progress', step=1, tokens=1, elapsed_s=charged, loss=1.0); hang()"
    caps, seen, began = Caps(free_startup_s=0.0), list[float](), 0.0
    spec = trial_spec(tmp_path, PRELUDE + code, isolation=world.level, caps=caps, budget=SECONDS)

    def told(progress: Progress) -> None:
        nonlocal began
        began = time.monotonic()
        seen.append(progress.elapsed_s)

    with TrialProcess.launch(spec, world.launcher, told) as process, pytest.raises(TrialError) as caught:
        process.train()
    trained_s = time.monotonic() - began
    (charged_s,) = seen
    assert caught.value.status is Status.TRAIN_BUDGET_OVERRUN
    assert f"with a budget of 3 s, of which its start-up spent {charged_s:.3g} s" in str(caught.value)
    assert 1.5 < charged_s < 3.0
    assert trained_s < SECONDS.amount + 1.0 - charged_s + 0.5


def test_a_start_up_may_spend_the_whole_budget(world: World, tmp_path: Path) -> None:
    """Also of a program that says that it has finished before it was given any data."""
    code = "time.sleep(0.3); start(); os.write(spec['state_fd'], b'x'); send('trained', summary={}); hang()"
    budget = Budget(kind=BudgetKind.SECONDS, amount=0.2)
    caps = Caps(free_startup_s=0.0)
    spec = trial_spec(tmp_path, PRELUDE + code, isolation=world.level, caps=caps, budget=budget)
    error = failure(world, spec)
    assert error.status is Status.TRAIN_BUDGET_OVERRUN
    assert str(error).startswith("killed: it was to start training with a budget of 0.2 s, of which its start-up spent")


def test_a_start_that_never_comes(world: World, tmp_path: Path) -> None:
    spec = trial_spec(tmp_path, PRELUDE + "hang()", isolation=world.level, caps=Caps(startup_s=0.3))
    error = failure(world, spec)
    assert error.status is Status.PREFLIGHT_CRASH
    assert str(error) == "killed: training had not started within 0.3 s"


def test_training_on_after_the_last_step(world: World, tmp_path: Path) -> None:
    error = failure(world, raw(world, tmp_path, "start(); progress(20); progress(24); progress(25); hang()"))
    assert error.status is Status.TRAIN_BUDGET_OVERRUN
    assert str(error) == "killed: still training at step 25, with a budget of 20 steps"


def test_a_step_budget_has_a_clock_too(world: World, tmp_path: Path) -> None:
    spec = trial_spec(tmp_path, PRELUDE + "start(); hang()", isolation=world.level, caps=Caps(train_s=0.1))
    assert failure(world, spec).status is Status.TRAIN_BUDGET_OVERRUN


def test_a_loss_that_is_not_a_number(world: World, tmp_path: Path) -> None:
    source = STANDIN.read_text().replace("smoothing: float = 4.0", "smoothing: float = 0.0")
    error = failure(world, trial_spec(tmp_path, source, isolation=world.level))
    assert (error.status, str(error)) == (Status.CRASH, "loss became NaN at step 1")


def test_a_loss_that_diverges(world: World, tmp_path: Path) -> None:
    source = STANDIN.read_text().replace("model.loss(inputs, targets), ", "10.0 ** session.progress * 5, ")
    error = failure(world, trial_spec(tmp_path, source, isolation=world.level))
    assert error.status is Status.CRASH
    assert str(error) == "loss diverged to 17.74 at step 12 (limit 16.64)"


@pytest.mark.parametrize("poison", ["nan", "inf"])
def test_logits_that_are_no_distribution(world: World, tmp_path: Path, poison: str) -> None:
    serve = f"session.serve(lambda rows: model.logits(rows) + np.float32('{poison}'))"
    error = failure(
        world,
        trial_spec(tmp_path, STANDIN.read_text().replace("session.serve(model.logits)", serve), isolation=world.level),
    )
    assert error.status is Status.DISQUALIFIED
    assert str(error) == "the model's logits are not a distribution: token 0 of row 0 would cost nan nats"


def test_logits_of_a_wrong_shape(world: World, tmp_path: Path) -> None:
    serve = "session.serve(lambda rows: model.logits(rows)[:, :, 1:])"
    error = failure(
        world,
        trial_spec(tmp_path, STANDIN.read_text().replace("session.serve(model.logits)", serve), isolation=world.level),
    )
    assert error.status is Status.CRASH
    assert str(error) == "its logits have another shape than [rows, length, vocab_size] while it was scored"


def test_a_hang_while_scored(world: World, tmp_path: Path) -> None:
    spec = trial_spec(
        tmp_path,
        PRELUDE + "start(); send('trained', summary={}); hang()",
        isolation=world.level,
        caps=Caps(score_s=0.2),
    )
    error = failure(world, spec)
    assert error.status is Status.EVAL_BUDGET_OVERRUN
    assert str(error) == "killed: not scored within 0.2 s"


def test_a_flood_of_messages(world: World, tmp_path: Path) -> None:
    endless = Budget(kind=BudgetKind.STEPS, amount=1e9)
    error = failure(world, raw(world, tmp_path, "start()\nfor step in range(1, 10**9): progress(step)", endless))
    assert (error.status, str(error)) == (Status.CRASH, "killed during training: it sent a flood of messages")


def test_daemons_do_not_survive(world: World, tmp_path: Path) -> None:
    code = """
read, write = os.pipe()
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        os.chdir("/")
        os.write(write, b"!")
        hang()
    os._exit(0)
os.wait()
start()
os.read(read, 1)
send("trained", summary={})
hang()
"""
    with TrialProcess.launch(raw(world, tmp_path, code), world.launcher) as process:
        process.train()
        # Its own number of the daemon may be one of another namespace: count from outside instead.
        below = [below for child in left_over() for below in child.children(recursive=True)]
        assert len(below) >= 2
    assert not any(psutil.pid_exists(each.pid) for each in below)


def test_a_flood_of_output_is_bounded(world: World, tmp_path: Path) -> None:
    flood = "os.write(1, b'first\\n'); [os.write(1, b'x' * 1_000_000) for _ in range(200)]; os.write(1, b'\\nlast\\n')"
    code = f"start(); {flood}; send('trained', summary={{}}); hang()"
    with TrialProcess.launch(raw(world, tmp_path, code), world.launcher) as process:
        outcome = process.train()
    assert len(outcome.log_tail) < 100_000
    assert "bytes left out" in outcome.log_tail


def test_memory_is_limited(world: World, tmp_path: Path) -> None:
    code = PRELUDE + "start(); hoard = [bytearray(50 << 20) for _ in range(8)]; hang()"
    error = failure(world, trial_spec(tmp_path, code, isolation=world.level, limits=Limits(memory_bytes=200 << 20)))
    assert error.status is Status.CRASH
    assert "killed" in str(error) and "it used " in str(error)
    assert "the limit of 200 MiB" in str(error)


def test_a_file_is_limited(world: World, tmp_path: Path) -> None:
    code = PRELUDE + "open('big', 'wb').write(bytes(9 << 20))"
    error = failure(
        world, trial_spec(tmp_path, code, isolation=world.level, limits=Limits(memory_bytes=2**30, disk_bytes=8 << 20))
    )
    assert "File too large" in str(error) or "SIGXFSZ" in str(error)
