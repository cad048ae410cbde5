"""`nightshift export`: one campaign for other programs."""

from pathlib import Path
from typing import Annotated

import typer

from cli.inputs.options import JsonOption
from cli.inputs.sources import SOURCE_HELP
from memory.exports.formats import ExportFormat


def export(
    source: Annotated[str, typer.Argument(metavar="SOURCE", help=SOURCE_HELP, show_default="this folder")] = ".",
    export_format: Annotated[
        ExportFormat,
        typer.Option(
            "--format", help="jsonl loses nothing; parquet: trials and measurements; two forms of results.tsv."
        ),
    ] = ExportFormat.JSONL,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", metavar="FILE", help="Written as a whole.", show_default="stdout")
    ] = None,
    json: JsonOption = False,
) -> None:
    """Export a campaign. As JSON lines, Parquet, or results.tsv with five or eighteen columns."""
    import sys

    from cli.inputs.sources import load_records
    from cli.terminal.output import print_json, stderr
    from cli.terminal.progress import progress
    from memory.exports.write import export_records, export_text
    from rails.errors import UserError

    if output is None and (json or export_format is ExportFormat.PARQUET):
        raise UserError("this needs a file to write to", where="nightshift export", fix="name one with -o FILE")
    records, log = load_records(source)
    if output is None:
        sys.stdout.write(export_text(records, export_format))
    else:
        with progress("writing the export"):
            export_records(records, export_format, output.expanduser())
    unreadable = 0 if log is None else len(log.unreadable)
    if json:
        search = sum(trial.seq > 0 for trial in records.trials)
        print_json({"file": str(output), "format": export_format, "trials": search, "unreadable": unreadable})
    elif unreadable:
        stderr().print(f"{unreadable} lines of the source could not be read: see `nightshift analyze`", markup=False)
