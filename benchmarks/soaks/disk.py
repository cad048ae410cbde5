"""Part (c) of the soak: a disk that somebody fills at five moments of the night, and empties again."""

import os
import time
from pathlib import Path
from typing import Any

from benchmarks.soaks.record import Record, differences
from tests.support.filling import SMALL_DISK_MIB, FilledNight, small_disk
from tests.support.workspaces import make_standin_workspace

PHASES = ("reply stored", "candidate committed", "process launched", "measured", "decided")
REAL_DISK_MIB = 1024


def soak(folder: Path, *, trials: int, phases: tuple[str, ...] = PHASES, small: bool = False) -> dict[str, Any]:
    """One night for each phase on a disk of its own, against one that nothing happened to.

    Args:
        folder: an empty one, for everything.
        trials: of each campaign.
        phases: when the disk fills.
        small: whether to make do with a smaller disk, by lower thresholds.
    """
    os.environ["XDG_CACHE_HOME"] = str(folder / "cache")
    reference = FilledNight(make_standin_workspace(folder / "reference"), None, trials)
    assert reference.wait() == 0, f"the reference failed: {reference.said}"
    wanted = Record(reference.root).digest()
    assert len(wanted["trials"]) == trials + 1, "the reference is not whole"
    return {"trials": trials, "phases": {phase: _night(folder, phase, trials, small, wanted) for phase in phases}}


def verdict(result: dict[str, Any]) -> list[str]:
    """What is not as it must be."""
    return [
        phase
        for phase, found in result["phases"].items()
        if found["exit_code"] or found["differences"] or found["doubled"] or found["fsck"] or found["failed_trials"]
    ]


def _night(folder: Path, phase: str, trials: int, small: bool, wanted: dict[str, Any]) -> dict[str, Any]:
    with small_disk(folder / phase.replace(" ", "-"), SMALL_DISK_MIB if small else REAL_DISK_MIB) as disk:
        root = make_standin_workspace(disk)
        night = FilledNight(root, phase, trials, small=small)
        try:
            started = time.monotonic()
            status = night.wait_until_paused()
            paused_s = time.monotonic() - started
            night.free()
            freed = time.monotonic()
            code = night.wait()
        finally:
            night.end()
        record = Record(root)
        return {
            "exit_code": code,
            "said": status["state_reason"],
            "paused_after_s": round(paused_s, 1),
            "finished_after_s": round(time.monotonic() - freed, 1),
            "failed_trials": [t.seq for t in record.trials if str(t.status) not in ("baseline", "keep", "discard")],
            "doubled": record.doubled(),
            "fsck": record.fsck(),
            "differences": differences(record.digest(), wanted),
        }
