"""The five-column `results.tsv`: commit, metric, memory_gb, status, description. Ours, and that of the seeds.

A crash has the metric 0.000000 there: a sentinel, and the best score that there could be; it is never read as one. The
first trial is the starting point. Rows that repeat a commit with another description are another program: many loops
write the commit that they went back to.
"""

from collections.abc import Sequence
from hashlib import sha256
from itertools import pairwise

from memory.importers.builder import LogBuilder
from memory.importers.log import Log, LogFormat, Origin, RowError
from memory.importers.placed import Found
from memory.importers.tables import Header, header_of, is_repeated
from memory.importers.values import MAXIMISED, edit_in, number_in, status_of
from memory.keep.evidence import Direction
from rails.status import FINISHED, Status

TELLING = {"commit", "status", "description"}
"""Columns by which the table is recognised."""

OTHERS = frozenset({"commit", "memory_gb", "status", "description"})
"""Columns that are no metric."""


def recognise(first_line: str) -> bool:
    """Whether a file that begins with this line is such a table."""
    return set(header_of(first_line)) >= TELLING


def read(origin: Origin, lines: Sequence[tuple[int, str]]) -> Log:
    """The log; `lines` begin with the header."""
    builder = LogBuilder(origin, LogFormat.RESULTS_TSV)
    columns = header_of(lines[0][1])
    header = Header(columns, "status", is_number=False)
    metric = next((name for name in columns if name and name not in OTHERS), None)
    builder.metric_name = metric or "val_bpb"
    rows: list[tuple[int, Found]] = []
    for line, text in lines[1:]:
        if is_repeated(columns, text):
            builder.notes.append(f"line {line} is the header once more")
            continue
        try:
            rows.append((line, _found(header.cells(text), metric)))
        except RowError as error:
            builder.refuse(line, str(error))
    _take_baseline(builder, rows)
    builder.direction = _direction(builder, [found for _, found in rows])
    for number, (line, found) in enumerate(rows, 0 if rows and rows[0][1].status is Status.BASELINE else 1):
        found.number = number
        try:
            builder.add(found)
        except RowError as error:
            builder.refuse(line, str(error))
    return builder.finish()


def _found(cells: dict[str, str], metric: str | None) -> Found:
    """A row as a trial.

    Raises:
        RowError: its status is unknown, or its metric is no number.
    """
    status = status_of(cells["status"])
    finished = status in FINISHED
    commit, text = cells["commit"].strip(), cells["description"].strip()
    score = number_in(cells.get(metric or "", ""), metric or "the metric") if finished else None
    if score == 0:
        raise RowError(f"{metric} is 0, as for a crash, but its status is {status}")
    gigabytes = number_in(cells.get("memory_gb", ""), "memory_gb") or 0.0
    edit = edit_in(text)
    return Found(
        status=status,
        metric=score,
        trial={
            "hypothesis": _words(text, edit is not None) if finished else None,
            "reason": None if finished else _words(text, edit is not None),
            "edit": edit,
            "edit_key": f"{edit['knob']}={edit['value']}" if edit else None,
            "program_key": sha256(f"{commit}\t{text}".encode("utf-8", "replace")).hexdigest() if commit else None,
            "candidate_commit": commit or None,
            "commit_sha": commit or None if status is Status.KEEP else None,
        },
        measurement={"peak_device_bytes": round(gigabytes * 2**30) if 0 < gigabytes < 1e6 else None},
    )


def _words(text: str, with_edit: bool) -> str | None:
    """A description without the edit that it begins with."""
    return (text.partition(": ")[2] if with_edit else text).strip() or None


def _take_baseline(builder: LogBuilder, rows: Sequence[tuple[int, Found]]) -> None:
    """The first trial has nothing to be better than: when it was kept, it is the starting point."""
    first = next((found for _, found in rows), None)
    if first is not None and first.status is Status.KEEP:
        first.status = Status.BASELINE
        builder.notes.append("the first row, a keep, is taken as the baseline: there was nothing to compare it with")
    elif first is None or first.status is not Status.BASELINE:
        builder.notes.append("there is no baseline: the first row is neither one nor kept")


def _direction(builder: LogBuilder, found: Sequence[Found]) -> Direction:
    """Which way is better: by the metric's name where that is telling, else as the kept trials went."""
    name = builder.metric_name
    if name in MAXIMISED:
        return "maximize"
    if "bpb" in name or "loss" in name:
        return "minimize"
    kept = [row.metric for row in found if row.status in {Status.KEEP, Status.BASELINE} and row.metric is not None]
    up = sum(after > before for before, after in pairwise(kept))
    direction: Direction = "maximize" if 2 * up > max(1, len(kept) - 1) else "minimize"
    builder.notes.append(f"that {name} is to be {direction}d is taken from how the kept trials went")
    return direction
