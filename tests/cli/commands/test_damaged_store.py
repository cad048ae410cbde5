"""A damaged store, as a person meets it: `nightshift run` refuses and says where the trials are; `doctor` tells."""

from pathlib import Path

from memory.database.migrations.runner import newest_version
from memory.lock import workspace_lock
from memory.reader import Reader
from tests.support.command import nightshift
from tests.support.workspaces import make_standin_workspace


def state_of(root: Path) -> dict[str, bytes]:
    return {str(file): file.read_bytes() for file in (root / ".nightshift").rglob("*") if file.is_file()}


def test_a_damaged_store_is_named_rescued_once_and_not_touched(tmp_path: Path) -> None:
    root = make_standin_workspace(tmp_path)
    path = root / ".nightshift" / "store.duckdb"
    assert "store" not in nightshift("doctor", root, "--json").document
    done = nightshift("run", root, "--proposer", "random", "--trials", 2, "--tag", "one")
    assert done.code == 0, done.err
    before = state_of(root)
    document = nightshift("doctor", root, "--json").document
    assert document.keys() == {"device", "isolation", "endpoint", "disk", "store"}
    assert document["store"] == {
        "ok": True, "schema": newest_version(), "bytes": path.stat().st_size, "backups": [], "damaged": None
    }  # fmt: skip
    assert state_of(root) == before

    damaged = path.read_bytes()[: path.stat().st_size // 2]
    path.write_bytes(damaged)
    document = nightshift("doctor", root, "--json").document
    assert document["store"]["ok"] is False and "Could not read" in document["store"]["damaged"]
    assert not list(path.parent.glob("rescue-*"))

    for _ in range(2):
        refused = nightshift("run", root, "--proposer", "random", "--trials", 2)
        assert refused.code == 1 and "Traceback" not in refused.err
        (folder,) = path.parent.glob("rescue-*")
        for part in (f"{path}: the store is damaged", f"3 trials were saved into {folder}", "move store.duckdb"):
            assert part in refused.err
        assert path.read_bytes() == damaged
    with Reader.open(next(path.parent.glob("rescue-*"))) as reader:
        assert [trial.seq for trial in reader.trials(reader.campaigns()[0].campaign_id)] == [0, 1, 2]

    path.rename(tmp_path / "damaged.duckdb")
    again = nightshift("run", root, "--proposer", "random", "--trials", 1, "--tag", "two")
    assert again.code == 0, again.err
    assert nightshift("status", root, "--json").document["tag"] == "two"


def test_doctor_leaves_a_store_alone_that_a_loop_holds(tmp_path: Path) -> None:
    root = make_standin_workspace(tmp_path)
    state = root / ".nightshift"
    state.mkdir()
    (state / "store.duckdb").write_bytes(b"not read")
    with workspace_lock(state / "lock"):
        store = nightshift("doctor", root, "--json").document["store"]
    assert store["ok"] is None and "a loop is at work here (process" in store["note"]
