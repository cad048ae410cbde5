"""Whatever trials write and print, what a night leaves beside its store and its snapshot stays small."""

import json
from pathlib import Path

import pytest

from agents.base import ProposalContext, Reply, local_call
from graph.campaign.options import RunOptions
from graph.runner import Runner
from graph.watching.events import Observer
from memory.records import EventKind, Trial
from rails.status import Status
from tests.support.filling import MIB, SMALL, SMALL_DISK_MIB, small_disk
from tests.support.workspaces import STANDIN, make_quick_workspace, standin_campaign

START = "    session, knobs = Session.open(), Knobs()\n"
FLOODS = """
    import sys
    from pathlib import Path

    if knobs.rows == 16:  # much to say
        for _ in range(2000):
            print("x" * 10_000)
    if knobs.rows == 32:  # many files, none of them large
        for number in range(2000):
            Path(f"file-{number}").write_bytes(b"x" * 10_000)
    if knobs.rows == 2:  # until the disk is full, and then some
        with open("big", "wb", buffering=0) as file:
            while True:
                file.write(b"x" * 2**20)
"""
FLOODING = STANDIN.read_text(encoding="utf-8").replace(START, START + FLOODS)
ROWS = (16, 32, 2, 4)
KNOWN = {"store.duckdb", "store.duckdb.wal", "snapshot", "ballast"}
BESIDE_BYTES = 64 * 1024


class Flooder:
    name = "flooder"
    repairs_crashes = False

    def check_ready(self) -> None:
        pass

    def propose(self, context: ProposalContext) -> Reply:
        raw = json.dumps({"knob": "rows", "new_value": ROWS[context.trial_seq - 1], "reason": "x"})
        return Reply(raw=raw, calls=(local_call(raw, 0.0),))


class Sizes(Observer):
    """How much lies beside store and snapshot after each trial."""

    def __init__(self, state_dir: Path) -> None:
        self._state_dir = state_dir
        self.beside: list[int] = []

    def decided(self, trial: Trial) -> None:
        files = [path for path in self._state_dir.rglob("*") if path.is_file()]
        outside = [path for path in files if path.relative_to(self._state_dir).parts[0] not in KNOWN]
        self.beside.append(sum(path.stat().st_size for path in outside))


@pytest.mark.system
def test_trials_that_flood_disk_and_output_leave_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert FLOODING.count("knobs.rows == 16") == 1
    for place, mib in SMALL.items():
        monkeypatch.setattr(place, mib * MIB)
    try:
        with small_disk(tmp_path / "disk", SMALL_DISK_MIB) as disk:
            check_a_flooded_night(disk)
    except PermissionError as error:
        pytest.skip(str(error))


def check_a_flooded_night(disk: Path) -> None:
    root = make_quick_workspace(disk, source=FLOODING)
    sizes = Sizes(root / ".nightshift")
    with standin_campaign(root, proposer=Flooder(), observer=sizes, options=RunOptions(trials=len(ROWS))) as services:
        campaign = Runner(services).run()
        trials = services.store.trials(campaign.campaign_id)
        tails = [m.log_tail or "" for m in services.store.campaign_measurements(campaign.campaign_id)]
        kinds = {event.kind for event in services.store.events(campaign.campaign_id)}
    finished = {Status.KEEP, Status.DISCARD}
    assert [t.status in finished for t in trials[1:]] == [True, True, False, True]
    assert trials[3].status is Status.PREFLIGHT_CRASH, trials[3].reason  # its own fault, not the disk's
    assert EventKind.DISK_FULL not in kinds
    assert max(map(len, tails)) < 128 * 1024
    assert max(sizes.beside) < BESIDE_BYTES
    assert list((root / ".nightshift" / "scratch").iterdir()) == []
    assert not list(root.glob("*.tmp"))
