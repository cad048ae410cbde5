"""`nightshift init`: make a workspace."""

from pathlib import Path
from typing import Annotated

import typer

from cli.inputs.options import JsonOption
from cli.terminal.output import print_json, stdout


def init(
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="A new or empty folder outside any repository.")],
    task: Annotated[str, typer.Option(help="What is optimised: `gpt`, or a recorded table as `tabular:NAME`.")] = "gpt",
    json: JsonOption = False,
) -> None:
    """Make a workspace. It is a git repository with program.md, task.toml and train.py."""
    from graph.campaign.create import create_workspace

    workspace = create_workspace(directory, task)
    if json:
        print_json({"workspace": str(workspace.root)})
        return
    stdout().print(
        f"made a workspace in {workspace.root}\n"
        "  program.md  the research policy: yours to edit, read before every proposal\n"
        "  task.toml   metric, budget, rails and menu: yours to edit\n"
        "  train.py    the program that the search changes\n"
        f"next: nightshift run {directory}",
        soft_wrap=True,
    )
