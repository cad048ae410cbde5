"""`nightshift lineage`: the block that the next proposer would see."""

from pathlib import Path
from typing import Annotated

import typer

from cli.inputs.options import JsonOption, WorkspaceArgument


def lineage(
    directory: WorkspaceArgument = Path(),
    specialist: Annotated[str | None, typer.Option("--for", help="As this specialist would see it.")] = None,
    json: JsonOption = False,
) -> None:
    """Print what the next proposer reads. The lineage block, exactly as it would see it."""
    from cli.inputs.workspaces import latest_campaign, open_reader
    from cli.terminal.output import print_json, printable
    from memory.lineage.block import lineage_sha256, render_lineage
    from rails.errors import UserError

    with open_reader(directory) as reader:
        campaign = latest_campaign(reader, directory)
        if specialist is not None and specialist not in {t.specialist for t in reader.trials(campaign.campaign_id)}:
            raise UserError(
                f"campaign {campaign.tag!r} has no specialist {specialist!r}", fix="leave --for out: all see one block"
            )
        block = render_lineage(reader, campaign.campaign_id)
    if json:
        print_json({"block": block, "sha256": lineage_sha256(block)})
    else:
        print(printable(block))
