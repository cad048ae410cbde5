"""Knob edits on source text: only the literal changes, what is written is read back, and keys mean what they say."""

import ast
import math
import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rails.proposal import DiffEdit, KnobEdit
from rails.source.edits import EditError, apply_knob, edit_key, program_key, read_knobs, set_knobs
from rails.source.program import Literal, parse_program
from tests.support.reply_corpus import corpus_menu

SOURCE = '''\
# -*- coding: utf-8 -*-
"""Träining, with a doc string."""
from dataclasses import dataclass

@dataclass(frozen=True)  # decorated
class Knobs:
    """The knobs – all of them."""

    depth: int = 2  # blocks; größer is slower
    lr: float = (1e-3)
    """Peak rate."""
    shift: float = -0.5
    window: str = 'S' "L"; bias: bool = False
    ΔT: int = (  # odd, but Python
        -3
    )

    def steps(self) -> int:
        depth: int = 7
        return self.depth * depth

depth: int = 9
class Other:
    depth: int = 5
'''
KNOBS: dict[str, Literal] = {"depth": 2, "lr": 1e-3, "shift": -0.5, "window": "SL", "bias": False, "ΔT": -3}

NAMES = st.text(string.ascii_lowercase, min_size=1, max_size=6).map(lambda name: f"k_{name}")
FLOATS = st.floats(allow_nan=False, allow_infinity=False)
TEXTS = st.text(alphabet=st.characters(exclude_categories=("Cs",)), max_size=12)
LITERALS = st.integers(-(10**20), 10**20) | FLOATS | TEXTS | st.booleans()


@st.composite
def sources(draw: st.DrawFn) -> tuple[str, dict[str, Literal], str, Literal]:
    """A source, its knobs, and one knob with a new value of its type."""
    knobs = draw(st.dictionaries(NAMES, LITERALS, min_size=1, max_size=5))
    comments = st.text(alphabet=st.characters(exclude_categories=("Cs", "Cc")), max_size=8)
    fields = "".join(f"    {name}: object = {value!r}  # {draw(comments)}\n" for name, value in knobs.items())
    newline = draw(st.sampled_from(["\n", "\r\n"]))
    source = f"# {draw(comments)}\nx = 1\nclass Knobs:\n{fields}y = 2\n".replace("\n", newline)
    name = draw(st.sampled_from(sorted(knobs)))
    old = knobs[name]
    kind = {bool: st.booleans(), int: st.integers(-(10**20), 10**20), float: FLOATS, str: TEXTS}[type(old)]
    return source, knobs, name, draw(kind)


@given(sources())
def test_what_is_set_is_read_back_and_nothing_else_changes(case: tuple[str, dict[str, Literal], str, Literal]) -> None:
    source, knobs, name, value = case
    assert read_knobs(source, "Knobs") == knobs

    candidate = apply_knob(source, "Knobs", name, value)

    found = read_knobs(candidate, "Knobs")
    assert found == {**knobs, name: value}
    assert type(found[name]) is type(value)
    lines, changed = source.split("\n"), candidate.split("\n")
    differing = [index for index, pair in enumerate(zip(lines, changed, strict=True)) if pair[0] != pair[1]]
    assert len(differing) <= 1
    # Setting it back gives an equal program, and the same literal text twice gives the same bytes.
    assert program_key(apply_knob(candidate, "Knobs", name, knobs[name])) == program_key(source)
    assert apply_knob(candidate, "Knobs", name, value) == candidate


@given(sources())
def test_the_key_derived_for_a_candidate_is_the_key_of_its_text(
    case: tuple[str, dict[str, Literal], str, Literal],
) -> None:
    source, _, name, value = case
    candidate, key, idea_key = parse_program(source).with_knobs("Knobs", {name: value})
    parse_program.cache_clear()
    assert program_key(candidate) == key
    assert parse_program(candidate).idea_key == idea_key


def test_knobs_are_read_in_order() -> None:
    assert list(read_knobs(SOURCE, "Knobs").items()) == list(KNOBS.items())


@pytest.mark.parametrize(
    ("knob", "value", "old", "new"),
    [
        ("depth", 12, "depth: int = 2  # blocks", "depth: int = 12  # blocks"),
        ("depth", -1, "depth: int = 2  # blocks", "depth: int = -1  # blocks"),
        ("lr", 2e-4, "lr: float = (1e-3)", "lr: float = (0.0002)"),
        ("lr", 1, "lr: float = (1e-3)", "lr: float = (1.0)"),
        ("shift", 0.25, "shift: float = -0.5", "shift: float = 0.25"),
        ("window", "L", "window: str = 'S' \"L\"; bias", 'window: str = "L"; bias'),
        ("window", "it's", "window: str = 'S' \"L\"; bias", 'window: str = "it\'s"; bias'),
        ("window", 'a\n"\\', "window: str = 'S' \"L\"; bias", "window: str = 'a\\n\"\\\\'; bias"),
        ("bias", True, "bias: bool = False", "bias: bool = True"),
        ("ΔT", 5, "        -3\n", "        5\n"),
    ],
)
def test_only_the_literal_is_rewritten(knob: str, value: Literal, old: str, new: str) -> None:
    candidate = apply_knob(SOURCE, "Knobs", knob, value)
    assert candidate == SOURCE.replace(old, new, 1)
    assert read_knobs(candidate, "Knobs") == {**KNOBS, knob: value}


def test_several_knobs_are_set_at_once() -> None:
    candidate = set_knobs(SOURCE, "Knobs", {"bias": True, "depth": 100, "ΔT": 0})
    assert read_knobs(candidate, "Knobs") == {**KNOBS, "bias": True, "depth": 100, "ΔT": 0}
    assert set_knobs(SOURCE, "Knobs", {}) == SOURCE


@pytest.mark.parametrize(
    ("knob", "value", "reason"),
    [
        ("dept", 1, r"has no field 'dept' \(did you mean 'depth'\?\)"),
        ("steps", 1, "has no field 'steps'"),
        ("depth", 2.0, "does not fit its field, which holds 2"),
        ("depth", True, "does not fit"),
        ("depth", "2", "does not fit"),
        ("bias", 1, "does not fit"),
        ("window", 3, "does not fit"),
        ("lr", math.nan, "not a finite number"),
        ("lr", math.inf, "not a finite number"),
        ("lr", 10**400, "does not fit"),
        ("depth", 10**400, "too large"),
    ],
)
def test_an_edit_that_does_not_fit_says_why(knob: str, value: Literal, reason: str) -> None:
    with pytest.raises(EditError, match=reason):
        apply_knob(SOURCE, "Knobs", knob, value)


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("    x: int\n", "has no literal value"),
        ("    x: int = 1 + 1\n", "has no literal value"),
        ("    x: int = None\n", "has no literal value"),
        ("    x: float = 1e999\n", "has no literal value"),
        ("    x: bool = -True\n", "has no literal value"),
        ("    x: list = field(default_factory=list)\n", "has no literal value"),
        ("    x: int = 1\n    x: int = 2\n", "defined twice"),
        ("    x: int = 1\n    x = 2\n", "may hold only annotated fields"),
        ("    x: int = 1\n    for x in (2, 3): pass\n", "may hold only annotated fields"),
        ("    x: int = 1\n    if True:\n        x: int = 2\n", "may hold only annotated fields"),
        ("    self.x: int = 1\n", "may hold only annotated fields"),
    ],
)
def test_a_class_that_is_more_than_literal_fields_is_refused(body: str, reason: str) -> None:
    with pytest.raises(EditError, match=reason):
        read_knobs(f"class Knobs:\n{body}", "Knobs")


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("x = 1\n", "there is no class Knobs"),
        ("def f():\n    class Knobs:\n        x: int = 1\n", "there is no class Knobs"),
        ("class Knobs:\n    x: int = 1\nclass Knobs:\n    x: int = 2\n", "more than one class Knobs"),
        ("class Knobs(Base):\n    x: int = 1\n", "must not inherit"),
        ("class Knobs:\n    x: int = 1\n  y\n", "not valid Python: .* at line 3"),
        ("x = 1\0", "null byte"),
        ("x = '\udc80'", "surrogate"),
        ("x = " + "(" * 5_000, "not valid Python|nesting too deep"),
        ("x = " + "-" * 50_000 + "1", "nesting too deep"),
        ("x = " + "9" * 5_000, "not valid Python"),
    ],
)
def test_what_is_no_program_with_knobs_is_refused(source: str, reason: str) -> None:
    with pytest.raises(EditError, match=reason):
        read_knobs(source, "Knobs")


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("# blocks; größer is slower", "# anything"),
        ('"""Träining, with a doc string."""\n', ""),
        ('    """Peak rate."""\n', ""),
        ("(1e-3)", "0.001"),
        ("'S' \"L\"", "'SL'"),
        ("        -3\n", "        -0x3\n"),
        ("depth: int = 9\n", "\n\ndepth:int=9\n"),
    ],
)
def test_what_does_not_matter_leaves_the_key(old: str, new: str) -> None:
    assert old in SOURCE
    assert program_key(SOURCE.replace(old, new)) == program_key(SOURCE)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("depth: int = 2", "depth: int = 3"),
        ("depth: int = 2", "depth: int = 2.0"),
        ("bias: bool = False", "bias: bool = 0"),
        ("depth: int = 9\n", ""),
        ("class Other", "class Another"),
        ("self.depth * depth", "depth * self.depth"),
    ],
)
def test_what_matters_changes_the_key(old: str, new: str) -> None:
    assert old in SOURCE
    assert program_key(SOURCE.replace(old, new)) != program_key(SOURCE)


def test_a_key_of_odd_programs() -> None:
    assert len(program_key("")) == 64
    assert program_key("def f():\n    'doc'\n") == program_key("def f(): pass\n")
    assert program_key("x = 0x" + "f" * 5_000) != program_key("x = 0x" + "f" * 4_999)
    assert program_key("x = '\\ud800'") != program_key("x = '\\ud801'")
    assert program_key("x = '\\d'") == program_key("x = '\\\\d'")


def test_editing_leaves_the_kept_analysis_alone() -> None:
    before = ast.dump(parse_program(SOURCE).tree)
    apply_knob(SOURCE, "Knobs", "depth", 12)
    parse_program(SOURCE).knobs("Knobs").clear()
    assert ast.dump(parse_program(SOURCE).tree) == before
    assert read_knobs(SOURCE, "Knobs") == KNOBS


def test_equal_edits_have_equal_names() -> None:
    menu = corpus_menu()
    assert edit_key(KnobEdit(knob="n_layer", value=12), menu) == "n_layer=12"
    assert edit_key(KnobEdit(knob="grad_clip", value=2), menu) == "grad_clip=2.0"
    assert edit_key(KnobEdit(knob="grad_clip", value=2.0), menu) == "grad_clip=2.0"
    assert edit_key(KnobEdit(knob="precision", value="bf16"), menu) == "precision=bf16"
    first = edit_key(DiffEdit(diff="--- a/x\n+++ b/x\n@@ -1 +1 @@\n-a\n+b\n"), menu)
    assert first == edit_key(DiffEdit(diff="\n--- a/x\r\n+++ b/x\n@@ -1 +1 @@  \n-a\n+b"), menu)
    assert first != edit_key(DiffEdit(diff="--- a/x\n+++ b/x\n@@ -1 +1 @@\n-a\n+c\n"), menu)
    assert len(first) == len("diff:") + 12
