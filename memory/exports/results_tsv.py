"""`results.tsv`: the five-column table that people read next to the branch."""

from collections.abc import Iterable, Mapping
from itertools import compress
from operator import attrgetter, is_not, ne

from memory.records import Phase, Trial
from rails.status import Status
from rails.text import clean_text, spreadsheet_text

COLUMNS = ("commit", "val_bpb", "memory_gb", "status", "description")
"""Of a task whose metric is val_bpb: the second column has the metric's name."""
_DESCRIPTION_LIMIT = 200
_COMMIT_LETTERS = 7


class ResultsTable:
    """The table of one campaign, for whoever writes it anew after every trial.

    Records are immutable: a row that is the same object as the last time has the same line.

    Args:
        metric: name of what is measured.
    """

    def __init__(self, metric: str = "val_bpb") -> None:
        name = clean_text(metric, 60).replace(" ", "_")
        self._header = "\t".join(name if column == "val_bpb" else column for column in COLUMNS)
        self._trials: list[Trial] = []
        self._ids: list[str] = []
        self._peaks: list[int | None] = []
        self._lines: list[str | None] = []
        """Of each trial; None while it is undecided."""

    def render(self, trials: Iterable[Trial], peak_bytes: Mapping[str, int]) -> str:
        """The decided trials as tab-separated text with a header. Equal rows give equal text.

        A failure has empty cells, never 0.0: that would be the best score there is. `commit` is the candidate's, which
        is known before the branch's own commit (that one contains this table).

        Args:
            trials: of one campaign, by number; undecided ones are left out.
            peak_bytes: trial id to the largest memory its measurements used; the column is empty where it is missing.
        """
        rows, known = list(trials), self._trials
        others = (*compress(range(len(rows)), map(is_not, rows, known)), *range(len(known), len(rows)))
        ids = [*self._ids[: len(rows)], *[""] * (len(rows) - len(known))]
        for at in others:
            ids[at] = rows[at].trial_id
        peaks = list(map(peak_bytes.get, ids))
        lines = [*self._lines[: len(rows)], *[None] * (len(rows) - len(known))]
        for at in {*others, *compress(range(len(rows)), map(ne, peaks, self._peaks))}:
            lines[at] = _line(rows[at], peaks[at]) if rows[at].phase is Phase.DECIDED else None
        self._trials, self._ids, self._peaks, self._lines = rows, ids, peaks, lines
        return "\n".join([self._header, *filter(None, lines)]) + "\n"


def render_results_tsv(
    trials: Iterable[Trial], peak_bytes: Mapping[str, int] | None = None, metric: str = "val_bpb"
) -> str:
    """The table of one campaign, made from nothing and of trials in any order; see `ResultsTable`."""
    return ResultsTable(metric).render(sorted(trials, key=attrgetter("seq")), peak_bytes or {})


def _line(trial: Trial, peak_bytes: int | None) -> str:
    commit, why = trial.candidate_commit, trial.hypothesis or trial.reason or ""
    if trial.seq == 0:
        return _row(commit or trial.parent_commit, trial.metric, peak_bytes, trial.status, "baseline", "")
    return _row(commit, trial.metric, peak_bytes, trial.status, trial.edit_key or "", why)


def _row(
    commit: str | None, metric: float | None, peak_bytes: int | None, status: Status | None, edit: str, why: str
) -> str:
    cells = (
        spreadsheet_text(clean_text((commit or "")[:_COMMIT_LETTERS], _COMMIT_LETTERS)),
        "" if metric is None else f"{metric:.6f}",
        "" if peak_bytes is None else f"{peak_bytes / 2**30:.1f}",
        str(status),
        spreadsheet_text(clean_text(": ".join(part for part in (edit, why) if part), _DESCRIPTION_LIMIT)),
    )
    return "\t".join(cells)
