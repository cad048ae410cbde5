"""The form that sets several knobs at once: every rail judges it, and a keep says which knobs moved."""

import json
from dataclasses import replace
from typing import Any

import pytest

from memory.lineage.knobs import knobs_after
from rails.guard import CheckResult, RailContext
from rails.menu import Menu
from rails.source.edits import program_key
from rails.task import EditConfig
from tests.support.proposals import make_trial
from tests.support.reply_corpus import corpus_menu, corpus_rails, corpus_source

SOURCE = corpus_source()
CONTEXT = RailContext(menu=corpus_menu(), source=SOURCE, modes=("knob", "knobs"))


def check(values: Any, **changes: Any) -> CheckResult:
    raw = json.dumps({"knobs": values, "reason": "together"})
    return corpus_rails().check(raw, replace(CONTEXT, **changes))


def two_knobs(menu: Menu) -> dict[str, Any]:
    """Another value of each of the first two knobs that have one without breaking a rule."""
    found: dict[str, Any] = {}
    for name, knob in menu.knobs.items():
        values = knob.choices or knob.range or ()
        other = next((value for value in values if value != knob.default), None)
        defaults = menu.defaults()
        if other is not None and menu.broken_rule({**defaults, **found, name: other}) is None:
            found[name] = other
        if len(found) == 2:
            return found
    raise AssertionError("the corpus has too few knobs")


def test_several_knobs_come_back_whole() -> None:
    values = two_knobs(CONTEXT.menu)
    result = check(dict(reversed(values.items())))
    assert result.ok, result.reason
    assert result.proposal is not None and result.candidate_source is not None
    edit = result.proposal.model_dump()["edit"]
    assert edit == {"kind": "knobs", "values": values} and list(edit["values"]) == list(values)
    assert result.edit_key == ", ".join(f"{name}={value}" for name, value in edit["values"].items())
    assert knobs_after(make_trial(1, "x", 1, None, edit=edit)) == values
    assert result.program_key == program_key(result.candidate_source) != program_key(SOURCE)
    assert check(values, tried={result.program_key: "trial 3: discard"}).rail == "novelty"


@pytest.mark.parametrize(
    ("values", "rail"),
    [
        ({}, "schema"),
        ([["depth", 3]], "schema"),
        ({"depth": [3]}, "schema"),
        ({"no_such_knob": 3}, "menu"),
    ],
)
def test_what_is_no_setting_is_refused(values: Any, rail: str) -> None:
    assert check(values).rail == rail


def test_each_value_the_rules_and_what_changes_nothing_are_judged() -> None:
    menu, values = CONTEXT.menu, two_knobs(CONTEXT.menu)
    first = next(iter(values))
    assert check({**values, first: "nonsense"}).rail == "range"
    assert check(dict.fromkeys(values, None) | {name: menu.knobs[name].default for name in values}).rail == "novelty"
    assert check(values, modes=("knob",)).rail == "schema"
    assert check(values, outside=lambda found: "nothing is recorded there").rail == "outside"


def test_the_form_is_for_searches_beside_others() -> None:
    assert EditConfig(modes=("knob", "knobs")).modes == ("knob", "knobs")
    with pytest.raises(ValueError, match="beside"):
        EditConfig(modes=("knobs",))
