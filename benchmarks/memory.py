"""What it costs to ask a long record: analyze, near misses, the report and the lineage block.

    python benchmarks/memory.py [--parts analyze near_misses report lineage] [--rounds 7] [--json]

Each part is timed inside a process that has everything loaded, so that only its own work counts; how long Python takes
to start and load the command is told apart. Beside the wall clock stands the processor time, which other work on the
machine moves less. Where there is another way to the same answer, it is measured in the same run.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from cli.main import run_command  # noqa: E402
from cli.sources import load_source  # noqa: E402
from memory.analysis import analyze_trials  # noqa: E402
from memory.near_misses import near_misses  # noqa: E402
from memory.reader import Reader  # noqa: E402
from tests.support.many_trials import make_night, many_trials  # noqa: E402

LONG, VERY_LONG = 10_000, 100_000
SHOWN = 20
"""Near misses that are asked for, as the command does."""
LIMITS_MS = {"analyze": 1_000, "near_misses": 50, "report": 5_000, "lineage": 20}

Timed = dict[str, float]


def timed(work: Callable[[], object], rounds: int) -> Timed:
    """Median milliseconds of `rounds` runs, after one that does not count: by the wall clock and by the processor."""
    work()
    wall: list[float] = []
    cpu: list[float] = []
    for _ in range(rounds):
        started = time.perf_counter(), time.process_time()
        work()
        wall.append(1e3 * (time.perf_counter() - started[0]))
        cpu.append(1e3 * (time.process_time() - started[1]))
    return {"wall_ms": statistics.median(wall), "cpu_ms": statistics.median(cpu), "best_wall_ms": min(wall)}


def _once(work: Callable[[], object]) -> Timed:
    """Milliseconds of one run."""
    started = time.perf_counter(), time.process_time()
    work()
    return {"wall_ms": 1e3 * (time.perf_counter() - started[0]), "cpu_ms": 1e3 * (time.process_time() - started[1])}


def analyze(folder: Path, rounds: int) -> dict[str, Any]:
    """`analyze` of 10,000 trials: from the tables, and by way of records as everything else reads them."""
    night = make_night(folder / "analyze", many_trials(LONG))
    knobs = load_source(str(night)).knobs

    def by_records() -> object:
        with Reader.open(night / ".nightshift" / "snapshot") as reader:
            campaign = reader.campaigns()[-1]
            return analyze_trials(
                reader.trials(campaign.campaign_id), reader.campaign_measurements(campaign.campaign_id), knobs
            )

    assert by_records() == load_source(str(night)).analysis()
    return {
        "trials": LONG,
        "ours": timed(lambda: load_source(str(night)).analysis(), rounds),
        "alternatives": {"all tables, as records": timed(by_records, max(1, rounds // 3))},
        "whole command, start included": _command(["analyze", str(night), "--json"]),
        "start alone": _command(["analyze", "--help"]),
    }


def nearest(folder: Path, rounds: int) -> dict[str, Any]:
    """The near misses among 100,000 trials: the SQL view of an open reader, and a walk over all records in Python."""
    night = make_night(folder / "near", many_trials(VERY_LONG))
    tables = ("trials", "measurements")
    with Reader.open(night / ".nightshift" / "snapshot", tables) as reader:
        campaign_id = reader.campaigns()[-1].campaign_id
        sql = f"SELECT trial, edit, gain, gain_low, gain_high, p_improve FROM near_misses LIMIT {SHOWN}"
        first_ms = _once(lambda: reader.query(sql))
        ours = timed(lambda: reader.query(sql), rounds)
        started = time.perf_counter()
        trials = reader.trials(campaign_id)
        read_ms = 1e3 * (time.perf_counter() - started)
        walk = timed(lambda: near_misses(trials, reader.noise(campaign_id), SHOWN), max(1, rounds // 3))
        found = [miss.trial for miss in near_misses(trials, reader.noise(campaign_id), SHOWN)]
        assert found == [row[0] for row in reader.query(sql).rows]
    return {
        "trials": VERY_LONG,
        "ours": ours,
        "the first query of a reader, noise and views included": first_ms,
        "alternatives": {"a walk over records": walk, "and reading them first": {"wall_ms": read_ms}},
    }


def report(folder: Path, rounds: int) -> dict[str, Any]:
    """`report` of 10,000 trials, HTML and PNG, as the command writes it."""
    night = make_night(folder / "report", many_trials(LONG))

    def written() -> None:
        with redirect_stdout(StringIO()):
            assert run_command(["report", str(night), "-o", str(folder / "report.html")]) == 0

    found = timed(written, max(1, rounds // 3))
    return {"trials": LONG, "ours": found, "html_bytes": (folder / "report.html").stat().st_size, "alternatives": {}}


def lineage(_: Path, rounds: int) -> dict[str, Any]:
    """The lineage block at 10,000 trials; `benchmarks/memory_lineage.py` has more of it."""
    from benchmarks.memory_lineage import measure

    return {"trials": LONG, **measure(LONG, rounds)}


def _command(arguments: list[str]) -> Timed:
    """A command in a process of its own."""
    command = [sys.executable, "-m", "cli.main", *arguments]
    took: list[float] = []
    for _ in range(3):
        started = time.perf_counter()
        subprocess.run(command, cwd=ROOT, capture_output=True, check=True)
        took.append(1e3 * (time.perf_counter() - started))
    return {"wall_ms": statistics.median(took), "best_wall_ms": min(took)}


PARTS: dict[str, Callable[[Path, int], dict[str, Any]]] = {
    "analyze": analyze,
    "near_misses": nearest,
    "report": report,
    "lineage": lineage,
}


def shown(name: str, found: dict[str, Any]) -> str:
    """One part for a person."""
    lines = [f"{name}, {found['trials']:,} trials (at most {LIMITS_MS[name]} ms)"]
    for what, figures in found.items():
        for label, value in figures.items() if what == "alternatives" else [(what, figures)]:
            if isinstance(value, dict):
                told = ", ".join(f"{key} {number:,.1f}" for key, number in value.items() if isinstance(number, float))
                lines.append(f"  {label}: {told}")
    return "\n".join(lines)


def main() -> None:
    """Parse, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parts", nargs="+", choices=list(PARTS), default=list(PARTS))
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    results: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        for name in options.parts:
            results[name] = PARTS[name](Path(folder), options.rounds)
            if not options.json:
                print(shown(name, results[name]), flush=True)
    results["machine"] = {"cores": os.cpu_count(), "load": list(os.getloadavg())}
    print(json.dumps(results) if options.json else f"load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")


if __name__ == "__main__":
    main()
