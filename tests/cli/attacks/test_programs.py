"""The attacking programs are edits of today's train.py, and say so when it changes."""

import ast
from importlib import resources

import pytest

from cli.attacks.arena import arena_program
from cli.attacks.catalogue import ATTACKS
from cli.attacks.controls import CONTROLS
from cli.attacks.splice import SpliceError, edited
from rails.source.code_reply import apply_code
from rails.source.contract import broken_contract
from rails.source.diffs import unified_diff
from rails.source.lint import forbidden_use
from rails.source.names import undefined_use
from rails.source.program import parse_program
from tests.support.variants import first

PROGRAMS = first(10, sorted({attack.program for attack in ATTACKS}))
PARAMS = {"mark": "nsat000000", "folders": ["/x"], "text": 'quotes " and \\ and \n'}


@pytest.mark.parametrize("program", PROGRAMS)
def test_a_program_is_an_edit_of_the_real_one(program: str) -> None:
    source = arena_program()
    text = edited(source, program, PARAMS)
    tree = ast.parse(text)
    names = [node.name for node in tree.body if isinstance(node, ast.FunctionDef | ast.ClassDef)]
    assert names.count("main") == 1 and "GPT" in names
    assert "cli.attacks" not in text and "trainer.train" not in text
    given = next(node for node in tree.body if isinstance(node, ast.AnnAssign) and ast.unparse(node.target) == "PARAMS")
    assert given.value is not None and ast.literal_eval(given.value) == PARAMS
    assert apply_code(source, unified_diff(source, text, "train.py"), "train.py") == text


@pytest.mark.parametrize("program", PROGRAMS)
def test_a_program_gets_past_the_rails_and_is_stopped_by_what_comes_behind(program: str) -> None:
    honest, attack = (parse_program(text) for text in (arena_program(), edited(arena_program(), program, PARAMS)))
    reasons = (forbidden_use(honest, attack), undefined_use(honest, attack), broken_contract(honest, attack, "Knobs"))
    assert reasons == (None, None, None)


def test_every_program_is_in_the_catalogue() -> None:
    files = {file.name.removesuffix(".py") for file in resources.files("cli.attacks.programs").iterdir()}
    assert files - {"__init__", "common", "__pycache__"} == {attack.program for attack in ATTACKS}
    assert len({attack.name for attack in ATTACKS}) == len(ATTACKS)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("def main() -> None:", "def run() -> None:", "define main exactly once; it does 0"),
        ("def load(model", "def load_state(model", "no longer has load"),
    ],
)
def test_a_changed_train_py_is_noticed(old: str, new: str, message: str) -> None:
    with pytest.raises(SpliceError, match=message):
        edited(arena_program().replace(old, new), "peek", PARAMS)


def test_twenty_different_honest_programs() -> None:
    source = arena_program()
    programs = {control.program(source) for control in CONTROLS}
    assert len(CONTROLS) == len(programs) == len({control.name for control in CONTROLS}) == 20
    assert source not in programs
    for program in programs:
        ast.parse(program)


def test_a_control_that_no_longer_applies_is_noticed() -> None:
    with pytest.raises(ValueError, match="which is there 0 times"):
        CONTROLS[-1].program("x = 1\n")
