"""Everything of a workspace that must not depend on kills, in one document that can be compared."""

from collections import Counter
from pathlib import Path
from typing import Any, Final

from memory.database.queries import Queries
from memory.database.rows import ALL_TABLES
from memory.reader import Reader
from memory.records import Record
from memory.store import Store
from tests.support.git_workspace import git, refs

_EPHEMERAL: Final = {
    "Campaign": {"created_at", "ended_at", "active_s", "joules", "hardware"},
    "Trial": {"decided_at", "propose_s", "train_s", "score_s", "total_s", "joules"},
    "Measurement": {
        "attempt",
        "started_at",
        "finished_at",
        "startup_s",
        "startup_cpu_s",
        "cpu_s",
        "answer_cpu_s",
        "train_s",
        "score_s",
        "answer_s",
        "mfu",
        "peak_rss_bytes",
        "peak_device_bytes",
        "log_tail",
    },
    "Curve": {"elapsed_s"},
    "Call": {"created_at", "latency_s"},
    "Verdict": set[str](),
    "LineageBlock": {"created_at"},
    "Lesson": {"created_at"},
}
"""Times, seconds, what the machine was like, and how often something was begun."""

_EPHEMERAL_PARTS: Final = {
    "summary": {"training_seconds", "total_seconds"},
    "probes": {"probe_s", "order_places"},  # the places are drawn by chance, which the trial must not foresee
}


def rows_of(source: Queries) -> dict[str, list[dict[str, Any]]]:
    """Every row of every campaign that a kill must not change, by table, in the order of their keys."""
    rows: dict[str, list[dict[str, Any]]] = {}
    for table in ALL_TABLES:
        if (name := table.record.__name__) in _EPHEMERAL:
            order = ", ".join(table.key)
            found = source._records(table, "true", [], order)  # pyright: ignore[reportPrivateUsage]
            rows[name] = [_row(record, _EPHEMERAL[name]) for record in found]
    return rows


def _row(record: Record, without: set[str]) -> dict[str, Any]:
    row = record.model_dump(mode="json", exclude=without)
    for part, keys in _EPHEMERAL_PARTS.items():
        if row.get(part):
            row[part] = _without(row[part], keys)
    return row


def _without(value: Any, keys: set[str]) -> Any:
    """Probes of the test text stand within those of the validation text."""
    if not isinstance(value, dict):
        return value
    return {key: _without(inner, keys) for key, inner in value.items() if key not in keys}  # pyright: ignore[reportUnknownVariableType]


def stored(root: Path) -> dict[str, list[dict[str, Any]]]:
    """The rows in the store."""
    with Store.open(root / ".nightshift" / "store.duckdb") as store:
        return rows_of(store)


def published(root: Path) -> dict[str, list[dict[str, Any]]]:
    """The rows in the snapshot."""
    with Reader.open(root / ".nightshift" / "snapshot") as reader:
        return rows_of(reader)


def digest(root: Path) -> dict[str, Any]:
    """All of it: rows, branches, and the files that people read."""
    return {
        **stored(root),
        "refs": refs(root),
        "HEAD": git(root, "symbolic-ref", "HEAD"),
        "status": git(root, "status", "--porcelain").splitlines(),
        "log": git(root, "log", "--format=%H %B").splitlines(),
        "files": {path.name: path.read_text("utf-8") for path in sorted(root.iterdir()) if path.is_file()},
    }


def check_whole(root: Path, document: dict[str, Any]) -> None:
    """What must hold of any workspace that no loop works in: nothing is left behind, and all copies agree."""
    shown = published(root)
    compare(shown, {table: document[table] for table in shown})
    campaign = document["Campaign"][-1]
    found = document["refs"]
    assert found[f"refs/heads/{campaign['branch']}"] == campaign["head_commit"], "the branch is not at the head"
    assert not any(name.startswith("refs/nightshift") for name in found), f"refs are left: {found}"
    git(root, "fsck", "--strict")
    scratch = root / ".nightshift" / "scratch"
    left = list(scratch.iterdir()) if scratch.is_dir() else []
    left += [path for path in root.rglob("*") if path.name.endswith((".tmp", ".lock"))]
    assert left == [], f"files are left: {left}"
    keys = Counter((row["trial_id"], row["attempt"], row["position"]) for row in document["Call"])
    assert set(keys.values()) <= {1}, f"calls are stored twice: {keys}"


def compare(found: dict[str, Any], reference: dict[str, Any]) -> None:
    """Both documents are the same; when they are not, the error names what differs and nothing else."""
    differences: list[str] = []
    for part in reference:
        if found[part] == reference[part]:
            continue
        ours, theirs = found[part], reference[part]
        if isinstance(ours, dict):
            differences.append(_difference(part, ours, theirs))
            continue
        if not isinstance(ours, list) or len(ours) != len(theirs):
            differences.append(f"{part}: {_size(ours)}, not {_size(theirs)}")
            continue
        differences += [_difference(part, a, b) for a, b in zip(ours, theirs, strict=True) if a != b]
    assert not differences, "\n".join(differences)


def _difference(part: str, ours: Any, theirs: Any) -> str:
    if not isinstance(ours, dict) or not isinstance(theirs, dict):
        return f"{part}: {ours!r}, not {theirs!r}"
    keys = [key for key in ours if ours[key] != theirs.get(key)]
    where = {key: ours[key] for key in ("seq", "measurement_id", "trial_id") if key in ours}
    return f"{part} {where}: " + "; ".join(f"{key} is {ours[key]!r}, not {theirs.get(key)!r}" for key in keys)


def _size(part: Any) -> str:
    return f"{len(part)} rows" if isinstance(part, list) else repr(part)
