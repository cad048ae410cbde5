"""The wide `results.tsv` of loops with specialists: a row a trial, 17 or 18 columns, the metric under its own name.

Columns are known by name, so their order and number may vary. `parent_exp` is the trial whose program was changed,
`baseline_exp` the best of its day, which `delta_vs_best` compares with. A trial that overran its budget has a metric in
the table; here that is a claim, not a metric: a number that was not allowed to count must not become the best.
"""

import re
from collections import Counter
from collections.abc import Sequence

from memory.importers.builder import LogBuilder
from memory.importers.log import Log, LogFormat, Origin, RowError
from memory.importers.placed import Found
from memory.importers.tables import Header, header_of, is_repeated
from memory.importers.values import MAXIMISED, edit_in, moment, number_in, seconds, status_of, whole
from memory.keep.evidence import Direction
from rails.status import FINISHED, Status

TELLING = {"exp_id", "status"}
"""Columns by which the table is recognised."""

OTHERS = frozenset(
    {
        *("exp_id", "timestamp", "specialist", "parent_exp", "baseline_exp", "domain", "hypothesis", "expected_delta"),
        *(
            "status",
            "delta_vs_best",
            "artifact_bytes",
            "train_s",
            "eval_s",
            "total_s",
            "job_name",
            "snapshot_path",
            "notes",
        ),
    }
)
"""Columns that are no metric."""

OWN = "nightshift:"
"""How `job_name` begins in tables that nightshift wrote: there, and only there, notes begin with the edit."""

_ID = re.compile(r"\D*(\d{1,9})")
_NEEDED = ("total_s", "eval_s", "train_s", "delta_vs_best", "status")


def recognise(first_line: str) -> bool:
    """Whether a file that begins with this line is such a table."""
    return set(header_of(first_line)) >= TELLING


def read(origin: Origin, lines: Sequence[tuple[int, str]]) -> Log:
    """The log; `lines` begin with the header."""
    builder = LogBuilder(origin, LogFormat.LINEAGE_TSV)
    columns = header_of(lines[0][1])
    needed = next(name for name in _NEEDED if name in columns)
    header = Header(columns, needed, is_number=needed != "status")
    rows: list[tuple[int, dict[str, str], Status]] = []
    for line, text in lines[1:]:
        if is_repeated(columns, text):
            builder.notes.append(f"line {line} is the header once more")
            continue
        try:
            cells = header.cells(text)
            rows.append((line, cells, status_of(cells["status"])))
        except RowError as error:
            builder.refuse(line, str(error))
    metric = _metric_column(columns, [cells for _, cells, status in rows if status in FINISHED])
    builder.metric_name = metric or "val_bpb"
    builder.direction = _direction(builder, [cells for _, cells, status in rows if status is Status.KEEP])
    for line, cells, status in rows:
        try:
            builder.add(_found(cells, status, metric))
        except RowError as error:
            builder.refuse(line, str(error))
    if not any(placed.found.trial["edit"] for placed in builder.trials.values()):
        builder.notes.append("edits are free text here: repeats and knobs cannot be counted")
    return builder.finish()


def _found(cells: dict[str, str], status: Status, metric: str | None) -> Found:
    """A row as a trial.

    Raises:
        RowError: a number is none.
    """
    score = number_in(cells.get(metric or "", ""), metric or "the metric")
    notes, hypothesis = cells.get("notes", "").strip(), cells.get("hypothesis", "").strip()
    done = moment(cells.get("timestamp", ""))
    job = cells.get("job_name", "").strip()
    edit = edit_in(notes) if job.startswith(OWN) else None
    finished = status in FINISHED
    took = {name: seconds(number_in(cells.get(name, ""), name)) for name in ("train_s", "eval_s", "total_s")}
    return Found(
        status=status,
        metric=score if finished else None,
        claimed=None if finished else score,
        number=_number(cells["exp_id"]),
        parent=_number(cells.get("parent_exp", "")),
        rival=_number(cells.get("baseline_exp", "")),
        trial={
            "specialist": cells.get("specialist", "").strip() or None,
            "domain": cells.get("domain", "").strip() or None,
            "hypothesis": hypothesis or None,
            "expected_delta": _expected(cells),
            "reason": (notes.partition(": ")[2] if edit else notes) or None,
            "edit": edit,
            "program_key": f"{cells.get('parent_exp', '').strip()}:{edit['knob']}={edit['value']}" if edit else None,
            "edit_key": f"{edit['knob']}={edit['value']}" if edit else None,
            "train_s": took["train_s"],
            "score_s": took["eval_s"],
            "total_s": took["total_s"],
            "created_at": done,
        },
        measurement={
            "train_s": took["train_s"] or None,
            "score_s": took["eval_s"] or None,
            "summary": {
                "artifact_bytes": whole(number_in(cells.get("artifact_bytes", ""), "artifact_bytes")),
                "job_name": None if job.startswith(OWN) else job or None,
                "snapshot_path": cells.get("snapshot_path", "").strip() or None,
                **_other_metrics(cells, metric),
            },
        },
    )


def _number(text: str) -> int | None:
    """The number in `014` or `exp_014`."""
    match = _ID.fullmatch(text.strip())
    return int(match[1]) if match else None


def _expected(cells: dict[str, str]) -> float | None:
    """A guess in words says nothing wrong about the trial."""
    try:
        return number_in(cells.get("expected_delta", ""), "expected_delta")
    except RowError:
        return None


def _other_metrics(cells: dict[str, str], metric: str | None) -> dict[str, str]:
    """Columns that are not known, as they stand."""
    return {name: text for name, text in cells.items() if name not in OTHERS and name != metric and text.strip()}


def _metric_column(columns: Sequence[str], finished: Sequence[dict[str, str]]) -> str | None:
    """Which column is optimised: of those with numbers in most finished rows, the one that `delta_vs_best` speaks of.

    A difference to the best of the day is the metric minus an earlier metric of the same column.
    """
    candidates = [name for name in columns if name and name not in OTHERS]
    numbers = {name: [_quiet(cells[name]) for cells in finished] for name in candidates}
    known = {name: sum(value is not None for value in values) for name, values in numbers.items()}
    candidates = [name for name in candidates if known[name] and 2 * known[name] >= max(known.values())]
    if len(candidates) < 2:
        return candidates[0] if candidates else None
    deltas = [_quiet(cells.get("delta_vs_best", "")) for cells in finished]
    return max(candidates, key=lambda name: (_explained(numbers[name], deltas), -candidates.index(name)))


def _explained(values: Sequence[float | None], deltas: Sequence[float | None]) -> int:
    """How many of the differences are one between this column's value and an earlier one of it."""
    seen: Counter[float] = Counter()
    explained = 0
    for value, delta in zip(values, deltas, strict=True):
        if value is not None and delta is not None and seen[round(value - delta, 5)]:
            explained += 1
        if value is not None:
            seen[round(value, 5)] += 1
    return explained


def _quiet(text: str) -> float | None:
    try:
        return number_in(text, "")
    except RowError:
        return None


def _direction(builder: LogBuilder, keeps: Sequence[dict[str, str]]) -> Direction:
    """Which way is better: as the kept trials moved against the best before them, else by the metric's name."""
    deltas = [delta for cells in keeps if (delta := _quiet(cells.get("delta_vs_best", "")))]
    up = sum(delta > 0 for delta in deltas)
    if deltas and 2 * up != len(deltas):
        return "maximize" if 2 * up > len(deltas) else "minimize"
    found: Direction = "maximize" if builder.metric_name in MAXIMISED else "minimize"
    builder.notes.append(f"that {builder.metric_name} is to be {found}d is taken from its name")
    return found
