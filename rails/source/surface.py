"""Whether a training script and a menu agree: the menu's knobs are fields of its class, with allowed values."""

from collections.abc import Mapping

from rails.errors import UserError
from rails.expressions import ExpressionError
from rails.menu import Menu
from rails.source.program import EditError, Literal, parse_program
from rails.task import Task
from rails.text import closest


def knob_problem(menu: Menu, knobs: Mapping[str, Literal]) -> str | None:
    """Why a knobs class does not agree with the menu (a missing knob, a value out of range), or None."""
    for name, knob in menu.knobs.items():
        if name not in knobs:
            return f"the knob {name} is in the menu but not a field of the class{closest(name, knobs)}"
        reason = knob.check(knobs[name])
        if reason is not None:
            return reason
    return None


def rule_problem(menu: Menu, knobs: Mapping[str, Literal]) -> str | None:
    """Which cross constraint the knobs break, or why it has no value for them, or None."""
    try:
        return menu.broken_rule(knobs)
    except ExpressionError as error:
        return error.what


def check_surface(task: Task, source: str, where: str) -> None:
    """Check, before a campaign starts, that a person's training script and task fit together.

    Args:
        task: the task; its `edit.class_name` names the class.
        source: the text of the training script.
        where: the script's path, for the message.

    Raises:
        UserError: not Python, no such class, a field without a literal, a menu knob that the class lacks, a value
            outside the menu, a broken cross constraint.
    """
    fix = f"make {task.edit.file} and [menu] in task.toml agree"
    try:
        fields = parse_program(source).knobs(task.edit.class_name)
    except EditError as error:
        raise UserError(error.what, where=where, fix=f"correct class {task.edit.class_name}") from None
    knobs = {name: field.value for name, field in fields.items()}
    problem = knob_problem(task.menu, knobs) or rule_problem(task.menu, knobs)
    if problem is not None:
        raise UserError(problem, where=where, fix=fix)
