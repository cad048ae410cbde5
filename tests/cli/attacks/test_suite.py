"""Every cheat through the real loop, at the best isolation of this machine: nothing is kept, nothing is reached."""

import pytest

from cli.attacks.catalogue import ATTACKS
from cli.attacks.judge import Judged, Verdict
from cli.attacks.stage import set_stage
from cli.attacks.suite import run_attacks
from trainer.sandbox.levels import Isolation


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Judged]:
    with set_stage(tmp_path_factory.mktemp("stage")) as stage:
        return {row.attack.name: row for row in run_attacks(stage, ATTACKS, lambda fought: None)}


@pytest.mark.parametrize("name", [attack.name for attack in ATTACKS])
def test_attack(rows: dict[str, Judged], name: str) -> None:
    row = rows[name]
    if row.fought.isolation < row.attack.level:
        pytest.skip(f"{row.attack.level} promises to stop it, and trials run at {row.fought.isolation} here")
    assert row.verdict is Verdict.STOPPED, row.why
    assert not row.kept


def test_the_careless_evaluators_would_have_been_fooled(rows: dict[str, Judged]) -> None:
    fooled = {name: row.fought for name, row in rows.items() if row.attack.naive}
    assert len(fooled) > 10
    for name in ("peek", "fake-score", "unnormalised"):
        naive = fooled[name].naive
        assert naive is not None and naive < 0.1 * fooled[name].baseline


def test_the_machine_is_as_it_was(rows: dict[str, Judged]) -> None:
    if rows["peek"].fought.isolation < Isolation.L2:
        pytest.skip("below L2 trials may leave files")
    assert not [name for name, row in rows.items() if row.fought.residue]
