"""`nightshift import`: another loop's log as a workspace that can be asked."""

from pathlib import Path
from typing import Annotated

import typer

from cli.inputs.options import JsonOption

_LISTED = 10


def import_(
    source: Annotated[Path, typer.Argument(metavar="SOURCE", help="A log file.")],
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="A new folder.")],
    menu: Annotated[Path | None, typer.Option(help="Menu file: which knobs there were to touch.")] = None,
    json: JsonOption = False,
) -> None:
    """Make a workspace of a log, ours or another loop's. All reading commands work on it; `run` refuses.

    Overwrites nothing, and leaves nothing half made. Lines that cannot be read are kept in unreadable.jsonl.
    """
    from cli.inputs.sources import read_file, with_menu
    from cli.terminal.output import print_json, stdout
    from cli.terminal.progress import progress
    from memory.importers.workspace import UNREADABLE, import_log

    log = read_file(source.expanduser())
    log.campaign = with_menu(log.campaign, menu)
    with progress("writing the store"):
        imported = import_log(log, source.expanduser().resolve(), directory)
    if json:
        print_json({"workspace": str(directory.expanduser().resolve()), **imported.model_dump(mode="json")})
        return
    out = stdout()

    def line(text: str) -> None:
        out.print(text, soft_wrap=True, markup=False)

    line(f"{imported.trials} trials of a {imported.format} are in {directory}")
    for note in imported.notes:
        line(f"note: {note}")
    for found in imported.unreadable[:_LISTED]:
        line(f"line {found.line} cannot be read: {found.why}")
    if imported.unreadable:
        line(f"{len(imported.unreadable)} lines could not be read: {directory / UNREADABLE}")
