"""Edits of the training script, on source text: read and set knobs, and name edits and programs."""

import ast
import hashlib
from collections.abc import Mapping

from rails.menu import Menu
from rails.proposal import DiffEdit, KnobEdit
from rails.source.diffs import unified_diff
from rails.source.program import EditError, Literal, parse_program

__all__ = [
    "EditError",
    "apply_knob",
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


def edit_key(edit: KnobEdit | DiffEdit, menu: Menu) -> str:
    """Canonical text of an edit: `depth=3`, `lr=0.001`, or `diff:` and 12 hex digits. Equal edits have equal keys."""
    if isinstance(edit, KnobEdit):
        knob = menu.knobs.get(edit.knob)
        value = knob.normalise(edit.value) if knob is not None and knob.check(edit.value) is None else edit.value
        return f"{edit.knob}={value}"
    text = "\n".join(line.rstrip() for line in edit.diff.strip().splitlines())
    return f"diff:{hashlib.sha256(text.encode()).hexdigest()[:12]}"
