"""Opening a workspace for reading: always the published snapshot, never the file that a loop may own."""

from collections.abc import Collection
from pathlib import Path

from cli.terminal.progress import progress
from graph.workspace import Workspace
from memory.lock import Holder, holder
from memory.reader import Reader
from memory.records import Campaign, Trial
from memory.snapshot.manifest import MANIFEST
from memory.snapshot.needs import TABLES, Needs
from rails.errors import UserError


def find_workspace(directory: Path) -> Workspace:
    """The workspace at `directory`.

    Raises:
        UserError: there is none.
    """
    workspace = Workspace(directory.expanduser().resolve())
    if not workspace.exists:
        raise UserError(
            "this is not a workspace (there is no task.toml)",
            where=str(workspace.root),
            fix="make one with `nightshift init DIR`, or name the right folder",
        )
    return workspace


def holder_of(workspace: Workspace) -> Holder | None:
    """The loop that is at work in the workspace, or None."""
    found = holder(workspace.lock_path)
    return found if found is not None and found.alive else None


def open_reader(directory: Path, tables: Collection[str] | Needs = TABLES) -> Reader:
    """A read-only copy of what the loop has published.

    Args:
        directory: the workspace, or the folder of a snapshot itself.
        tables: as in `Reader.open`.

    Raises:
        UserError: there is no workspace, or no campaign has begun in it.
    """
    with progress("opening the record") as report:
        return Reader.open(_published(directory), tables, report)


def open_for_query(directory: Path, sql: str) -> Reader:
    """The same with what one query needs; as `Reader.open_for`."""
    with progress("opening the record") as report:
        return Reader.open_for(_published(directory), sql, report)


def _published(directory: Path) -> Path:
    itself = directory.expanduser().resolve()
    if (itself / MANIFEST).is_file():
        return itself
    workspace = find_workspace(directory)
    if not workspace.snapshot_dir.exists():
        raise UserError(
            "no campaign has begun here", where=str(workspace.root), fix=f"start one with `nightshift run {directory}`"
        )
    return workspace.snapshot_dir


def latest_campaign(reader: Reader, directory: Path) -> Campaign:
    """The campaign that commands speak of.

    Raises:
        UserError: there is none yet.
    """
    campaign = reader.latest_campaign()
    if campaign is None:
        raise UserError("no campaign has begun here", where=str(directory), fix=f"run `nightshift run {directory}`")
    return campaign


def find_trial(reader: Reader, campaign: Campaign, seq: int) -> Trial:
    """A trial of the campaign by its number.

    Raises:
        UserError: there is no such trial.
    """
    trial = reader.trial_by_seq(campaign.campaign_id, seq)
    if trial is not None:
        return trial
    trials = reader.trials(campaign.campaign_id)
    last = trials[-1].seq if trials else "none"
    raise UserError(f"there is no trial {seq} in campaign {campaign.tag!r}", fix=f"trials go from 0 to {last}")
