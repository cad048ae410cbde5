"""The JSON menu file, and what a knob says of a value."""

import json
import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rails.errors import UserError
from rails.menu import Knob, Menu, load_menu
from tests.support.reply_corpus import MENU_FILE, corpus_menu

JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)


def write(tmp_path: Path, menu: object) -> Path:
    path = tmp_path / "menu.json"
    path.write_text(menu if isinstance(menu, str) else json.dumps(menu))
    return path


def changed(**knob: Any) -> dict[str, Any]:
    return {"knobs": {**MENU_FILE["knobs"], "lr": {**MENU_FILE["knobs"]["lr"], **knob}}}


@given(st.sampled_from(sorted(MENU_FILE["knobs"])), JSON_VALUES | st.integers(0, 3000) | st.floats(0, 5))
def test_an_allowed_value_is_one_of_the_type_and_normalises_to_an_allowed_value(name: str, value: Any) -> None:
    knob = corpus_menu().knobs[name]
    reason = knob.check(value)
    if reason is not None:
        assert reason.startswith(f"{name} = ")
        assert reason.isprintable()
        return
    assert not isinstance(value, bool)
    normal = knob.normalise(value)
    assert type(normal) is {"int": int, "float": float, "str": str}[knob.type]
    assert normal == value
    assert knob.check(normal) is None
    assert knob.normalise(normal) == normal


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, True, "0.001", None, [], {}, 10**400, -(10**400), 1])
def test_a_float_knob_refuses(value: object) -> None:
    assert corpus_menu().knobs["lr"].check(value) is not None


def test_reasons_name_the_knob_the_value_and_what_is_allowed() -> None:
    knobs = corpus_menu().knobs
    assert knobs["lr"].check(0.5) == "lr = 0.5: a number from 1e-05 to 0.01"
    assert knobs["n_head"].check(12) == "n_head = 12: one of 3, 4, 8, 16, 32"
    assert knobs["precision"].check("int4\nsystem:") == "precision = 'int4 system -': one of 'bf16', 'fp8'"
    assert knobs["n_layer"].check(12.0) == "n_layer = 12.0: a whole number from 4 to 48"
    assert knobs["weight_decay"].check(True) == "weight_decay = true: a number from 0.0 to 0.5"


def test_minus_zero_is_zero() -> None:
    assert math.copysign(1, float(corpus_menu().knobs["weight_decay"].normalise(-0.0))) == 1


def test_a_menu_survives_the_store() -> None:
    menu = corpus_menu()
    assert Menu.model_validate_json(menu.model_dump_json()) == menu


def test_a_size_rule_may_stand_in_a_menu_file(tmp_path: Path) -> None:
    size = {"memory_bytes": "n_layer * d_model", "limit_bytes": 100_000}
    menu = load_menu(write(tmp_path, {**MENU_FILE, "size": size}))
    assert menu.size_problem({**menu.defaults(), "n_layer": 48}, limit_bytes=None) is None
    menu = load_menu(write(tmp_path, {**MENU_FILE, "size": {"memory_bytes": "n_layer * d_model"}}))
    assert menu.size_problem(menu.defaults(), limit_bytes=None) is None
    problem = menu.size_problem(menu.defaults(), limit_bytes=20_000)
    assert problem == "it needs about 2.458e-05 GB of memory, and 2e-05 GB are allowed"


@pytest.mark.parametrize(
    ("menu", "reason"),
    [
        ('{"knobs": {}, "knobs": {}}', "the same key appears twice"),
        ('{"knobs": {"a": {"type": "float", "range": [NaN, 1], "default": 1}}}', "NaN and Infinity"),
        ("[1]", "not a JSON object"),
        ("3", "not a JSON object"),
        ("", "not valid JSON"),
        ('{"knobs": {}} x', "text after the JSON object"),
        ({}, "knobs: the key is missing"),
        ({"knobs": []}, "knobs: it should be a table"),
        ({"knobs": {"lr": 3}}, "knobs.lr: it should be a table; got 3"),
        ({**MENU_FILE, "cross_constraint": []}, "cross_constraint: unknown key (did you mean 'cross_constraints'?)"),
        (changed(_note="x"), "knobs.lr._note: unknown key"),
        (changed(default=1), "the default is not allowed by the menu itself: lr = 1: a number from 1e-05 to 0.01"),
        (changed(default="x"), "lr = 'x': a number from 1e-05 to 0.01"),
        (changed(type="number"), "knobs.lr.type: it should be 'int', 'float' or 'str'"),
        (changed(choices=[0.001]), "exactly one of the two"),
        (changed(name="other"), "has another name inside"),
        ({**changed(), "cross_constraints": [{"id": "a", "rule": "lr < 1"}] * 2}, "two cross constraints have the id"),
        ({**changed(), "cross_constraints": [{"id": "a", "rule": "lr"}]}, "is not true or false"),
        ({**changed(), "cross_constraints": {"id": "a"}}, "cross_constraints: it should be a list"),
        ({**changed(), "size": {"memory_bytes": "1 / 0"}}, "division by zero"),
    ],
)
def test_a_menu_that_cannot_be_is_refused_in_one_sentence(tmp_path: Path, menu: object, reason: str) -> None:
    path = write(tmp_path, menu)
    with pytest.raises(UserError) as caught:
        load_menu(path)
    assert str(caught.value).startswith(str(path))
    assert reason in str(caught.value)


def test_a_toml_without_a_menu_says_so(tmp_path: Path) -> None:
    path = tmp_path / "task.toml"
    path.write_text('name = "x"\n')
    with pytest.raises(UserError, match=r"there is no \[menu\] table"):
        load_menu(path)


def test_a_knob_needs_no_file() -> None:
    knob = Knob(name="depth", type="int", range=(1, 4), default=2)
    assert knob.check(4) is None
    assert knob.check(5) == "depth = 5: a whole number from 1 to 4"
