"""`nightshift lineage`: the block that the next proposer would see."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cli.inputs.options import JsonOption, WorkspaceArgument

if TYPE_CHECKING:
    from memory.records import Campaign


def lineage(
    directory: WorkspaceArgument = Path(),
    specialist: Annotated[str | None, typer.Option("--for", help="As this specialist would see it.")] = None,
    json: JsonOption = False,
) -> None:
    """Print what the next proposer reads. The lineage block, exactly as it would see it."""
    from cli.inputs.workspaces import latest_campaign, open_reader
    from cli.terminal.output import print_json, printable
    from memory.lineage.block import lineage_sha256, render_lineage

    with open_reader(directory) as reader:
        campaign = latest_campaign(reader, directory)
        knobs = () if specialist is None else _knobs_of(specialist, campaign)
        block = render_lineage(reader, campaign.campaign_id, specialist=specialist, knobs=knobs)
    if json:
        print_json({"block": block, "sha256": lineage_sha256(block)})
    else:
        print(printable(block))


def _knobs_of(specialist: str, campaign: "Campaign") -> tuple[str, ...]:
    """The knobs of a specialist of the campaign's task.

    Raises:
        UserError: the task has no such specialist.
    """
    from rails.errors import UserError
    from rails.text import closest, quote

    known = campaign.task.get("specialists") or {}
    if specialist not in known:
        what = f"campaign {campaign.tag!r} has no specialist {quote(specialist)}"
        if not known:
            raise UserError(what, fix="its task.toml names none: leave --for out, all see one block")
        raise UserError(f"{what}{closest(specialist, known)}", fix=f"its task.toml has {', '.join(known)}")
    return tuple(known[specialist].get("knobs") or ())
