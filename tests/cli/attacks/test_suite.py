"""Every cheat through the real loop, at the best isolation of this machine: nothing is kept, nothing is reached.

With --all a cheat of each kind and one in sixteen of the others; with --runslow all, as by `doctor --attacks`.
"""

from typing import Any

import pytest

from cli.attacks.catalogue import ATTACKS
from cli.attacks.judge import Judged, Verdict
from cli.attacks.stage import set_stage
from cli.attacks.suite import run_attacks
from trainer.sandbox.levels import Isolation

OF_EACH_KIND = ("peek", "unnormalised", "fake-score", "overtrain-steps", "read-validation", "tamper")
"""Look ahead, lie, only claim, take more than the budget, read and write what is another's: in the cheapest arena."""


OTHERS = [attack.name for attack in ATTACKS if attack.name not in OF_EACH_KIND]
SAMPLE = OTHERS[::16]


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory, runs_slow: bool) -> dict[str, Judged]:
    wanted = {*OF_EACH_KIND, *(OTHERS if runs_slow else SAMPLE)}
    attacks = [attack for attack in ATTACKS if attack.name in wanted]
    with set_stage(tmp_path_factory.mktemp("stage")) as stage:
        return {row.attack.name: row for row in run_attacks(stage, attacks, lambda fought: None)}


def names() -> list[Any]:
    """All attacks, each with when it is tried."""
    sample = {*OF_EACH_KIND, *SAMPLE}
    return [
        pytest.param(name, marks=pytest.mark.system if name in sample else pytest.mark.slow)
        for name in (*OF_EACH_KIND, *OTHERS)
    ]


@pytest.mark.parametrize("name", names())
def test_attack(rows: dict[str, Judged], name: str) -> None:
    row = rows[name]
    if row.fought.isolation < row.attack.level:
        pytest.skip(f"{row.attack.level} promises to stop it, and trials run at {row.fought.isolation} here")
    assert row.verdict is Verdict.STOPPED, row.why
    assert not row.kept


@pytest.mark.system
def test_the_careless_evaluators_would_have_been_fooled(rows: dict[str, Judged]) -> None:
    for name in ("peek", "fake-score", "unnormalised"):
        fought = rows[name].fought
        assert fought.naive is not None and fought.naive < 0.1 * fought.baseline


def test_many_attacks_are_on_the_score_itself() -> None:
    assert len([attack for attack in ATTACKS if attack.naive]) > 10


@pytest.mark.system
def test_the_machine_is_as_it_was(rows: dict[str, Judged]) -> None:
    if rows["peek"].fought.isolation < Isolation.L2:
        pytest.skip("below L2 trials may leave files")
    assert not [name for name, row in rows.items() if row.fought.residue]
