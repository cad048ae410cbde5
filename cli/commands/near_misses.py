"""`nightshift near-misses`: what nearly made it."""

from pathlib import Path
from typing import Annotated

import typer

from cli.options import JsonOption, WorkspaceArgument


def near_misses(
    directory: WorkspaceArgument = Path(),
    limit: Annotated[int, typer.Option(min=1, help="At most this many.")] = 10,
    json: JsonOption = False,
) -> None:
    """List what nearly made it. Finished trials with a gain that is not proven, best evidence first."""
    from cli.output import gain_text, print_json, stdout, table
    from cli.workspaces import latest_campaign, open_reader
    from memory.near_misses import near_misses as find

    with open_reader(directory) as reader:
        campaign = latest_campaign(reader, directory)
        found = find(reader.trials(campaign.campaign_id), reader.noise(campaign.campaign_id), limit)
    if json:
        print_json({"near_misses": [miss.model_dump(mode="json") for miss in found]})
        return
    if not found:
        stdout().print("no near misses yet")
        return
    rows = [(m.trial, m.edit, gain_text(m.gain, m.gain_low, m.gain_high), m.p_improve) for m in found]
    stdout().print(table(("trial", "edit", "gain on parent", "p(better)"), rows, right=("trial", "p(better)")))
