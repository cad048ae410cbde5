"""`results.tsv`: the five-column table that people read next to the branch."""

from collections.abc import Iterable, Mapping
from functools import lru_cache

from memory.records import Phase, Trial
from rails.status import Status
from rails.text import clean_text

COLUMNS = ("commit", "val_bpb", "memory_gb", "status", "description")
_DESCRIPTION_LIMIT = 200
_ROWS_REMEMBERED = 20_000
"""More than a campaign has trials: with fewer rows than lines, none would still be there when it is asked for again."""


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
    lines = ["\t".join(COLUMNS), *(_line(trial, peaks.get(trial.trial_id)) for trial in decided)]
    return "\n".join(lines) + "\n"


def _line(trial: Trial, peak_bytes: int | None) -> str:
    commit, why = trial.candidate_commit, trial.hypothesis or trial.reason or ""
    if trial.seq == 0:
        return _row(commit or trial.parent_commit, trial.metric, peak_bytes, trial.status, "baseline", "")
    return _row(commit, trial.metric, peak_bytes, trial.status, trial.edit_key or "", why)


@lru_cache(maxsize=_ROWS_REMEMBERED)
def _row(
    commit: str | None, metric: float | None, peak_bytes: int | None, status: Status | None, edit: str, why: str
) -> str:
    """One line. The table is written anew after every trial, and its old lines hardly ever change."""
    cells = (
        (commit or "")[:7],
        "" if metric is None else f"{metric:.6f}",
        "" if peak_bytes is None else f"{peak_bytes / 2**30:.1f}",
        str(status),
        clean_text(": ".join(part for part in (edit, why) if part), _DESCRIPTION_LIMIT),
    )
    return "\t".join(cells)
