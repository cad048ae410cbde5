"""A damaged store, as a person meets it: `run` refuses and names `restore`, which rebuilds it; `doctor` tells."""

from pathlib import Path

import pytest

from memory.database.migrations.runner import newest_version
from memory.lock import workspace_lock
from tests.support.command import nightshift
from tests.support.workspaces import make_standin_workspace


def state_of(root: Path) -> dict[str, bytes]:
    return {str(file): file.read_bytes() for file in (root / ".nightshift").rglob("*") if file.is_file()}


@pytest.mark.slow
def test_a_damaged_store_is_refused_and_restored(tmp_path: Path) -> None:
    root = make_standin_workspace(tmp_path)
    path = root / ".nightshift" / "store.duckdb"
    assert "store" not in nightshift("doctor", root, "--json").document
    empty = nightshift("restore", root)
    assert empty.code == 1 and "there is no store here yet" in empty.err
    done = nightshift("run", root, "--proposer", "random", "--trials", 2, "--tag", "one")
    assert done.code == 0, done.err
    before = state_of(root)
    document = nightshift("doctor", root, "--json").document
    assert document.keys() == {"device", "isolation", "endpoint", "disk", "store"}
    assert document["store"] == {
        "ok": True, "schema": newest_version(), "bytes": path.stat().st_size, "backups": [], "damaged": None
    }  # fmt: skip
    assert state_of(root) == before
    whole = nightshift("restore", root)
    assert whole.code == 1 and "nothing to restore" in whole.err

    damaged = path.read_bytes()[: path.stat().st_size // 2]
    path.write_bytes(damaged)
    document = nightshift("doctor", root, "--json").document
    assert document["store"]["ok"] is False and "Could not read" in document["store"]["damaged"]
    refused = nightshift("run", root, "--proposer", "random", "--trials", 2)
    assert refused.code == 1 and "Traceback" not in refused.err
    for part in (f"{path}: the store is damaged", "its snapshot has 3 trials", f"`nightshift restore {root}`"):
        assert part in refused.err
    assert path.read_bytes() == damaged
    assert nightshift("status", root, "--json").document["tag"] == "one", "readers read the snapshot"

    with workspace_lock(root / ".nightshift" / "lock"):
        assert nightshift("restore", root).code == 75
    restored = nightshift("restore", root, "--json").document
    (kept,) = restored.pop("kept")
    assert Path(kept).read_bytes() == damaged
    assert f'Could not read enough bytes from file "{path}"' in restored.pop("damage") and restored.pop("newest")
    assert restored == {
        "workspace": str(root), "trials": 3, "tag": "one", "lost": [], "taken_off": [], "notes": []
    }  # fmt: skip
    path.unlink()
    assert nightshift("doctor", root, "--json").document["store"]["damaged"] == "its file is gone"
    again = nightshift("restore", root)
    assert again.code == 0 and "It is rebuilt from its snapshot: 3 trials" in again.out
    further = nightshift("run", root, "--proposer", "random", "--trials", 1, "--tag", "two")
    assert further.code == 0, further.err
    found = nightshift("query", root, "SELECT campaign, count(*) FROM trials GROUP BY 1 ORDER BY 1", "--json").document
    assert found["rows"] == [["one", 3], ["two", 2]]


def test_doctor_leaves_a_store_alone_that_a_loop_holds(tmp_path: Path) -> None:
    root = make_standin_workspace(tmp_path)
    state = root / ".nightshift"
    state.mkdir()
    (state / "store.duckdb").write_bytes(b"not read")
    with workspace_lock(state / "lock"):
        store = nightshift("doctor", root, "--json").document["store"]
    assert store["ok"] is None and "a loop is at work here (process" in store["note"]
