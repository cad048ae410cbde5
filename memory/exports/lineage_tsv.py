"""The wide `results.tsv`, 18 columns, as loops with specialists keep it.

Numbers are written in full, so that they can be read back exactly. A failure has an empty metric, never a number.
"""

import unicodedata
from collections.abc import Iterable
from datetime import UTC
from itertools import groupby
from typing import Any

from memory.importers.lineage_tsv import OWN
from memory.record_set import RecordSet
from memory.records import Measurement, Phase, Trial
from rails.text import clean_text, spreadsheet_text

COLUMNS = (
    "exp_id timestamp specialist parent_exp baseline_exp domain hypothesis expected_delta status {metric} "
    "delta_vs_best artifact_bytes train_s eval_s total_s job_name snapshot_path notes"
)
"""The table's columns; the metric goes by its own name."""


def lineage_lines(records: RecordSet) -> Iterable[str]:
    """The lines of the table, its header first: decided trials by number."""
    metric = records.campaign.task.get("metric") or {}
    name = clean_text(str(metric.get("name", "val_bpb")), 60).replace(" ", "_")
    yield COLUMNS.format(metric=name).replace(" ", "\t")
    seqs = {trial.trial_id: trial.seq for trial in records.trials}
    by_trial = {key: list(found) for key, found in groupby(records.measurements, key=lambda done: done.trial_id)}
    scale = abs(next((t.metric for t in records.trials if t.seq == 0 and t.metric is not None), 0.0)) or 1.0
    sign = 1.0 if metric.get("direction") == "maximize" else -1.0
    for trial in records.trials:
        if trial.phase is Phase.DECIDED:
            delta = None if trial.gain is None else sign * trial.gain * scale
            yield "\t".join(_cells(trial, seqs, delta, by_trial.get(trial.trial_id, [])))


def _cells(trial: Trial, seqs: dict[str, int], delta: float | None, measured: list[Measurement]) -> list[str]:
    parent = seqs.get(trial.parent_trial_id or "")
    told: dict[str, Any] = next((done.summary for done in measured if done.summary), None) or {}
    done_at = (trial.decided_at or trial.created_at).astimezone(UTC)
    why = ": ".join(part for part in (trial.edit_key, trial.reason) if part)
    job = told.get("job_name") or f"{OWN}{trial.proposer or trial.kind}"
    values = (
        f"{trial.seq:03d}",
        f"{done_at:%Y-%m-%dT%H:%M:%SZ}",
        trial.specialist,
        None if parent is None else f"exp_{parent:03d}",
        None if parent is None else f"{parent:03d}",
        trial.domain,
        trial.hypothesis,
        trial.expected_delta,
        str(trial.status),
        trial.metric,
        delta,
        told.get("artifact_bytes"),
        trial.train_s or None,
        trial.score_s or None,
        trial.total_s or None,
        job,
        told.get("snapshot_path") or trial.commit_sha,
        why if trial.edit_key else trial.reason,
    )
    return [_cell(value) for value in values]


def _cell(value: object) -> str:
    """One cell: numbers in full, text without what would end it, act on a terminal, or be a spreadsheet's formula."""
    if value is None:
        return ""
    if isinstance(value, float):
        return repr(value)
    text = "".join(" " if unicodedata.category(c).startswith(("C", "Zl", "Zp")) else c for c in str(value)).strip()
    return spreadsheet_text(text)
