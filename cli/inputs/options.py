"""Arguments and options that several commands share, so that they read and behave the same everywhere."""

from pathlib import Path
from typing import Annotated

import typer

WorkspaceArgument = Annotated[Path, typer.Argument(metavar="DIR", help="The workspace.", show_default="this folder")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout.")]
