"""What the loop itself costs: everything outside proposing, process start, training and scoring, by node.

Runs a real campaign (real git, real store, real processes) with the test suite's stand-in trainer, whose trials take a
fraction of a second, so that a night of a thousand trials fits into minutes. Nothing is mocked. The last trials are set
beside the early ones of the same run: what grows with the night shows in the difference.

    python benchmarks/overhead.py --trials 1000 [--json]
"""

import argparse
import json
import os
import statistics
import sys
import tempfile
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import rails.bootstrap  # noqa: E402, F401  # isort: skip  # pyright: ignore[reportUnusedImport]
import psutil  # noqa: E402

from graph.campaign.open import open_campaign  # noqa: E402
from graph.campaign.options import RunOptions  # noqa: E402
from graph.runner import Runner  # noqa: E402
from graph.watching.events import Observer  # noqa: E402
from memory.records import Span, Trial  # noqa: E402
from tests.support.workspaces import make_standin_workspace  # noqa: E402

WAITS = ("proposer", "startup", "tryout", "train", "score", "probe", "lesson")
NODES = ("propose", "check_rails", "train", "evaluate", "curate")
WARM_UP = 50
"""Trials before the early ones: the first knobs are all new, and Python's own caches are still cold."""
WINDOW = 100

Seconds = Mapping[tuple[str, str], float]
"""Of one trial, by node and part."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Windows:
    """The trials that are looked at, by number: after `warm` up to `early`, and after `late` up to `last`."""

    warm: int
    early: int
    late: int
    last: int

    @classmethod
    def of(cls, trials: int) -> "Windows":
        """Those of a campaign of so many trials."""
        window = min(WINDOW, max(1, trials // 2))
        warm = min(WARM_UP, trials - 2 * window)
        return cls(warm=warm, early=warm + window, late=trials - window, last=trials)

    @property
    def sized(self) -> frozenset[int]:
        """After which trials the sizes are measured: not after each, as that takes the loop a millisecond."""
        return frozenset({self.warm, self.early, (self.early + self.last) // 2, self.late, self.last})


@dataclass(frozen=True, slots=True, kw_only=True)
class Sizes:
    """What the night has grown to after a trial."""

    store_bytes: int
    """Of the database and its write-ahead log."""
    snapshot_bytes: int
    snapshot_files: int
    rss_bytes: int
    """Of the loop's process."""
    stolen_s: float
    all_s: float
    """Processor seconds since the machine started: what a host gave to its other guests, and in all."""


@dataclass(slots=True)
class Night(Observer):
    """Notes sizes while the campaign runs."""

    state_dir: Path
    after: frozenset[int]
    sizes: dict[int, Sizes] = field(default_factory=dict[int, Sizes])

    def decided(self, trial: Trial) -> None:
        """Measure; the next trial has not begun."""
        if trial.seq not in self.after:
            return
        times = psutil.cpu_times()
        snapshot = [path.stat().st_size for path in (self.state_dir / "snapshot").iterdir()]
        self.sizes[trial.seq] = Sizes(
            store_bytes=sum(path.stat().st_size for path in self.state_dir.glob("store.duckdb*")),
            snapshot_bytes=sum(snapshot),
            snapshot_files=len(snapshot),
            rss_bytes=psutil.Process().memory_info().rss,
            stolen_s=getattr(times, "steal", 0.0),
            all_s=sum(times) - getattr(times, "guest", 0.0) - getattr(times, "guest_nice", 0.0),
        )


def run(trials: int) -> tuple[list[Seconds], dict[int, Sizes]]:
    """Seconds of every search trial of a campaign, in order, and sizes by trial number."""
    with tempfile.TemporaryDirectory() as folder:
        root = make_standin_workspace(Path(folder))
        options = RunOptions(trials=trials, proposer="random")
        night = Night(root / ".nightshift", Windows.of(trials).sized)
        with open_campaign(root, options, night) as services:
            Runner(services).run()
            rows = [trial for trial in services.store.trials(services.campaign_id) if trial.seq > 0]
            return [by_part(services.store.spans(trial.trial_id)) for trial in rows], night.sizes


def by_part(spans: Sequence[Span]) -> Seconds:
    """A trial's seconds, added up."""
    seconds: dict[tuple[str, str], float] = defaultdict(float)
    for span in spans:
        seconds[span.node, span.part] += span.seconds
    return seconds


def overhead(trial: Seconds) -> float:
    """Seconds of the whole trial without its waits."""
    return trial["trial", "total"] - sum(value for (_, part), value in trial.items() if part in WAITS)


def of_node(trial: Seconds, node: str) -> float:
    """Seconds of a node without its waits."""
    return trial.get((node, "total"), 0.0) - sum(trial.get((node, part), 0.0) for part in WAITS)


def between(trial: Seconds) -> float:
    """Seconds of no node: opening the trial, limits, the graph, storing the spans."""
    return trial["trial", "total"] - sum(trial.get((node, "total"), 0.0) for node in NODES)


def milliseconds(values: Sequence[float]) -> float:
    """The median."""
    return round(1000 * statistics.median(values), 1)


def summarise(trials: Sequence[Seconds]) -> dict[str, object]:
    """Median milliseconds of overhead of these trials, in all and by node; waits apart."""
    all_of_it = sorted(map(overhead, trials))
    waits = {part: [sum(v for (_, p), v in trial.items() if p == part) for trial in trials] for part in WAITS}
    return {
        "trials": len(trials),
        "median_ms": milliseconds(all_of_it),
        "p90_ms": round(1000 * all_of_it[int(0.9 * (len(all_of_it) - 1))], 1),
        "by_node_ms": {
            **{node: milliseconds([of_node(trial, node) for trial in trials]) for node in NODES},
            "between_nodes": milliseconds([between(trial) for trial in trials]),
        },
        "waited_ms": {part: milliseconds(values) for part, values in waits.items()},
    }


def size(sizes: Sizes, trials: int) -> dict[str, float]:
    """What there is after so many trials. The database grows in blocks, and its log is folded into it now and then."""
    return {
        "store_bytes_per_trial": round(sizes.store_bytes / trials),
        "snapshot_bytes_per_trial": round(sizes.snapshot_bytes / trials),
        "snapshot_files": sizes.snapshot_files,
        "rss_mib": round(sizes.rss_bytes / 2**20, 1),
    }


def stolen(before: Sizes, after: Sizes) -> float:
    """The share of processor time that the host of a virtual machine gave to its other guests, in per cent."""
    return round(100 * (after.stolen_s - before.stolen_s) / max(after.all_s - before.all_s, 1e-9), 1)


def report(trials: Sequence[Seconds], sizes: Mapping[int, Sizes]) -> dict[str, object]:
    """The last trials beside the early ones, and what the night had grown to after both, and halfway."""
    w = Windows.of(len(trials))
    shown = sorted(w.sized - {w.warm, w.late})
    return {
        **summarise(trials[w.late :]),
        "stolen_percent": stolen(sizes[w.late], sizes[w.last]),
        "early": {
            **summarise(trials[w.warm : w.early]),
            "stolen_percent": stolen(sizes[w.warm], sizes[w.early]),
        },
        "size_after": {str(seq): size(sizes[seq], seq) for seq in shown},
        "load": [round(value, 2) for value in os.getloadavg()],
        "cores": os.cpu_count(),
    }


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=1000, help="at least 2 (default: 1000)")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    if arguments.trials < 2:
        parser.error("--trials must be at least 2")
    result = report(*run(arguments.trials))
    print(json.dumps(result, indent=2) if arguments.json else "\n".join(f"{k}: {v}" for k, v in result.items()))


if __name__ == "__main__":
    main()
