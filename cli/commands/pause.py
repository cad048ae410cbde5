"""`nightshift pause`: let the loop wait between two trials."""

from pathlib import Path

from cli.inputs.options import JsonOption, WorkspaceArgument


def pause(directory: WorkspaceArgument = Path(), json: JsonOption = False) -> None:
    """Let the loop wait after the trial in hand. It holds until `nightshift resume`, also over a restart."""
    from cli.inputs.workspaces import find_workspace, holder_of, latest_campaign, open_reader
    from cli.terminal.output import print_json
    from graph.limits.pause import ask_pause
    from memory.records import CampaignState, Phase
    from rails.errors import UserError

    workspace = find_workspace(directory)
    if holder_of(workspace) is None:
        fix = f"start one with `nightshift run {directory}`"
        raise UserError("no loop is at work here, so there is nothing to pause", where=str(workspace.root), fix=fix)
    asked = ask_pause(workspace)
    with open_reader(directory) as reader:
        campaign = latest_campaign(reader, directory)
        trials = reader.trials(campaign.campaign_id)
    in_hand = next((trial.seq for trial in trials if trial.phase is not Phase.DECIDED), None)
    if json:
        state = "paused" if campaign.state is CampaignState.PAUSED else "pausing"
        print_json({"workspace": str(workspace.root), "state": state})
        return
    if campaign.state is CampaignState.PAUSED:
        what = "The loop is paused"
    else:
        what = "The loop pauses" + ("" if in_hand is None else f" when trial {in_hand}, which is in hand, is decided")
    print(f"{what} ({asked}). `nightshift resume {directory}` goes on.")
