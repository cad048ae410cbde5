"""docs/cli.md, written from the commands themselves: `python -m cli.reference > docs/cli.md`."""

import click
import typer

from cli.main import app

_HEAD = """# The command line

Written by `python -m cli.reference`; a test fails when it differs from the commands.

Every command takes a workspace (this folder unless named). Results go to stdout, as one JSON document with `--json`;
progress and notes go to stderr. Exit codes: 0 done, 1 a failure that is named in one sentence, 2 usage, 75 another loop
owns the workspace, 130 stopped at once by a second Ctrl-C.
"""
_WIDTH = 100


def render() -> str:
    """The whole document."""
    group = typer.main.get_command(app)
    return "\n".join([_HEAD, *_sections(group, "nightshift")])


def _sections(command: click.Command, path: str) -> list[str]:
    context = click.Context(command, info_name=path, terminal_width=_WIDTH, max_content_width=_WIDTH)
    if not isinstance(command, click.Group):
        return [f"## {path}\n\n```text\n{command.get_help(context)}\n```\n"]
    return [
        text for name in command.list_commands(context) for text in _sections(command.commands[name], f"{path} {name}")
    ]


if __name__ == "__main__":
    print(render(), end="")
