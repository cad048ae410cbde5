"""`nightshift rails check`: judge raw replies from stdin."""

import sys
from json import dumps, loads
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cli.inputs.options import JsonOption

if TYPE_CHECKING:
    from rails.checks.context import RailContext
    from rails.guard import Rails

rails_app = typer.Typer(help="Try the rails by hand.", no_args_is_help=True)


@rails_app.callback()
def _group() -> None:
    """Try the rails by hand."""


@rails_app.command()
def check(
    directory: Annotated[Path | None, typer.Argument(metavar="DIR", help="A workspace.", show_default=False)] = None,
    menu: Annotated[Path | None, typer.Option(help="A menu file (JSON) or a task.toml, instead of DIR.")] = None,
    json: JsonOption = False,
) -> None:
    """Judge raw replies. Reads one a line from stdin, each as a JSON string; writes one verdict a line, as a JSON
    object (ok, rail, reason), or with --json all of them as one document.
    """
    from cli.terminal.output import print_json
    from rails.errors import UserError

    if (directory is None) == (menu is None):
        raise UserError("name a workspace or a menu file, and not both", fix="nightshift rails check --menu FILE")
    rails, context = _from_menu(menu) if menu is not None else _from_workspace(directory or Path())
    verdicts: list[dict[str, object]] = []
    for number, line in enumerate(sys.stdin, start=1):
        if not line.strip():
            continue
        result = rails.check(_raw_reply(line, number), context)
        verdicts.append({"ok": result.ok, "rail": result.rail, "reason": result.reason})
        if not json:
            print(dumps(verdicts[-1]), flush=True)
    if json:
        print_json({"verdicts": verdicts})


def _raw_reply(line: str, number: int) -> str:
    from rails.errors import UserError

    try:
        raw: object = loads(line)
    except ValueError as error:
        raise UserError(
            f"not JSON ({error})", where=f"stdin line {number}", fix='quote it: "{\\"knob\\": …}"'
        ) from error
    if not isinstance(raw, str):
        raise UserError("not a JSON string", where=f"stdin line {number}", fix="quote the reply as one JSON string")
    return raw


def _from_menu(path: Path) -> "tuple[Rails, RailContext]":
    """Rails over a menu alone: the incumbent is the menu's defaults."""
    from rails.checks.context import RailContext
    from rails.guard import Rails
    from rails.menu import load_menu

    menu = load_menu(path)
    return Rails(menu), RailContext(menu=menu, source=None, modes=("knob",))


def _from_workspace(directory: Path) -> "tuple[Rails, RailContext]":
    """Rails of a workspace: the incumbent is the train.py that is checked out."""
    from cli.inputs.workspaces import find_workspace
    from rails.checks.context import RailContext
    from rails.errors import UserError
    from rails.guard import Rails
    from rails.task import load_task

    workspace = find_workspace(directory)
    task = load_task(workspace.task_path)
    path = workspace.root / task.edit.file
    if not path.is_file():
        raise UserError(f"there is no {task.edit.file}", where=str(workspace.root), fix="restore it with git")
    return Rails(task.menu), RailContext(
        menu=task.menu,
        source=path.read_text(encoding="utf-8"),
        file_name=task.edit.file,
        class_name=task.edit.class_name,
        modes=task.edit.modes,
        max_diff_lines=task.rails.max_diff_lines,
    )
