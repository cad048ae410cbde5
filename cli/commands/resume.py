"""`nightshift resume`: let a paused loop go on."""

from pathlib import Path

from cli.inputs.options import JsonOption, WorkspaceArgument


def resume(directory: WorkspaceArgument = Path(), json: JsonOption = False) -> None:
    """Let the loop go on after `nightshift pause`."""
    from cli.inputs.workspaces import find_workspace, holder_of
    from cli.terminal.output import print_json
    from graph.limits.pause import end_pause
    from rails.errors import UserError

    workspace = find_workspace(directory)
    holder = holder_of(workspace)
    if not end_pause(workspace):
        fix = f"see what it does with `nightshift status {directory}`"
        if holder is None:
            fix = f"`nightshift run {directory}` goes on with an unfinished campaign"
        raise UserError("nobody has paused this workspace", where=str(workspace.root), fix=fix)
    if json:
        print_json({"workspace": str(workspace.root), "state": "dead" if holder is None else "running"})
    elif holder is None:
        print(f"The pause is over, but no loop is at work here: `nightshift run {directory}` goes on.")
    else:
        print("The loop goes on.")
