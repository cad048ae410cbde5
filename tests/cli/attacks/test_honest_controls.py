"""Twenty honest programs through the real loop, those that would be kept under the deepest probes: none is wronged."""

import pytest

from cli.attacks.arena import Fought
from cli.attacks.controls import CONTROLS
from cli.attacks.stage import set_stage
from cli.attacks.suite import run_controls
from rails.status import FINISHED, Status

# `nightshift doctor --attacks` fights them all; tests/graph/measuring/test_scoring.py has honest programs, too.
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def controls(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Fought, str]]:
    with set_stage(tmp_path_factory.mktemp("stage")) as stage:
        return {fought.name: (fought, wrong) for fought, wrong in run_controls(stage, lambda fought: None)}


@pytest.mark.parametrize("name", [control.name for control in CONTROLS])
def test_honest_control(controls: dict[str, tuple[Fought, str]], name: str) -> None:
    fought, wrong = controls[name]
    assert not wrong
    assert fought.status in FINISHED


def test_some_are_kept(controls: dict[str, tuple[Fought, str]]) -> None:
    kept = [name for name, (fought, _) in controls.items() if fought.status is Status.KEEP]
    assert kept, "without a keep nothing was probed deeply"
