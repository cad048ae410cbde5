"""Restoring a damaged store: the record as it was published last, the branch where it says, and what is lost by it."""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from graph.workspace import Workspace
from memory.exports.results_tsv import render_results_tsv
from memory.git.ratchet import Ratchet
from memory.git.worktree import RESULTS_FILE
from memory.lock import workspace_lock
from memory.records import Campaign, Event, EventKind, Phase, utc_now
from memory.records.metric import metric_of
from memory.rescue.refusal import Copy, copy_of
from memory.rescue.restore import build, damage_of, exchange, remove
from memory.store import Store
from rails.errors import DiskFullError, NightshiftError, UserError
from rails.task import task_of

_TOLD = re.compile(r"trial (\d+): (.*)")
"""How the subjects of the loop's commits begin."""


@dataclass(slots=True, kw_only=True)
class Restored:
    """What a restore did."""

    damage: str
    """What was wrong with the store."""
    copy: Copy
    """What the restored record has."""
    kept: list[Path] = field(default_factory=list[Path])
    """The damaged files, under their new names."""
    tag: str | None = None
    """Of the latest campaign in the record; None when there is none."""
    lost: dict[int, str] = field(default_factory=dict[int, str])
    """Trials of that campaign that are not in the record, or not as decided: number to what is known of them."""
    taken_off: list[str] = field(default_factory=list[str])
    """Commits of the loop's that the branch had and the record does not know, newest first."""
    notes: list[str] = field(default_factory=list[str])
    """What a person has to see to, or should know."""


def restore_store(root: Path) -> Restored:
    """Rebuild the damaged store of the workspace at `root` from its snapshot, and put its branch where the record says.

    The store takes its place as the last thing: killed before, all of it can be done again.

    Raises:
        UserError: nothing is damaged, or a newer nightshift wrote it.
        BusyError: a loop is at work.
        HaltError: there is no snapshot that can be read, or it cannot be written.
    """
    workspace = Workspace(root)
    path = workspace.store_path
    with workspace_lock(workspace.lock_path):
        damage = damage_of(path)
        if damage is None:
            what = "the store is whole: there is nothing to restore" if path.exists() else "there is no store here yet"
            raise UserError(what, where=str(path))
        temporary = build(path)
        try:
            copy = copy_of(path)
            assert copy is not None, "the store was just made of it"
            done = Restored(damage=damage, copy=copy)
            with Store.open(temporary) as store:
                campaign = store.latest_campaign()
                if campaign is not None and campaign.source is None:
                    _agree(workspace, store, campaign, done)
            done.kept = exchange(temporary, path)
        finally:
            remove(temporary)
    return done


def _agree(workspace: Workspace, store: Store, campaign: Campaign, done: Restored) -> None:
    """Find what is lost, bring branch and working tree to the recorded head, and put that on record."""
    done.tag = campaign.tag
    trials = store.trials(campaign.campaign_id)
    decided = {trial.seq for trial in trials if trial.phase is Phase.DECIDED}
    known = {trial.candidate_commit for trial in trials}
    results = render_results_tsv(trials, store.peak_bytes(campaign.campaign_id), metric_of(campaign.task).name)
    told = _rows_beyond(workspace.root / RESULTS_FILE, results)
    try:
        ratchet = Ratchet(workspace.root, task_of(campaign.task).edit.file)
        held = [subject for commit, subject in ratchet.candidates().items() if commit not in known]
        taken = ratchet.roll_back(campaign.tag, campaign.head_commit)
        done.taken_off = list(taken)
        told = {**_subjects(held), **_subjects(taken.values()), **told}
        ratchet.resume(campaign.tag, campaign.head_commit)
        for name in ratchet.project(campaign.head_commit, results):
            done.notes.append(f"{name} has your uncommitted changes and stays as it is")
    except DiskFullError:
        raise
    except NightshiftError as error:  # the record is good without its branch, and this is what `run` would say
        done.notes.append(str(error))
    done.lost = {seq: told[seq] for seq in sorted(told.keys() - decided)}
    numbers = ", ".join(map(str, done.lost))
    text = f"the store was damaged ({done.damage}) and is as it was published last"
    event = Event(
        campaign_id=campaign.campaign_id,
        kind=EventKind.RESTORED,
        text=f"{text}; lost: trials {numbers}" if numbers else text,
        created_at=utc_now(),
    )
    store.add_event(event)


def _rows_beyond(path: Path, results: str) -> dict[int, str]:
    """Trial to its status and description, of the rows that results.tsv at `path` has after those of the record."""
    there = path.read_text("utf-8", "replace").splitlines() if path.is_file() else []
    known = results.splitlines()
    if [row.split("\t")[0] for row in there[: len(known)]] != [row.split("\t")[0] for row in known]:
        return {}  # a person's, or another campaign's
    beyond = enumerate(there[len(known) :], len(known) - 1)
    return {seq: ": ".join(row.split("\t")[3:]) for seq, row in beyond}


def _subjects(subjects: Iterable[str]) -> dict[int, str]:
    """Trial to what it changes, of the subjects of the loop's commits."""
    return {int(match[1]): match[2] for match in map(_TOLD.match, subjects) if match}
