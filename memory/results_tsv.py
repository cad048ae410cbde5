"""`results.tsv`: the five-column table that people read next to the branch."""

from collections.abc import Iterable, Mapping

from memory.records import Phase, Trial
from rails.text import clean_text

COLUMNS = ("commit", "val_bpb", "memory_gb", "status", "description")
_DESCRIPTION_LIMIT = 200


def render_results_tsv(trials: Iterable[Trial], peak_bytes: Mapping[str, int] | None = None) -> str:
    """The decided trials as tab-separated text with a header, by number. Equal rows give equal text.

    A failure has empty cells, never 0.0: that would be the best score there is. `commit` is the candidate's, which is
    known before the branch's own commit (that one contains this table).

    Args:
        trials: any trials of one campaign; undecided ones are left out.
        peak_bytes: trial id to the largest memory its measurements used; the column is empty where it is missing.
    """
    peaks = peak_bytes or {}
    decided = sorted((trial for trial in trials if trial.phase is Phase.DECIDED), key=lambda trial: trial.seq)
    lines = ["\t".join(COLUMNS), *("\t".join(_cells(trial, peaks.get(trial.trial_id))) for trial in decided)]
    return "\n".join(lines) + "\n"


def _cells(trial: Trial, peak_bytes: int | None) -> tuple[str, ...]:
    commit = trial.candidate_commit or trial.parent_commit if trial.seq == 0 else trial.candidate_commit
    return (
        (commit or "")[:7],
        "" if trial.metric is None else f"{trial.metric:.6f}",
        "" if peak_bytes is None else f"{peak_bytes / 2**30:.1f}",
        str(trial.status),
        _description(trial),
    )


def _description(trial: Trial) -> str:
    if trial.seq == 0:
        return "baseline"
    parts = [trial.edit_key or "", trial.hypothesis or trial.reason or ""]
    return clean_text(": ".join(part for part in parts if part), _DESCRIPTION_LIMIT)
