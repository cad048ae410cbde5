"""`nightshift query`: SQL over the record."""

from pathlib import Path
from typing import Annotated

import typer

from cli.inputs.options import JsonOption, WorkspaceArgument


def query(
    directory: WorkspaceArgument,
    sql: Annotated[str, typer.Argument(metavar="SQL", help='e.g. "SELECT status, count(*) FROM trials GROUP BY 1"')],
    json: JsonOption = False,
    csv: Annotated[bool, typer.Option("--csv", help="Print comma-separated values, with a header.")] = False,
    parquet: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write a Parquet file.", show_default=False)
    ] = None,
) -> None:
    """Ask the record in SQL. Read-only whatever the SQL says, also while a campaign runs, and of a copied snapshot.

    Views: trials measurements curves calls verdicts lessons near_misses noise campaigns lineage_blocks spans events.
    Columns and examples: docs/schema.md, or "DESCRIBE trials". A table for people ends after 1000 rows.
    """
    from cli.inputs.workspaces import open_for_query
    from cli.terminal.answers import print_csv, print_json_rows, print_table
    from cli.terminal.output import stdout
    from cli.terminal.progress import progress
    from memory.snapshot.loading import bound_process

    if json + csv + (parquet is not None) > 1:
        raise typer.BadParameter("--json, --csv and --parquet exclude each other")
    bound_process()
    with open_for_query(directory, sql) as reader, reader.asking(sql) as answer:
        if json:
            print_json_rows(answer)
        elif csv:
            print_csv(answer)
        elif parquet is None:
            print_table(answer)
        else:
            with progress(f"writing {parquet.name}") as report:
                rows = answer.write_parquet(parquet.expanduser(), lambda done: report(done, None))
            stdout().print(f"{parquet}: {rows} rows", soft_wrap=True, markup=False)
