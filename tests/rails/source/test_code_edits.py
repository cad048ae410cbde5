"""Edits of code in every form that models write: each gives the program that a person says it means, or a reason."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from rails.checks.context import CheckResult, RailContext
from rails.guard import Rails
from rails.menu import Menu
from rails.source.code_reply import FORM, apply_code
from rails.source.program import EditError, parse_program
from rails.text import REASON_LIMIT
from tests.support.edit_cases import CLEAR, SCRIPT, UNCLEAR, EditCase, behind

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:typer")

NOT_TAKEN = {"SEARCH and REPLACE in words", "a diff with one wrong line of context"}
"""What a person would understand and the rails do not."""


@pytest.fixture(scope="module")
def checked() -> dict[str, CheckResult]:
    knobs = {
        "depth": {"type": "int", "range": [1, 8], "default": 2},
        "width": {"type": "int", "choices": [32, 64, 128], "default": 64},
        "lr": {"type": "float", "range": [0.001, 1.0], "default": 0.01},
    }
    menu = Menu.model_validate({"knobs": knobs})
    rails, context = Rails(menu), RailContext(menu=menu, source=SCRIPT)
    return {case.name: rails.check(case.raw, context) for case in [*CLEAR, *UNCLEAR]}


@pytest.mark.parametrize("case", CLEAR, ids=[case.name for case in CLEAR])
def test_a_clear_edit_gives_the_program_that_it_means(case: EditCase, checked: dict[str, CheckResult]) -> None:
    result = checked[case.name]
    if case.name in NOT_TAKEN:
        assert result.candidate_source is None
        return
    assert result.candidate_source == case.wanted, result.reason
    assert result.proposal is not None and result.diff is not None
    # What is stored is the diff that it comes to, in whatever form it was written.
    assert result.proposal.model_dump()["edit"] == {"kind": "diff", "diff": result.diff}
    assert apply_code(SCRIPT, result.diff, "train.py") == case.wanted


@pytest.mark.parametrize("case", UNCLEAR, ids=[case.name for case in UNCLEAR])
def test_any_other_edit_is_refused_with_what_is_wrong(case: EditCase, checked: dict[str, CheckResult]) -> None:
    result = checked[case.name]
    assert not result.ok and result.candidate_source is None
    assert result.reason is not None and case.reason in result.reason
    assert len(result.reason) <= REASON_LIMIT


def test_nine_of_ten_clear_edits_are_taken() -> None:
    assert len(CLEAR) >= 30 and len({case.name for case in [*CLEAR, *UNCLEAR]}) == len(CLEAR) + len(UNCLEAR)
    assert len(NOT_TAKEN) <= len(CLEAR) / 10


def test_equal_edits_in_different_forms_have_one_key(checked: dict[str, CheckResult]) -> None:
    same = {checked[case.name].edit_key for case in CLEAR if case.wanted == CLEAR[0].wanted} - {None}
    refused = {checked[name].edit_key for name in NOT_TAKEN}
    assert len(same - refused) == 1


def test_the_form_shown_to_models_is_taken_as_it_is() -> None:
    source = (
        "class MLP:\n    def forward(self, x_BTD):\n        return x_BTD\n\n"
        "def scale(progress, knobs):\n    return progress / knobs.warmup_frac\n"
    )
    edit = FORM[FORM.index("<<<<<<<") : FORM.index("\n\nThere may be")] + "\n" + FORM[FORM.index("REPLACE FUNCTION") :]
    assert apply_code(source, edit, "train.py") == (
        "class MLP:\n    def forward(self, x_BTD):\n"
        "        return linear(F.gelu(linear(x_BTD, self.up)), self.down)\n\n"
        "def scale(progress, knobs):\n    return (progress / knobs.warmup_frac) ** 2\n"
    )


LINE = st.sampled_from(["a = 1", "b = 2", "if c:", "    d = 3", "        e(4)", "", "f()", "    # g", "h = '<'"])
PROGRAM = st.lists(LINE, min_size=1, max_size=12)


def written(old: list[str], new: list[str]) -> str:
    return "\n".join(["<<<<<<< SEARCH", *old, "=======", *new, ">>>>>>> REPLACE"])


@given(PROGRAM, PROGRAM)
@example(["a = 1"], [""])
def test_a_block_from_one_program_to_another_gives_the_other(old: list[str], new: list[str]) -> None:
    source, wanted = ("".join(f"{line}\n" for line in lines) for lines in (old, new))
    if not any(line.strip() for line in old):
        with pytest.raises(EditError, match="is empty"):
            apply_code(source, written(old, new), "train.py")
    else:
        assert apply_code(source, written(old, new), "train.py") == wanted


@given(PROGRAM, PROGRAM, st.integers(0, 8), st.sampled_from(["", " ", "\t", "\r"]))
def test_indentation_and_trailing_space_of_a_whole_block_do_not_matter(
    old: list[str], new: list[str], margin: int, tail: str
) -> None:
    old, new = (["a = 1", *(line for line in lines if line), "f()"] for lines in (old, new))
    source, wanted = ("".join(f"    {line}\n" for line in lines) for lines in (old, new))
    moved = [[f"{' ' * margin}{line}{tail}" for line in lines] for lines in (old, new)]
    found = apply_code(source, written(*moved), "train.py")
    assert [line.rstrip() for line in found.split("\n")] == wanted.split("\n")


@given(st.lists(st.tuples(PROGRAM, PROGRAM), min_size=1, max_size=3), PROGRAM)
@example([(["a = 1"], ["a = 1"]), (["b = 2"], ["a = 1"]), (["a = 1"], ["b = 2"])], ["b = 2"])
@example([(["a = 1"], ["b = 2", "a = 1"]), (["a = 1"], ["b = 2"]), (["a = 1"], ["b = 2", "a = 1"])], ["a = 1"])
def test_edits_are_applied_all_or_none(pairs: list[tuple[list[str], list[str]]], lines: list[str]) -> None:
    """What comes out is what each edit alone says, one after the other; else there is a reason and nothing else."""
    source = "".join(f"{line}\n" for line in lines)
    try:
        found = apply_code(source, "\n".join(written(*pair) for pair in pairs), "train.py")
    except EditError as error:
        assert error.what.isprintable()
        return
    said = [(old, new) for at, (old, new) in enumerate(pairs) if old != new and (old, new) not in pairs[:at]]
    if said:  # what is said again counts once, where it was said first; a later one may undo an earlier one
        assert all(line.strip() in found for line in said[-1][1])


@given(st.text(alphabet='<=>SEARCH\n `#defclass():FUNCTION ab@-+.{}"', max_size=120))
def test_any_text_behind_a_header_is_an_edit_or_has_a_reason(text: str) -> None:
    try:
        apply_code(SCRIPT, text, "train.py")
    except EditError as error:
        assert error.what and error.what.isprintable()


def test_the_script_of_the_cases_is_a_program() -> None:
    assert parse_program(SCRIPT).knobs("Knobs").keys() == {"depth", "width", "lr", "warmup"}
    assert behind("x").count("\n") == 1
