"""Writing one campaign in any of the formats."""

import secrets
from collections.abc import Iterator
from pathlib import Path

from memory.atomic import atomic_write_bytes, disk_errors, sync_file
from memory.exports.formats import ExportFormat
from memory.exports.jsonl import jsonl_lines
from memory.exports.lineage_tsv import lineage_lines
from memory.exports.parquet import write_parquet
from memory.exports.results_tsv import render_results_tsv
from memory.record_set import RecordSet
from memory.records.metric import metric_of


def export_records(records: RecordSet, export_format: ExportFormat, path: Path) -> None:
    """Write `records` to `path`, which is replaced as a whole or left as it was.

    Raises:
        HaltError: the disk is full or the file cannot be written.
    """
    if export_format is ExportFormat.PARQUET:
        temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
        with disk_errors(path):
            try:
                write_parquet(records, temporary)
                sync_file(temporary)
                temporary.replace(path)
            except BaseException:
                temporary.unlink(missing_ok=True)
                raise
        return
    atomic_write_bytes(path, export_text(records, export_format).encode("utf-8"))


def export_text(records: RecordSet, export_format: ExportFormat) -> str:
    """The text of an export in one of the text formats."""
    if export_format is ExportFormat.RESULTS_TSV:
        return render_results_tsv(records.trials, _peaks(records), metric_of(records.campaign.task).name)
    lines: Iterator[str] = iter(jsonl_lines(records) if export_format is ExportFormat.JSONL else lineage_lines(records))
    return "".join(f"{line}\n" for line in lines)


def _peaks(records: RecordSet) -> dict[str, int]:
    """Trial id to the most memory that its measurements took: of the accelerator where there is one."""
    peaks: dict[str, int] = {}
    for done in records.measurements:
        used = done.peak_rss_bytes if done.peak_device_bytes is None else done.peak_device_bytes
        if used is not None:
            peaks[done.trial_id] = max(used, peaks.get(done.trial_id, 0))
    return peaks
