"""A tool that says before a trial whether a knob setting is legal and what memory it would need."""

import rails.bootstrap  # noqa: F401  # pyright: ignore[reportUnusedImport]

# isort: split
from collections.abc import Mapping

from langchain_core.tools import BaseTool, StructuredTool

from rails.expressions import ExpressionError
from rails.menu import KnobValue, Menu
from rails.text import closest, quote


def build_sizing_tool(menu: Menu, knobs: Mapping[str, KnobValue | bool], limit_bytes: int | None) -> BaseTool:
    """The tool `estimate_size` over a menu and the incumbent's knob values.

    Args:
        menu: ranges, cross rules and the size estimate.
        knobs: the incumbent's values.
        limit_bytes: the limit when the menu's size rule states none.
    """

    def estimate_size(knob: str, new_value: int | float | str) -> str:
        """Say what memory the program would need with one knob changed, and whether the menu allows it."""
        changes = {knob: new_value}
        problem = setting_problem(menu, knobs, changes, limit_bytes)
        return f"not allowed: {problem}" if problem else _estimate(menu, {**knobs, **changes})

    return StructuredTool.from_function(estimate_size)


def setting_problem(
    menu: Menu,
    knobs: Mapping[str, KnobValue | bool],
    changes: Mapping[str, KnobValue],
    limit_bytes: int | None,
) -> str | None:
    """The first reason why the incumbent cannot be changed so, or None."""
    for name, value in changes.items():
        if name not in menu.knobs:
            return f"there is no knob {quote(name)}{closest(name, menu.knobs)}"
        reason = menu.knobs[name].check(value)
        if reason is not None:
            return reason
    values = {**knobs, **changes}
    try:
        return menu.broken_rule(values) or menu.size_problem(values, limit_bytes=limit_bytes)
    except ExpressionError as error:
        return error.what


def _estimate(menu: Menu, values: Mapping[str, KnobValue | bool]) -> str:
    if menu.size is None:
        return "allowed; this task has no memory estimate"
    needed = float(menu.expression(menu.size.memory_bytes).amount(values))
    return f"allowed; it needs about {needed / 1e9:.3g} GB of memory"
