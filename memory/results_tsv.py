"""`results.tsv`: the five-column table that people read next to the branch."""

from collections.abc import Iterable, Mapping
from operator import attrgetter

from memory.records import Phase, Trial
from rails.status import Status
from rails.text import clean_text

COLUMNS = ("commit", "val_bpb", "memory_gb", "status", "description")
_DESCRIPTION_LIMIT = 200


class ResultsTable:
    """The table of one campaign, for whoever writes it anew after every trial.

    Records are immutable: a row that is the same object as the last time has the same line.
    """

    def __init__(self) -> None:
        self._lines: dict[str, tuple[Trial, int | None, str]] = {}

    def render(self, trials: Iterable[Trial], peak_bytes: Mapping[str, int]) -> str:
        """The decided trials as tab-separated text with a header, by number. Equal rows give equal text.

        A failure has empty cells, never 0.0: that would be the best score there is. `commit` is the candidate's, which
        is known before the branch's own commit (that one contains this table).

        Args:
            trials: any trials of one campaign; undecided ones are left out.
            peak_bytes: trial id to the largest memory its measurements used; the column is empty where it is missing.
        """
        known, lines = self._lines, list[str]()
        for trial in sorted(trials, key=_number):
            trial_id = trial.trial_id
            peak, before = peak_bytes.get(trial_id), known.get(trial_id)
            if before is None or before[0] is not trial or before[1] != peak:
                if trial.phase is not Phase.DECIDED:
                    continue
                before = known[trial_id] = trial, peak, _line(trial, peak)
            lines.append(before[2])
        return "\n".join(["\t".join(COLUMNS), *lines]) + "\n"


_number = attrgetter("seq")


def render_results_tsv(trials: Iterable[Trial], peak_bytes: Mapping[str, int] | None = None) -> str:
    """The table of one campaign, made from nothing; see `ResultsTable`."""
    return ResultsTable().render(trials, peak_bytes or {})


def _line(trial: Trial, peak_bytes: int | None) -> str:
    commit, why = trial.candidate_commit, trial.hypothesis or trial.reason or ""
    if trial.seq == 0:
        return _row(commit or trial.parent_commit, trial.metric, peak_bytes, trial.status, "baseline", "")
    return _row(commit, trial.metric, peak_bytes, trial.status, trial.edit_key or "", why)


def _row(
    commit: str | None, metric: float | None, peak_bytes: int | None, status: Status | None, edit: str, why: str
) -> str:
    cells = (
        (commit or "")[:7],
        "" if metric is None else f"{metric:.6f}",
        "" if peak_bytes is None else f"{peak_bytes / 2**30:.1f}",
        str(status),
        clean_text(": ".join(part for part in (edit, why) if part), _DESCRIPTION_LIMIT),
    )
    return "\t".join(cells)
