"""The same programs at L1, where nothing keeps them from the machine: they reach what stronger levels deny them."""

from pathlib import Path

import pytest

from cli.attacks.arena import Fought, fight
from cli.attacks.catalogue import ATTACKS
from cli.attacks.judge import Verdict, judge
from cli.attacks.stage import set_stage
from rails.status import Status
from trainer.sandbox.levels import Isolation

OPEN_AT_L1 = [attack for attack in ATTACKS if attack.level > "L1" and attack.arena == "steps"]
"""All that only isolation stops; those on the standard library's text are too slow to be tried twice."""

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def fights(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Fought]:
    with pytest.MonkeyPatch.context() as patch:
        for module in ("graph.campaign.preflight", "tools.gpt"):
            patch.setattr(f"{module}.best_isolation", lambda: Isolation.L1)
        folder: Path = tmp_path_factory.mktemp("stage")
        with set_stage(folder) as stage:
            return {fought.name: fought for fought in fight(stage, "steps", OPEN_AT_L1, lambda fought: None)}


@pytest.mark.parametrize("name", [attack.name for attack in OPEN_AT_L1])
def test_it_does_harm_where_nothing_stops_it(fights: dict[str, Fought], name: str) -> None:
    judged = judge(fights[name])
    assert judged.fought.isolation == "L1"
    assert judged.verdict is Verdict.OPEN, judged.why


@pytest.mark.parametrize("name", ["read-validation", "train-before-start", "fetch-weights"])
def test_there_it_is_worth_keeping(fights: dict[str, Fought], name: str) -> None:
    assert judge(fights[name]).kept


@pytest.mark.parametrize("name", ["peek-leaked", "peek-scatter", "fetch-text"])
def test_blind_rows_find_what_no_isolation_kept_apart(fights: dict[str, Fought], name: str) -> None:
    assert fights[name].status is Status.DISQUALIFIED
    assert "it knows text that it was not to know" in fights[name].reason


def test_the_suite_cleans_up_after_them(fights: dict[str, Fought]) -> None:
    left = {what.removeprefix("file ") for fought in fights.values() for what in fought.residue if "file" in what}
    assert left
    assert not [path for path in left if Path(path).exists()]
