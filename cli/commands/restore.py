"""`nightshift restore`: rebuild a damaged store from what was published of it."""

from pathlib import Path

from cli.inputs.options import JsonOption, WorkspaceArgument


def restore(directory: WorkspaceArgument = Path(), json: JsonOption = False) -> None:
    """Rebuild a damaged store from the published snapshot.

    Keeps the damaged file, takes the branch back to what the record says, and names the trials that are lost. Your
    uncommitted changes and your own commits are left alone.
    """
    from cli.inputs.workspaces import find_workspace
    from cli.terminal.output import print_json, printable
    from graph.campaign.restore import restore_store

    workspace = find_workspace(directory)
    done = restore_store(workspace.root)
    if json:
        document = {
            "workspace": str(workspace.root),
            "damage": done.damage,
            "trials": done.copy.trials,
            "newest": done.copy.newest,
            "kept": done.kept,
            "tag": done.tag,
            "lost": [{"trial": seq, "known": known} for seq, known in done.lost.items()],
            "taken_off": done.taken_off,
            "notes": done.notes,
        }
        print_json(document)
        return
    print(f"The store was damaged ({printable(done.damage)}).\nIt is rebuilt from its snapshot: {done.copy}.")
    for file in done.kept:
        print(f"kept: {printable(str(file))}")
    for seq, known in done.lost.items():
        print(f"lost: trial {seq} ({printable(known)})")
    tag = printable(str(done.tag))
    for commit in done.taken_off:
        print(f"off the branch autoresearch/{tag}: {commit[:12]} (`git branch NAME {commit[:12]}` keeps it)")
    for note in done.notes:
        print(f"note: {printable(note)}")
    if done.tag is not None:
        print(f"`nightshift run {directory}` goes on.")
