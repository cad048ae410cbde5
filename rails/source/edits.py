"""Edits of the training script, on source text: read and set knobs, and name edits and programs."""

import ast
import hashlib
from collections.abc import Mapping

from rails.menu import KnobValue, Menu
from rails.proposal import DiffEdit, KnobEdit, KnobsEdit
from rails.source.diffs import unified_diff
from rails.source.program import EditError, Literal, parse_program

__all__ = [
    "EditError",
    "apply_knob",
    "changed_knobs",
    "edit_key",
    "program_key",
    "program_size",
    "read_knobs",
    "set_knobs",
    "unified_diff",
]


def read_knobs(source: str, class_name: str) -> dict[str, Literal]:
    """The literal defaults of the knobs class, in order.

    Raises:
        EditError: not Python, no such class at the top level, or a class that holds anything but annotated fields
            with literal values (int, float, str, bool) and methods.
    """
    return {name: field.value for name, field in parse_program(source).knobs(class_name).items()}


def apply_knob(source: str, class_name: str, knob: str, value: Literal) -> str:
    """The source with one field's literal changed and every other byte as it was.

    Raises:
        EditError: as `read_knobs`; no such field; a value of another type than the literal (an int is taken for a
            float) or not finite.
    """
    return set_knobs(source, class_name, {knob: value})


def set_knobs(source: str, class_name: str, values: Mapping[str, Literal]) -> str:
    """The source with several fields' literals changed; see `apply_knob`."""
    return parse_program(source).with_knobs(class_name, values).source


def program_key(source: str) -> str:
    """SHA-256 (hex) of the program's normalised syntax tree: comments, docstrings and formatting do not matter.

    Raises:
        EditError: not Python.
    """
    return parse_program(source).key


def program_size(source: str) -> int:
    """The number of nodes of the program's normalised syntax tree: how much there is to read, layout apart.

    Raises:
        EditError: not Python.
    """
    return sum(not isinstance(node, ast.expr_context) for node in ast.walk(parse_program(source).tree))


def changed_knobs(edit: KnobEdit | KnobsEdit | DiffEdit) -> Mapping[str, KnobValue]:
    """The knobs that an edit sets, with their values; nothing for a change of the code."""
    match edit:
        case KnobEdit():
            return {edit.knob: edit.value}
        case KnobsEdit():
            return edit.values
        case DiffEdit():
            return {}


def edit_key(edit: KnobEdit | KnobsEdit | DiffEdit, menu: Menu) -> str:
    """Canonical text of an edit: `depth=3`, `depth=3, lr=0.001`, or `diff:` and 12 hex digits.

    Equal edits have equal keys; of several knobs those of the menu come in its order.
    """
    if not isinstance(edit, DiffEdit):
        values = changed_knobs(edit)
        names = [*(name for name in menu.knobs if name in values), *(name for name in values if name not in menu.knobs)]
        return ", ".join(f"{name}={_normal(menu, name, values[name])}" for name in names)
    text = "\n".join(line.rstrip() for line in edit.diff.strip().splitlines())
    return f"diff:{hashlib.sha256(text.encode()).hexdigest()[:12]}"


def _normal(menu: Menu, name: str, value: KnobValue) -> KnobValue:
    knob = menu.knobs.get(name)
    return knob.normalise(value) if knob is not None and knob.check(value) is None else value
