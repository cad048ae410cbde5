"""`nightshift run`: start a campaign, or go on with the unfinished one."""

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cli.inputs.options import JsonOption, WorkspaceArgument

if TYPE_CHECKING:
    from graph.campaign.options import RunOptions
    from memory.records import Campaign


class Switch(StrEnum):
    """on or off."""

    ON = "on"
    OFF = "off"


class Level(StrEnum):
    """Isolation levels, weakest first."""

    L1 = "L1"
    L2 = "L2"
    L3 = "L3"
    L4 = "L4"


def run(  # noqa: PLR0913, PLR0917  (the options are the command line's contract)
    directory: WorkspaceArgument = Path(),
    trials: Annotated[int | None, typer.Option(min=1, help="Stop after this many trials.")] = None,
    hours: Annotated[
        float | None, typer.Option(min=0.0, help="Stop opening trials after this many hours of running.")
    ] = None,
    usd: Annotated[float | None, typer.Option(min=0.0, help="Stop when the proposer's calls cost this much.")] = None,
    joules: Annotated[float | None, typer.Option(min=0.0, help="Stop when the machine took this much.")] = None,
    proposer: Annotated[
        str | None,
        typer.Option(
            help="A model of models.toml, hybrid:MODEL, student:NAME, tpe, random, cma, gp or replay:FILE.",
            show_default=False,
        ),
    ] = None,
    fallback: Annotated[
        str | None,
        typer.Option(help='Who proposes while the proposer does not answer; "" for nobody.', show_default=False),
    ] = None,
    lineage: Annotated[Switch | None, typer.Option(help="Show proposals the lineage block (default on).")] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="Seed of the campaign (default 0).")] = None,
    tag: Annotated[str | None, typer.Option(help="Branch name after autoresearch/ (default: today's date).")] = None,
    fresh: Annotated[bool, typer.Option("--fresh", help="Start another campaign, whatever is unfinished.")] = False,
    require_isolation: Annotated[Level | None, typer.Option(help="Refuse to start below this level.")] = None,
    json: JsonOption = False,
) -> None:
    """Run a campaign to its end. Makes the workspace if there is none, goes on with an unfinished campaign.

    Progress goes to stderr, the result to stdout. Ctrl-C ends the trial in hand and stops; `nightshift run` goes on.
    """
    from graph.campaign.options import RunOptions

    options = RunOptions(
        trials=trials,
        hours=hours,
        usd=usd,
        joules=joules,
        proposer=proposer,
        fallback=fallback,
        lineage=None if lineage is None else lineage is Switch.ON,
        seed=seed,
        tag=tag,
        fresh=fresh,
        require_isolation=None if require_isolation is None else require_isolation.value,
    )
    campaign = _run(directory, options)
    _report(directory, campaign.campaign_id, json)


def _run(directory: Path, options: "RunOptions") -> "Campaign":
    """The night itself; one that ends in a failure leaves its report all the same.

    Raises:
        NightshiftError: as `run_night`.
    """
    from cli.report.leave import leave_report
    from cli.show.progress_rows import observer_for
    from cli.terminal.output import stderr
    from graph.night import run_night
    from rails.errors import HaltError, ProposerError

    try:
        with observer_for(stderr()) as observer:
            return run_night(directory, options, observer)
    except (HaltError, ProposerError):
        if left := leave_report(directory):
            stderr().print(f"report: {left.html}", markup=False, soft_wrap=True)
        raise


def _report(directory: Path, campaign_id: str, json: bool) -> None:
    """What the morning needs, from what the loop has published."""
    from cli.inputs.workspaces import open_reader
    from cli.report.leave import leave_report
    from cli.show.progress_rows import trials_table
    from cli.show.status import status_document, status_sentence
    from cli.terminal.output import print_json, stdout
    from memory.lineage.block import render_lineage

    left = leave_report(directory, campaign_id)
    with open_reader(directory) as reader:
        campaign = reader.campaign(campaign_id)
        document = status_document(reader, campaign)
        rows = reader.trials(campaign_id)
        block = render_lineage(reader, campaign_id) if campaign.lineage else ""
    if json:
        print_json({**document, "report": left and {"html": str(left.html), "png": str(left.png)}})
        return
    out = stdout()
    out.print(trials_table(rows))
    out.print(f"\n{status_sentence(document)}\n", soft_wrap=True, markup=False)
    if campaign.lineage:
        out.print(f"What the next proposal would read (nightshift lineage {directory}):\n", soft_wrap=True)
        out.print(block, soft_wrap=True, markup=False)
    if left is not None:
        out.print(f"report: {left.html}", markup=False, soft_wrap=True)
