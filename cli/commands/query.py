"""`nightshift query`: SQL over the record."""

from typing import Annotated

import typer

from cli.options import JsonOption, WorkspaceArgument


def query(
    directory: WorkspaceArgument,
    sql: Annotated[str, typer.Argument(metavar="SQL", help='e.g. "SELECT status, count(*) FROM trials GROUP BY 1"')],
    json: JsonOption = False,
) -> None:
    """Ask the record in SQL. Read-only whatever the SQL says, also while a campaign runs.

    Views: trials measurements curves calls verdicts lessons near_misses campaigns lineage_blocks spans.
    """
    from cli.output import print_json, stdout, table
    from cli.workspaces import open_reader

    with open_reader(directory) as reader:
        result = reader.query(sql)
    if json:
        print_json({"columns": result.columns, "rows": result.rows})
    else:
        stdout().print(table(result.columns, result.rows))
