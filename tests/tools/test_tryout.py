"""The tryout: what would crash a training shows in seconds, and what would not is let through."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import trainer.trial.tryout
from graph.services import Services
from rails.errors import TrialError
from rails.status import Status
from tests.support.workspaces import STANDIN, make_quick_workspace, standin_campaign

SOURCE = STANDIN.read_text(encoding="utf-8")
LEARN = "        model.learn(inputs, targets)\n"


@pytest.fixture(scope="module")
def services(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Services]:
    with standin_campaign(make_quick_workspace(tmp_path_factory.mktemp("tryout"))) as services:
        yield services


def edited(old: str, new: str) -> str:
    assert old in SOURCE
    return SOURCE.replace(old, new)


@pytest.mark.parametrize(
    ("old", "new", "reason", "detail"),
    [
        (LEARN, "        inputs @ targets[:, :3]\n", "ValueError: matmul", "line "),
        (LEARN, "        model.learns(inputs, targets)\n", "AttributeError: 'NGram' object", "model.learns("),
        ("session.step(model.loss(inputs, targets)", "session.step(float('nan')", "loss became NaN at step 1", ""),
        ("    model = NGram(", "    model = NGramm(", "NameError: name 'NGramm'", "NGramm"),
        ("reshape(*rows.shape, -1)", "reshape(*rows.shape, -1)\n        return answer[:, 1:]", "another shape", ""),
    ],
    ids=["shape", "attribute", "nan", "name", "answer"],
)
def test_what_would_crash_crashes_at_once(services: Services, old: str, new: str, reason: str, detail: str) -> None:
    with pytest.raises(TrialError, match="tried out on one step: ") as caught:
        services.trainer.try_out(edited(old, new), 0)
    assert caught.value.status is Status.PREFLIGHT_CRASH
    assert reason in caught.value.what
    assert detail in caught.value.detail


def test_a_loop_without_an_end_is_cut_short(services: Services, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trainer.trial.tryout, "STEP_S", 0.5)
    started = time.monotonic()
    with pytest.raises(TrialError, match=r"its first step was not done after 0\.5 s") as caught:
        services.trainer.try_out(edited(LEARN, "        while True:\n            pass\n"), 0)
    assert caught.value.status is Status.PREFLIGHT_CRASH
    assert time.monotonic() - started < 10


def test_an_honest_program_makes_one_step_with_its_own_batch_and_budget(services: Services, tmp_path: Path) -> None:
    seen = (
        "        model.learn(inputs, targets)\n"
        "        as_told = session.budget.amount == 20 and len(inputs) == knobs.rows\n"
        "        if not (session.done and session.progress == 1.0 and as_told):\n"
        "            raise SystemExit('not as in its training')\n"
    )
    services.trainer.try_out(edited(LEARN, seen), 0)


def test_a_program_that_looks_at_the_clock_between_epochs_only_is_no_crash(services: Services) -> None:
    several = edited(
        "        inputs, targets = next(batches)\n        session.step(model.loss(inputs, targets), targets.size)\n",
        "        for _ in range(3):\n"
        "            inputs, targets = next(batches)\n"
        "            session.step(model.loss(inputs, targets), targets.size)\n",
    )
    services.trainer.try_out(several, 0)
