"""The `nightshift` command: registers the commands and turns named failures into one sentence and an exit code."""

import os
import sys
from collections.abc import Sequence
from contextlib import suppress

import rails.bootstrap  # noqa: F401  # isort: skip  # pyright: ignore[reportUnusedImport]
import typer
import typer.core

from cli.commands.ablate import ablate
from cli.commands.analyze import analyze
from cli.commands.compare import compare
from cli.commands.diff import diff
from cli.commands.distil import distil_app
from cli.commands.doctor import doctor
from cli.commands.export import export
from cli.commands.import_ import import_
from cli.commands.init import init
from cli.commands.lineage import lineage
from cli.commands.models import models_app
from cli.commands.near_misses import near_misses
from cli.commands.pause import pause
from cli.commands.query import query
from cli.commands.race import race
from cli.commands.rails import rails_app
from cli.commands.report import report
from cli.commands.restore import restore
from cli.commands.resume import resume
from cli.commands.run import run
from cli.commands.show import show
from cli.commands.status import status
from cli.commands.tables import tables_app
from cli.commands.watch import watch
from cli.terminal.output import GONE, printable
from rails.errors import NightshiftError

# With rich at hand typer escapes brackets in help texts for a markup that is turned off below.
typer.core.HAS_RICH = False  # pyright: ignore[reportConstantRedefinition]

STOPPED_AT_ONCE = 130
"""How a command ends that a person stops with Ctrl-C, or a loop with the second one."""

app = typer.Typer(
    name="nightshift",
    help="An unattended research loop that you can trust in the morning.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    add_completion=False,
)
for command in (
    init,
    run,
    pause,
    resume,
    status,
    watch,
    lineage,
    near_misses,
    query,
    show,
    diff,
    analyze,
    compare,
    ablate,
    report,
    race,
    export,
    doctor,
    restore,
):
    app.command()(command)
app.command("import")(import_)
app.add_typer(rails_app, name="rails")
app.add_typer(tables_app, name="tables")
app.add_typer(models_app, name="models")
app.add_typer(distil_app, name="distill")


def run_command(arguments: Sequence[str] | None = None) -> int:
    """Run one command; its exit code. 0 done, 1 a named failure, 2 usage, 75 workspace busy, 130 stopped at once."""
    try:
        app(args=None if arguments is None else list(arguments))
    except SystemExit as end:  # how click ends, also when all went well
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
        if code == STOPPED_AT_ONCE:  # what typer makes of a KeyboardInterrupt
            _say("stopped at once; the record is whole, and a campaign goes on with `nightshift run`")
        return code
    except NightshiftError as error:
        _say(str(error))
        return error.exit_code
    except OSError as error:
        if error.errno not in GONE:
            raise
        # The reader of our output has gone, as in `nightshift query … | head`, or the terminal was closed.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    return 0


def _say(text: str) -> None:
    with suppress(OSError):  # nobody may be there to read it
        print(f"nightshift: {printable(text)}", file=sys.stderr)


def main() -> None:
    """Run the command of this process and leave.

    Stores, locks and trial processes are closed by now. Tearing the interpreter down would only wait for the threads of
    libraries (a second or more) and print DuckDB's complaints about objects that those threads still hold.
    """
    code = run_command()
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError):
            stream.flush()
    os._exit(code)


if __name__ == "__main__":
    main()
