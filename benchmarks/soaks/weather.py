"""Part (b) of the soak: a long campaign with a real client against an endpoint that misbehaves."""

import os
import statistics
import subprocess
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from benchmarks.soaks.endpoint import TIMEOUT_S, WAYS, Endpoint
from benchmarks.soaks.record import Record
from memory.publish import BLOCK
from memory.reader import Reader
from tests.support.chat_server import ChatServer
from tests.support.command import argv
from tests.support.workspaces import make_standin_workspace

ROOT = Path(__file__).resolve().parents[2]
SPENT_S = """
WITH asked AS (
    SELECT trial, sum(latency_s) AS seconds, count(error) AS errors, max(attempt) AS attempts FROM calls GROUP BY trial
)
SELECT trial, s.seconds - asked.seconds FROM trials JOIN asked USING (trial) JOIN spans s USING (trial)
WHERE s.node = 'trial' AND s.part = 'total' AND errors = 0 AND attempts = 0 AND status IN ('keep', 'discard')
ORDER BY trial
"""
"""Seconds of the trials whose first request was answered well, without waiting for that answer."""


@dataclass
class Samples:
    """What was seen of the loop from outside, at the end of each trial."""

    rss: list[int] = field(default_factory=list[int])
    store: list[int] = field(default_factory=list[int])
    snapshot: list[int] = field(default_factory=list[int])
    files: list[int] = field(default_factory=list[int])
    """Files in the snapshot."""
    tracebacks: int = 0


def soak(folder: Path, *, trials: int, share: float, seed: int, say: bool) -> dict[str, Any]:
    """Run the campaign and look at it.

    Args:
        folder: an empty one, for everything.
        trials: of the campaign.
        share: of the requests that are answered badly.
        seed: of the endpoint's choices.
        say: whether to tell of the progress on stderr.
    """
    os.environ["XDG_CACHE_HOME"] = str(folder / "cache")
    os.environ["PYTHONPATH"] = str(ROOT)
    root, endpoint = make_standin_workspace(folder), Endpoint(share, seed)
    started = time.monotonic()
    with ChatServer([endpoint]) as server:
        (root / "models.toml").write_text(server.models_toml("local", timeout_s=TIMEOUT_S), encoding="utf-8")
        code, samples = _run(root, folder / "stderr", trials, say)
    record = Record(root)
    with Reader.open(root / ".nightshift" / "snapshot") as reader:
        seconds = {int(trial): float(spent) for trial, spent in reader.query(SPENT_S).rows}
        waiting = reader.query("SELECT count(*) FROM events WHERE kind = 'endpoint_lost'").rows[0][0]
        failed = reader.query("SELECT count(*) FROM calls WHERE error IS NOT NULL").rows[0][0]
        corrections = reader.query("SELECT coalesce(sum(attempt), 0) FROM trials").rows[0][0]
    early, late = Window.early(trials), Window.late(trials)
    return {
        "trials": len(record.trials) - 1,
        "wanted_trials": trials,
        "minutes": round((time.monotonic() - started) / 60, 1),
        "exit_code": code,
        "tracebacks": samples.tracebacks,
        "stop_reason": record.campaign.stop_reason,
        "statuses": dict(Counter(str(trial.status) for trial in record.trials)),
        "requests": dict(endpoint.told),
        "misbehaved": round(1 - endpoint.told["good"] / endpoint.told.total(), 3),
        "ways_missing": sorted(set(WAYS) - set(endpoint.told)),
        "failed_calls": failed,
        "corrections": corrections,
        "endpoint_lost": waiting,
        "rss_mib": {"early": _mib(early.middle(samples.rss)), "late": _mib(late.middle(samples.rss))},
        "rss_ratio": round(late.middle(samples.rss) / early.middle(samples.rss), 3),
        "trial_ms": {"early": _ms(early.of(seconds)), "late": _ms(late.of(seconds))},
        "time_ratio": round(_median(late.of(seconds)) / _median(early.of(seconds)), 3),
        "store_bytes_per_trial": _growth(samples.store),
        "snapshot_bytes_per_trial": _growth(samples.snapshot),
        "snapshot_files": samples.files[-1],
        "doubled": record.doubled(),
        "fsck": record.fsck(),
    }


def verdict(result: dict[str, Any], *, small: bool = False) -> list[str]:
    """What is not as it must be. A small run is too short to say whether something grows."""
    wrong = [name for name in ("exit_code", "tracebacks", "doubled", "fsck") if result[name]]
    wrong += ["trials"] * (result["trials"] != result["wanted_trials"])
    if small:
        return wrong
    limits = {"rss_ratio": 1.1, "time_ratio": 1.15}
    wrong += [name for name, most in limits.items() if result[name] > most] + ["ways"] * bool(result["ways_missing"])
    sizes = ("store_bytes_per_trial", "snapshot_bytes_per_trial")
    return wrong + [name for name in sizes if result[name]["second_half"] > 1.15 * result[name]["first_half"]]


@dataclass(frozen=True)
class Window:
    """The trials from `first` up to but not including `end`."""

    first: int
    end: int

    @classmethod
    def early(cls, trials: int) -> "Window":
        """Trials 100 to 200 of 1,000."""
        return cls(trials // 10, trials // 5)

    @classmethod
    def late(cls, trials: int) -> "Window":
        """The last 100 of 1,000."""
        return cls(trials - trials // 10 + 1, trials + 1)

    def of(self, values: dict[int, float]) -> list[float]:
        """What is known of these trials."""
        return [value for trial, value in values.items() if self.first <= trial < self.end]

    def middle(self, samples: list[int]) -> float:
        """The median of a tenth of its length at its beginning (early: at trial 100) or end (late: at trial 1,000)."""
        few = max(1, (self.end - self.first) // 10)
        part = samples[-few:] if self.end >= len(samples) else samples[self.first : self.first + few]
        return statistics.median(part)


def _run(root: Path, log: Path, trials: int, say: bool) -> tuple[int, Samples]:
    """The loop, with a look at it whenever it says that a trial is decided."""
    command = argv("run", root, "--proposer", "local", "--trials", trials, "--tag", "weather", "--json")
    samples, decided = Samples(), (": keep: ", ": discard: ", ": rail_blocked: ", ": duplicate: ", ": baseline: ")
    process = subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, errors="replace", env=os.environ.copy()
    )
    assert process.stderr is not None
    seen = psutil.Process(process.pid)
    with log.open("w", encoding="utf-8") as file, process.stderr as lines:
        for line in lines:
            file.write(line)
            samples.tracebacks += "Traceback" in line
            if line.startswith("trial ") and any(word in line for word in decided):
                _sample(samples, seen, root / ".nightshift")
                if say and len(samples.rss) % 50 == 0:
                    print(f"{len(samples.rss)} trials, {_mib(samples.rss[-1])} MiB", file=sys.stderr, flush=True)
    return process.wait(), samples


def _sample(samples: Samples, process: psutil.Process, state: Path) -> None:
    samples.rss.append(process.memory_info().rss)
    samples.store.append(sum(_size(state / name) for name in ("store.duckdb", "store.duckdb.wal")))
    files = list((state / "snapshot").iterdir())
    samples.files.append(len(files))
    samples.snapshot.append(sum(map(_size, files)))


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:  # replaced by a newer one meanwhile
        return 0


def _growth(sizes: list[int]) -> dict[str, int]:
    """Bytes that a trial added, on average, in each half; the first tenth, in which everything is new, left out.

    A snapshot goes up and down as its newest trials become a segment and its segments a block, so each of the three
    moments is the mean over the trials of a block.
    """
    window = max(1, min(BLOCK, len(sizes) // 4))
    starts = (len(sizes) // 10, (len(sizes) // 10 + len(sizes) - window) // 2, len(sizes) - window)
    first, middle, last = (statistics.mean(sizes[start : start + window]) for start in starts)
    return {
        "first_half": round((middle - first) / max(1, starts[1] - starts[0])),
        "second_half": round((last - middle) / max(1, starts[2] - starts[1])),
        "total": sizes[-1],
    }


def _median(values: list[float]) -> float:
    return statistics.median(values) if values else float("nan")


def _mib(value: float) -> float:
    return round(value / 2**20, 1)


def _ms(values: list[float]) -> float:
    return round(1e3 * _median(values), 1)
