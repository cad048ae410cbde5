"""Part (a) of the soak: a real `nightshift run`, killed at random moments and started again, to its end."""

import ctypes
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import deque
from collections.abc import Generator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psutil

from benchmarks.soaks.record import Record, differences
from memory.reader import Reader
from rails.errors import NightshiftError
from tests.support.command import argv
from tests.support.workspaces import make_standin_workspace

PR_SET_CHILD_SUBREAPER = 36
DIE_WITHIN_S = 10.0
"""How long what the loop had started may outlive it before it counts as a leftover."""
STUCK_AFTER_S = 120.0
"""A loop that is left alone and decides nothing for so long is stuck."""
PATIENCE = 3
"""After so many kills of a loop at work without a decision in between, one decision is waited for.

A measurement that five loops did not survive is given up, as it may be what kills them: a promise of its own, tested by
itself. Here it would only say that five kills hit one measurement by chance.
"""
KNOWN_FROM, LATELY = 10, 30
"""From so many kills on it is known how long a start takes, and so many of the latest tell it: other work on the
machine comes and goes."""
LAST_AFTER = 0.9
"""The last kill is meant to come after so much of the campaign."""
TAG, FINAL_SEEDS = "soak", 2
KNOWN = {"store.duckdb", "snapshot", "scratch", "lock", "ballast", "report.html", "report.png"}
"""What may be in `.nightshift` at the end."""
READER = Path(__file__).with_name("reader.py")


@dataclass
class Kills:
    """What happened on the way."""

    kills: int = 0
    in_startup: int = 0
    """Kills before the loop had said which campaign it runs."""
    waits: int = 0
    """How often a decision was waited for."""
    leftovers: list[str] = field(default_factory=list[str])
    slowest_death_s: float = 0.0
    stuck: int = 0
    failed: list[str] = field(default_factory=list[str])
    """Starts that ended by themselves, and not well."""
    tracebacks: int = 0


class Night:
    """One workspace whose loop is started again and again.

    Args:
        root: the workspace.
        folder: for the loop's output and the reader's.
        trials: of the campaign.
    """

    def __init__(self, root: Path, folder: Path, trials: int) -> None:
        self.root, self.log, self.news = root, folder / "stderr", folder / "reader.json"
        self.command = argv("run", root, "--proposer", "random", "--trials", trials, "--tag", TAG, "--json")
        self.outcome = Kills()

    def start(self) -> subprocess.Popen[bytes]:
        """Start the loop; its stderr goes to `log`, anew."""
        with self.log.open("wb") as log:
            return subprocess.Popen(self.command, stdout=subprocess.DEVNULL, stderr=log, start_new_session=True)

    def published(self) -> tuple[int, bool]:
        """How many trials are decided and whether that is the end, by the snapshot that the dead loop left."""
        with suppress(NightshiftError), Reader.open(self.root / ".nightshift" / "snapshot") as reader:
            decided = int(reader.query("SELECT count(*) FROM trials WHERE status IS NOT NULL").rows[0][0])
            campaign = reader.latest_campaign()
            return decided, campaign is not None and campaign.stop_reason is not None
        return 0, False

    def decided(self) -> int:
        """How many trials the reader saw decided, the baseline included."""
        with suppress(OSError, ValueError):
            return int(json.loads(self.news.read_text(encoding="utf-8"))["decided"])
        return 0

    def kill(self, process: subprocess.Popen[bytes], spared: set[int]) -> bool:
        """Kill the loop alone, and see that all it had started ends by itself.

        Returns:
            Whether it was at work, beyond its start-up.
        """
        outcome = self.outcome
        process.kill()
        process.wait()
        outcome.kills += 1
        started = time.monotonic()
        outcome.leftovers += _wait_for_orphans(spared)
        outcome.slowest_death_s = max(outcome.slowest_death_s, time.monotonic() - started)
        said = self.log.read_text(encoding="utf-8", errors="replace")
        outcome.tracebacks += "Traceback" in said
        in_startup = f"autoresearch/{TAG}" not in said
        outcome.in_startup += in_startup
        return not in_startup

    def watch(self, process: subprocess.Popen[bytes], more: int | None) -> bool:
        """Wait for the loop's end, or for `more` further decisions.

        Returns:
            False when nothing was decided for `STUCK_AFTER_S`.
        """
        first = last = self.decided()
        changed = time.monotonic()
        while process.poll() is None:
            now = self.decided()
            if more is not None and now - first >= more:
                return True
            if now != last:
                last, changed = now, time.monotonic()
            elif time.monotonic() - changed > STUCK_AFTER_S:
                return False
            time.sleep(0.1)
        return True

    def note_end(self, code: int) -> None:
        """A start that ended by itself."""
        said = self.log.read_text(encoding="utf-8", errors="replace")
        self.outcome.tracebacks += "Traceback" in said
        if code != 0:
            self.outcome.failed.append(f"exit code {code}: {said[-1500:]}")


def soak(folder: Path, *, kills: int, trials: int, seed: int, say: bool) -> dict[str, Any]:
    """Run the reference, then the same campaign under kills with a reader beside it, and compare.

    Args:
        folder: an empty one, for everything.
        kills: how often to kill.
        trials: of both campaigns.
        seed: of the moments.
        say: whether to tell of the progress on stderr.
    """
    os.environ["XDG_CACHE_HOME"] = str(folder / "cache")
    os.environ["PYTHONPATH"] = str(READER.parent.parent)
    reference, startup_s, trial_s = _reference(folder / "reference", trials)
    night = Night(make_standin_workspace(folder / "killed", final_seeds=FINAL_SEEDS), folder, trials)
    started = time.monotonic()
    spared = {child.pid for child in psutil.Process().children()}  # of whoever else works in this process
    with _subreaper(), reader_of(night.root, night.news) as reader:
        spared.add(reader.pid)
        _kill_until_done(night, kills, _Moments(random.Random(seed), startup_s, trial_s, trials), spared, say)
        if not night.published()[1]:
            process = night.start()
            if not night.watch(process, None):
                night.outcome.stuck += 1
                process.kill()
            night.note_end(process.wait())
            night.outcome.leftovers += _wait_for_orphans(spared)
        time.sleep(1.0)  # for a last poll
        seen = json.loads(night.news.read_text(encoding="utf-8"))
    found, outcome = Record(night.root), night.outcome
    wanted = reference.digest()
    assert len(reference.trials) == trials + 1, "the reference is not whole"
    assert all(trial.status is not None for trial in reference.trials)
    return {
        "kills_wanted": kills,
        "kills": outcome.kills,
        "kills_in_startup": outcome.in_startup,
        "decisions_waited_for": outcome.waits,
        "trials": trials,
        "minutes": round((time.monotonic() - started) / 60, 1),
        "reference_startup_s": round(startup_s, 2),
        "reference_trial_s": round(trial_s, 2),
        "lost": max(0, trials + 1 - len(found.trials)) + len(seen["changed"]),
        "doubled": found.doubled(),
        "stuck": outcome.stuck,
        "failed_starts": outcome.failed,
        "tracebacks": outcome.tracebacks,
        "leftover_processes": outcome.leftovers,
        "slowest_death_s": round(outcome.slowest_death_s, 2),
        "fsck": found.fsck(),
        "differences": differences(found.digest(), wanted),
        "measured_again": sum(m.attempt > 1 for m in found.measurements),
        "scratch_left": len(list((night.root / ".nightshift" / "scratch").iterdir())),
        "litter": sorted(path.name for path in (night.root / ".nightshift").iterdir() if path.name not in KNOWN),
        "reader": seen,
    }


def verdict(result: dict[str, Any]) -> list[str]:
    """What is not as it must be."""
    wrong = [
        name
        for name in ("lost", "doubled", "stuck", "failed_starts", "tracebacks", "leftover_processes", "fsck")
        if result[name]
    ]
    wrong += ["digest"] * bool(result["differences"]) + ["litter"] * bool(result["scratch_left"] or result["litter"])
    wrong += ["kills"] * (result["kills"] < result["kills_wanted"])
    reader = result["reader"]
    return wrong + ["reader"] * bool(reader["error_count"] or reader["changed"] or not reader["polls"])


class _Moments:
    """How long to let the loop run before the next kill: uniformly distributed, from its first instant on.

    The longest delay is such that, on average, as many trials pass between two kills as are left for each kill until
    shortly before the end: the campaign must not be over before the last of them. How long a start takes, with a
    longer record and whatever else the machine does, is taken from how far the loops before have come.
    """

    def __init__(self, chance: random.Random, startup_s: float, trial_s: float, trials: int) -> None:
        self._chance, self._startup_s, self._trial_s, self._trials = chance, startup_s, trial_s, trials
        self._seen: deque[tuple[float, int]] = deque(maxlen=LATELY)

    def delay(self, decided: int, kills_left: int, *, at_work: bool) -> float:
        """Seconds until the next kill, of a loop that starts now or is at work already."""
        # A loop killed at a uniform moment up to D has worked (D - s)² / 2D on average, s being its start-up.
        startup_s = self._startup_s if len(self._seen) < KNOWN_FROM else self._seen_startup_s()
        work_s = self._trial_s * max(0.05, (LAST_AFTER * self._trials - decided) / max(1, kills_left))
        if at_work:
            return self._chance.uniform(0.0, 2 * work_s)
        half = startup_s + work_s
        return self._chance.uniform(0.0, half + (half**2 - startup_s**2) ** 0.5)

    def note(self, delay_s: float, came: int) -> None:
        """A loop was killed after so many seconds and had decided so many trials."""
        self._seen.append((delay_s, came))

    def _seen_startup_s(self) -> float:
        """The start-up that explains what was decided: what is left of each delay after it is work. By bisection."""
        low, high = 0.0, max(delay for delay, _ in self._seen)
        came_s = self._trial_s * sum(came for _, came in self._seen)
        while high - low > 0.01:
            middle = (low + high) / 2
            worked_s = sum(max(0.0, delay - middle) for delay, _ in self._seen)
            low, high = (middle, high) if worked_s > came_s else (low, middle)
        return high


def _kill_until_done(night: Night, kills: int, moments: _Moments, spared: set[int], say: bool) -> None:
    decided, without, ended = 0, 0, False
    while night.outcome.kills < kills and not ended:
        process, waits = night.start(), without >= PATIENCE
        if waits:
            night.outcome.waits += 1
            night.outcome.stuck += not night.watch(process, 1)
            without = 0
        delay_s = moments.delay(decided, kills - night.outcome.kills, at_work=waits)
        with suppress(subprocess.TimeoutExpired):
            night.note_end(process.wait(delay_s))
            return
        at_work = night.kill(process, spared)
        before = decided
        decided, ended = night.published()
        without = 0 if decided > before else without + at_work
        if not waits:
            moments.note(delay_s, decided - before)
        if say and night.outcome.kills % 20 == 0:
            print(f"{night.outcome.kills} kills, {decided} trials decided", file=sys.stderr, flush=True)


def _reference(folder: Path, trials: int) -> tuple[Record, float, float]:
    """An undisturbed campaign, with the seconds until it opened its first trial and those of a trial."""
    root = make_standin_workspace(folder, final_seeds=FINAL_SEEDS)
    night, started = Night(root, folder, trials), datetime.now(UTC)
    code = night.start().wait()
    assert code == 0, f"the reference failed: {night.log.read_text(encoding='utf-8')[-1000:]}"
    record = Record(root)
    times = [trial.created_at for trial in record.trials]
    trial_s = (times[-1] - times[1]).total_seconds() / max(1, len(times) - 2)
    return record, max(0.5, (times[0] - started).total_seconds()), trial_s


@contextmanager
def _subreaper() -> Generator[None]:
    """Whatever loses its parent becomes a child of this process: so nothing that a killed loop leaves is missed."""
    libc = ctypes.CDLL(None)
    libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    try:
        yield
    finally:
        libc.prctl(PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0)


def _wait_for_orphans(spared: set[int]) -> list[str]:
    """Wait until no child is left but those to be spared; reaps the dead.

    Returns:
        What lives on after `DIE_WITHIN_S`. It is killed.
    """
    deadline = time.monotonic() + DIE_WITHIN_S
    while left := [child for child in psutil.Process().children() if child.pid not in spared]:
        for child in left:
            with suppress(ChildProcessError):
                os.waitpid(child.pid, os.WNOHANG)
        if time.monotonic() > deadline:
            names = [_describe(child) for child in left]
            for child in left:
                with suppress(psutil.NoSuchProcess):
                    child.kill()
            return names
        time.sleep(0.01)
    return []


def _describe(process: psutil.Process) -> str:
    with suppress(psutil.Error):
        return f"{process.name()} {process.status()} {' '.join(process.cmdline())[:200]}"
    return "gone"


@contextmanager
def reader_of(root: Path, news: Path) -> Generator[subprocess.Popen[bytes]]:
    """A reader that polls the workspace at `root` as long as the block runs, and tells `news` of it."""
    process = subprocess.Popen([sys.executable, str(READER), str(root), str(news)])
    try:
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait()
