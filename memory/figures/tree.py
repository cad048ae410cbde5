"""The keeps of a night as a tree: what grew on what, and how many trials branched off each of them.

A keep that was undone is in it: what was tried on top of it was.
"""

from dataclasses import dataclass

from memory.figures.campaign import ReportData
from memory.keep.near_misses import NearMiss, near_misses
from memory.records import Trial
from rails.status import FINISHED, QUARANTINED, Status


@dataclass(frozen=True, slots=True, kw_only=True)
class Branch:
    """The baseline or a keep (undone or not), what was tried on top of it, and the keeps that grew on it."""

    trial: Trial
    on_main: bool
    """Whether it lies on the way from the baseline to the incumbent."""
    tried: int
    """Trials whose parent it was."""
    kept: int
    discarded: int
    failed: int
    unsaid: int
    """Interrupted or aborted: they say nothing."""
    children: tuple[tuple[int, Status], ...]
    """Number and status of each of them."""
    near: tuple[int, ...]
    """Near misses among them, by number."""
    nexts: tuple["Branch", ...]
    """The keeps on top of it; the one on the main way last."""


def tree_of(data: ReportData) -> Branch | None:
    """The tree, from the baseline; None before there is one. A keep without a known parent grew on the baseline."""
    root = next((t for t in data.decided if t.seq == 0), None)
    if root is None:
        return None
    children: dict[str, list[Trial]] = {}
    for trial in data.search:
        parent = data.by_id.get(trial.parent_trial_id or "")
        known = parent is not None and parent.seq < trial.seq and (parent.seq == 0 or _was_kept(parent))
        children.setdefault(parent.trial_id if parent is not None and known else root.trial_id, []).append(trial)
    near = {miss.trial for miss in near_of(data)}
    main = {trial.trial_id for trial in main_way(data)}
    built: dict[str, Branch] = {}
    kept = [trial for trial in data.search if _was_kept(trial)]
    for trial in [*reversed(kept), root]:  # a child's number is higher, so it is built before its parent
        built[trial.trial_id] = _branch(trial, children.get(trial.trial_id, []), near, main, built)
    return built[root.trial_id]


def flattened(tree: Branch, depth: int = 0) -> list[tuple[int, Branch]]:
    """The tree as rows from the root: what grew last on a keep follows at its depth, what grew beside it deeper."""
    rows: list[tuple[int, Branch]] = []
    waiting: list[tuple[int, Branch]] = [(depth, tree)]
    while waiting:
        at, branch = waiting.pop()
        rows.append((at, branch))
        waiting += [(at, last) for last in branch.nexts[-1:]]
        waiting += [(at + 1, beside) for beside in reversed(branch.nexts[:-1])]
    return rows


def main_way(data: ReportData) -> list[Trial]:
    """From the baseline to the incumbent, each built on the one before."""
    way: list[Trial] = []
    current = data.incumbent
    while current is not None:
        way.append(current)
        parent = data.by_id.get(current.parent_trial_id or "")
        current = parent if parent is not None and parent.seq < current.seq else None
    return way[::-1]


def near_of(data: ReportData) -> list[NearMiss]:
    """The near misses, best evidence first, as `nightshift near-misses` orders them."""
    return near_misses(data.trials, data.own_noise)


def _was_kept(trial: Trial) -> bool:
    return trial.status is Status.KEEP or trial.keep_undone


def _branch(trial: Trial, children: list[Trial], near: set[int], main: set[str], built: dict[str, Branch]) -> Branch:
    statuses = [child.status for child in children if child.status is not None]
    nexts = [built[child.trial_id] for child in children if _was_kept(child)]
    return Branch(
        trial=trial,
        on_main=trial.trial_id in main,
        tried=len(children),
        kept=statuses.count(Status.KEEP),
        discarded=statuses.count(Status.DISCARD),
        failed=sum(s not in FINISHED and s not in QUARANTINED for s in statuses),
        unsaid=sum(s in QUARANTINED for s in statuses),
        children=tuple((child.seq, child.status) for child in children if child.status is not None),
        near=tuple(child.seq for child in children if child.seq in near),
        nexts=tuple(sorted(nexts, key=lambda branch: branch.on_main)),
    )
