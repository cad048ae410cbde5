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
from functools import partial
from io import StringIO
from pathlib import Path
from typing import Any, TypeVar

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks.memories.files import make_files  # noqa: E402
from cli.inputs.sources import load_source  # noqa: E402
from cli.main import run_command  # noqa: E402
from memory.figures.analysis import analyze_trials  # noqa: E402
from memory.keep.near_misses import near_misses  # noqa: E402
from memory.reader import Reader  # noqa: E402
from tests.support.many_trials import make_night, many_trials  # noqa: E402

LONG, VERY_LONG = 10_000, 100_000
SHOWN = 20
"""Near misses that are asked for, as the command does."""
LIMITS_MS = {"analyze": 1_000, "near_misses": 50, "report": 5_000, "lineage": 20}

Timed = dict[str, float]
T = TypeVar("T")


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


def _once(work: Callable[[], T]) -> tuple[T, Timed]:
    """What came of one run, and its milliseconds."""
    started = time.perf_counter(), time.process_time()
    done = work()
    took = time.perf_counter() - started[0], time.process_time() - started[1]
    return done, {"wall_ms": 1e3 * took[0], "cpu_ms": 1e3 * took[1]}


def analyze(folder: Path, rounds: int) -> dict[str, Any]:
    """`analyze` of 10,000 trials: from the tables, by way of records as everything else reads them, and from files."""
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
        "files": {name: _file(path, rounds) for name, path in make_files(folder / "files", LONG).items()},
    }


def _file(path: Path, rounds: int) -> dict[str, Any]:
    """`analyze` of a log in a file."""
    found = load_source(str(path)).analysis()
    assert (found.trials, found.unreadable) == (LONG, [])
    return {
        "bytes": path.stat().st_size,
        "ours": timed(lambda: load_source(str(path)).analysis(), rounds),
        "whole command, start included": _command(["analyze", str(path), "--json"]),
    }


def nearest(folder: Path, rounds: int) -> dict[str, Any]:
    """The near misses among 100,000 trials: the SQL view of an open reader, and a walk over all records in Python."""
    night = make_night(folder / "near", many_trials(VERY_LONG))
    snapshot, tables = night / ".nightshift" / "snapshot", ("trials", "measurements")
    sql = f"SELECT trial, edit, gain, gain_low, gain_high, p_improve FROM near_misses LIMIT {SHOWN}"
    opened_for_it = _first(lambda: Reader.open_for(snapshot, sql), sql, rounds)
    opened_whole = _first(lambda: Reader.open(snapshot, tables), sql, rounds)
    with Reader.open(snapshot, tables) as reader:
        campaign_id = reader.campaigns()[-1].campaign_id
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
        "opened for this query, as the command does": opened_for_it,
        "opened with both tables whole": opened_whole,
        "whole command, start included": _command(["query", str(night), sql, "--json"]),
        "alternatives": {"a walk over records": walk, "and reading them first": {"wall_ms": read_ms}},
    }


def _first(opened: Callable[[], Reader], sql: str, rounds: int) -> dict[str, Timed]:
    """Opening a reader, and its first query: medians over readers, after one that does not count."""
    opening: list[Timed] = []
    first: list[Timed] = []
    for _ in range(rounds + 1):
        reader, took = _once(opened)
        opening.append(took)
        with reader:
            first.append(_once(partial(reader.query, sql))[1])
    return {"opening": _medians(opening[1:]), "the first query": _medians(first[1:])}


def _medians(times: list[Timed]) -> Timed:
    return {name: statistics.median(one[name] for one in times) for name in times[0]}


def report(folder: Path, rounds: int) -> dict[str, Any]:
    """`report` of 10,000 trials, HTML and PNG, as the command writes it."""
    night = make_night(folder / "report", many_trials(LONG))

    def written() -> None:
        with redirect_stdout(StringIO()):
            assert run_command(["report", str(night), "-o", str(folder / "report.html")]) == 0

    found = timed(written, max(1, rounds // 3))
    return {"trials": LONG, "ours": found, "html_bytes": (folder / "report.html").stat().st_size, "alternatives": {}}


def lineage(_: Path, rounds: int) -> dict[str, Any]:
    """The lineage block at 10,000 trials; `benchmarks/memories/lineage.py` has more of it."""
    from benchmarks.memories.lineage import measure

    return {"trials": LONG, **measure(LONG, rounds)}


def _command(arguments: list[str]) -> Timed:
    """A command in a process of its own."""
    command = [sys.executable, "-m", "cli.main", *arguments]
    wall: list[float] = []
    cpu: list[float] = []
    for _ in range(3):
        started = time.perf_counter(), _children_s()
        subprocess.run(command, cwd=ROOT, capture_output=True, check=True)
        wall.append(1e3 * (time.perf_counter() - started[0]))
        cpu.append(1e3 * (_children_s() - started[1]))
    return {"wall_ms": statistics.median(wall), "cpu_ms": statistics.median(cpu), "best_wall_ms": min(wall)}


def _children_s() -> float:
    """Processor time of the processes that were waited for, in seconds."""
    times = os.times()
    return times.children_user + times.children_system


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
        if isinstance(figures, dict):
            lines += _lines({what: figures} if what not in {"alternatives", "files"} else figures, "  ")
    return "\n".join(lines)


def _lines(figures: dict[str, Any], indent: str) -> list[str]:
    """A line for each dictionary of numbers, and its label alone for one that holds further ones."""
    lines: list[str] = []
    for label, value in figures.items():
        if isinstance(value, dict):
            told = ", ".join(f"{key} {number:,.1f}" for key, number in value.items() if isinstance(number, float))
            lines += [f"{indent}{label}: {told}", *_lines(value, f"{indent}  ")]
    return lines


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
