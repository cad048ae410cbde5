"""One campaign as JSON lines: whole, so that it can be read back record for record.

The first line is the campaign, then each trial with everything that belongs to it, then lineage blocks and events.
"""

import json
from collections import defaultdict
from collections.abc import Iterator
from typing import Any

from memory.importers.own import CAMPAIGN, MARK, VERSION
from memory.importers.own_records import PARTS
from memory.record_set import RecordSet
from memory.records import Record
from rails.text import escaped_json


def jsonl_lines(records: RecordSet) -> Iterator[str]:
    """The lines of an export, without their ends. Equal records give equal lines."""
    yield _line({MARK: VERSION, "trials": len(records.trials), CAMPAIGN: _plain(records.campaign)})
    parts: dict[str, dict[str, list[Record]]] = {}
    for name, _ in PARTS:
        by_trial: dict[str, list[Record]] = defaultdict(list)
        for record in getattr(records, name):
            by_trial[record.trial_id].append(record)
        parts[name] = by_trial
    for trial in records.trials:
        found: dict[str, Any] = {"trial": _plain(trial)}
        for name, by_trial in parts.items():
            if trial.trial_id in by_trial:
                found[name] = [_plain(record) for record in by_trial[trial.trial_id]]
        yield _line(found)
    for block in records.lineage_blocks:
        yield _line({"lineage_block": _plain(block)})
    for event in records.events:
        yield _line({"event": _plain(event)})


def _plain(record: Record) -> dict[str, Any]:
    return record.model_dump(mode="json")


def _line(found: dict[str, Any]) -> str:
    return escaped_json(json.dumps(found, ensure_ascii=False, allow_nan=False, separators=(",", ":")))
