"""Steps a wall second and a CPU second of the default program, by threads and busy neighbours; what counting costs.

    python benchmarks/cpu_seconds.py [--seconds 6] [--rounds 3] [--threads 1 2] [--neighbours 0 1 2] [--json]

Every round trains once for each combination, in turn, so that whatever else the machine does hits all of them. A
neighbour is a process that does nothing but count, at the same priority. A reading of the parent's is timed while a
trial runs, by the process tree and by the control group.
"""

import argparse
import json
import statistics
import sys
import tempfile
import time
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks.shared.neighbours import neighbours  # noqa: E402
from trainer.budget import Budget, BudgetKind, Caps  # noqa: E402
from trainer.data.prepare import DataSpec, prepare  # noqa: E402
from trainer.launch.child import Child  # noqa: E402
from trainer.launch.launcher import Launcher  # noqa: E402
from trainer.sandbox.levels import Isolation, best_isolation, probe  # noqa: E402
from trainer.sandbox.permissions import Limits  # noqa: E402
from trainer.sight import seen_by_trials  # noqa: E402
from trainer.tasks.gpt import PROFILES, render_train_py  # noqa: E402
from trainer.trial.process import TrialProcess  # noqa: E402
from trainer.trial.spec import TrialSpec  # noqa: E402
from trainer.trial.wire import Progress  # noqa: E402

PROFILE = PROFILES["cpu"]
READINGS = 200


def trained(spec: TrialSpec, launcher: Launcher) -> dict[str, float]:
    """One training; seconds are the parent's."""
    with TrialProcess.launch(spec, launcher) as process:
        outcome = process.train()
    assert outcome.cpu_s is not None
    return {
        "steps": outcome.steps,
        "wall_s": outcome.train_s,
        "cpu_s": outcome.cpu_s,
        "steps_per_wall_s": outcome.steps / outcome.train_s,
        "steps_per_cpu_s": outcome.steps / outcome.cpu_s,
    }


class Timed:
    """How long a reading of a running trial takes: medians, in microseconds."""

    def __init__(self) -> None:
        self.child: Child | None = None
        self.us = 0.0

    def reading(self, progress: Progress) -> None:
        """At the third report: the process has its threads by then."""
        if self.child is None or self.us or progress.step < 3:
            return
        took: list[float] = []
        for _ in range(READINGS):
            before = time.perf_counter()
            self.child.cpu_time()
            took.append(time.perf_counter() - before)
        self.us = 1e6 * statistics.median(took)


def reading_us(spec: TrialSpec, launcher: Launcher) -> float:
    """What one reading costs the loop."""
    timed = Timed()
    with TrialProcess.launch(spec, launcher, timed.reading) as process:
        timed.child = process._clock._meter._child  # pyright: ignore[reportPrivateUsage]
        process.train()
    return timed.us


def arguments() -> argparse.Namespace:
    """What was asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=6.0, help="CPU seconds of a training, for each thread")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--neighbours", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--json", action="store_true")
    return parser.parse_args()


def main() -> None:
    """Measure, and print a table or one JSON document."""
    options = arguments()
    source = render_train_py(PROFILE)
    data = prepare(DataSpec(corpus=PROFILE.corpus, vocab_size=PROFILE.vocab_size), in_sight=seen_by_trials("cpu"))
    found: dict[tuple[int, int], list[dict[str, float]]] = {}
    costs: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as folder:
        spec = TrialSpec(
            source=source,
            data_dir=data.train_dir,
            scratch_root=Path(folder),
            seed=1,
            budget=Budget(kind=BudgetKind.CPU_SECONDS, amount=options.seconds),
            vocab_size=data.vocab_size,
            eval_seq_len=PROFILE.eval_seq_len,
            limits=Limits(memory_bytes=4 * 2**30),
            caps=Caps(train_s=600),
            isolation=best_isolation(),
            hidden=data.hidden,
        )
        with ExitStack() as stack:
            launchers = {
                threads: stack.enter_context(Launcher.for_program(source, threads=threads, hidden=data.hidden))
                for threads in options.threads
            }
            turns = [
                (count, threads)
                for _ in range(options.rounds)
                for count in options.neighbours
                for threads in options.threads
            ]
            for count, threads in turns:
                budget = replace(spec.budget, amount=threads * options.seconds)
                with neighbours(count):
                    run = trained(replace(spec, threads=threads, budget=budget), launchers[threads])
                found.setdefault((threads, count), []).append(run)
                if not options.json:
                    print(f"{threads} threads, {count} neighbours: {run}", file=sys.stderr, flush=True)
        with Launcher.for_program(source, threads=1, hidden=data.hidden) as launcher:
            for level in (each.level for each in probe() if each.ok and each.level >= Isolation.L2):
                costs[level] = reading_us(replace(spec, isolation=level), launcher)
    rows = [{"threads": t, "neighbours": n, **medians(runs)} for (t, n), runs in found.items()]
    if options.json:
        print(json.dumps({"seconds": options.seconds, "rounds": options.rounds, "rows": rows, "reading_us": costs}))
    else:
        print(table(rows, costs))


def medians(runs: list[dict[str, float]]) -> dict[str, Any]:
    """The median of each figure, and the least and most of the speeds."""
    found: dict[str, Any] = {key: statistics.median(run[key] for run in runs) for key in runs[0]}
    for key in ("steps_per_wall_s", "steps_per_cpu_s"):
        found[f"{key}_range"] = [min(run[key] for run in runs), max(run[key] for run in runs)]
    return found


def table(rows: list[dict[str, Any]], costs: dict[str, float]) -> str:
    """Markdown."""
    lines = ["| threads | busy neighbours | steps a CPU second | steps a wall second |", "|---|---|---|---|"]
    for row in rows:
        cells = [str(row["threads"]), str(row["neighbours"])]
        for key in ("steps_per_cpu_s", "steps_per_wall_s"):
            least, most = row[f"{key}_range"]
            cells.append(f"{row[key]:.2f} ({least:.2f} to {most:.2f})")
        lines.append(f"| {' | '.join(cells)} |")
    told = ", ".join(f"{level}: {us:.0f} µs" for level, us in costs.items())
    return "\n".join([*lines, "", f"One reading: {told}."])


if __name__ == "__main__":
    main()
