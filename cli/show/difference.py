"""What differs between two trials: their programs, the edits that led to each, and how they came out."""

import difflib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from memory.git.ratchet import Ratchet
from memory.keep.comparable import comparable, evidence_of
from memory.keep.comparison import compare
from memory.reader import Reader
from memory.records import Campaign, Trial, TrialKind
from rails.errors import NightshiftError
from rails.source.edits import read_knobs


def difference(reader: Reader, campaign: Campaign, root: Path, a: Trial, b: Trial) -> dict[str, Any]:
    """The document of `nightshift diff --json`.

    Args:
        reader: of the published record, with trials and measurements.
        campaign: of both trials.
        root: the workspace, whose git objects hold the programs.
        a: the trial to start from.
        b: the trial to come to.
    """
    sources, missing = _sources(campaign, root, (a, b))
    trials = reader.trials(campaign.campaign_id)
    shared = {t.trial_id for t in _chain(trials, a)} & {t.trial_id for t in _chain(trials, b)}
    return {
        "a": _side(trials, a, shared),
        "b": _side(trials, b, shared),
        "comparison": _comparison(reader, campaign, trials, a, b),
        "knobs": None if sources is None else _knobs(campaign, *sources),
        "diff": None if sources is None else _unified(campaign, a, b, *sources),
        "no_diff_because": missing,
    }


def _sources(campaign: Campaign, root: Path, trials: Sequence[Trial]) -> tuple[tuple[str, str] | None, str | None]:
    """The two programs; or why there are not both."""
    if campaign.source is not None:
        return None, f"the campaign was imported from {campaign.source}, which has no programs"
    try:
        ratchet = Ratchet(root, _file(campaign))
        found: list[str] = []
        for trial in trials:
            commit = campaign.baseline_commit if trial.kind is TrialKind.BASELINE else trial.candidate_commit
            if commit is None:
                return None, f"trial {trial.seq} never got as far as a program ({trial.status or trial.phase})"
            found.append(ratchet.source(commit))
    except NightshiftError as error:
        return None, str(error)
    return (found[0], found[1]), None


def _file(campaign: Campaign) -> str:
    return str((campaign.task.get("edit") or {}).get("file", "train.py"))


def _side(trials: Sequence[Trial], trial: Trial, shared: set[str]) -> dict[str, Any]:
    """A trial's outcome, and its way from the last program that both sides have in common."""
    way = [t for t in reversed(_chain(trials, trial)) if t.trial_id not in shared]
    return {
        "trial": trial.seq,
        "status": trial.status,
        "reason": trial.reason,
        "edit": trial.edit_key,
        "metric": trial.metric,
        "n_measurements": trial.n_measurements,
        "gain": trial.gain,
        "gain_low": trial.gain_low,
        "gain_high": trial.gain_high,
        "edits": [{"trial": t.seq, "edit": t.edit_key, "diff": t.diff} for t in way],
    }


def _chain(trials: Sequence[Trial], trial: Trial) -> list[Trial]:
    """The trial, its parent, and so on to the baseline."""
    by_id = {t.trial_id: t for t in trials}
    chain = [trial]
    while (parent := by_id.get(chain[-1].parent_trial_id or "")) is not None and parent not in chain:
        chain.append(parent)
    return chain


def _comparison(
    reader: Reader, campaign: Campaign, trials: Sequence[Trial], a: Trial, b: Trial
) -> dict[str, Any] | None:
    """B against A over all that may be compared of them; None when one has nothing, or the baseline."""
    ours, theirs = (comparable(reader.measurements(t.trial_id), campaign) for t in (b, a))
    start = next((t for t in trials if t.kind is TrialKind.BASELINE), None)
    baseline = () if start is None else comparable(reader.measurements(start.trial_id), campaign)
    if not ours or not theirs or not baseline or a.trial_id == b.trial_id:
        return None
    found = compare(evidence_of(campaign, reader.store_noise(campaign.campaign_id), ours, theirs, baseline))
    return {name: getattr(found, name) for name in ("gain", "gain_low", "gain_high", "p_improve")}


def _knobs(campaign: Campaign, a: str, b: str) -> list[dict[str, Any]]:
    """Knobs whose values differ; absent ones are null."""
    name = str((campaign.task.get("edit") or {}).get("class", "Knobs"))
    try:
        ours, theirs = read_knobs(a, name), read_knobs(b, name)
    except NightshiftError:
        return []
    names = [*ours, *(knob for knob in theirs if knob not in ours)]
    pairs = [(knob, ours.get(knob), theirs.get(knob)) for knob in names]
    return [{"knob": knob, "a": one, "b": other} for knob, one, other in pairs if one != other]


def _unified(campaign: Campaign, a: Trial, b: Trial, ours: str, theirs: str) -> str:
    file = _file(campaign)
    lines = difflib.unified_diff(
        ours.splitlines(keepends=True),
        theirs.splitlines(keepends=True),
        f"trial {a.seq}/{file}",
        f"trial {b.seq}/{file}",
    )
    return "".join(line if line.endswith("\n") else f"{line}\n\\ No newline at end of file\n" for line in lines)
