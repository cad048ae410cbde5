"""What isolation costs: starting and ending a program that does nothing, and the first step of a real training.

    python benchmarks/launch.py [--launches 30] [--starts 5] [--json] [--write]

Everything is measured in turn, round by round, so that whatever else the machine does hits all of it: a bare new Python
process, the cold launch that only level L1 can do, and a fork from the server at every level that there is here. Then
the start of the real train.py up to its first step, cold and forked.
"""

import argparse
import contextlib
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from trainer.budget import Budget, BudgetKind  # noqa: E402
from trainer.data.prepare import DataSpec, prepare  # noqa: E402
from trainer.hardware import usable_cores  # noqa: E402
from trainer.launch.launcher import Launcher  # noqa: E402
from trainer.sandbox import processes  # noqa: E402
from trainer.sandbox.levels import Isolation, probe  # noqa: E402
from trainer.sandbox.permissions import Limits, Permissions, readable_paths  # noqa: E402
from trainer.sandbox.removal import remove_tree  # noqa: E402
from trainer.sight import seen_by_trials  # noqa: E402
from trainer.tasks.gpt import PROFILES, render_train_py  # noqa: E402
from trainer.trial.process import TrialProcess  # noqa: E402
from trainer.trial.spec import TrialSpec  # noqa: E402
from trainer.trial.wire import Progress  # noqa: E402

LIMITS = Limits(memory_bytes=4 * 2**30)
PROFILE = PROFILES["cpu"]
TARGET_L3_MS, TARGET_SAVED_S = 60.0, 1.5


class StopError(Exception):
    """The first step has been reported."""


def nothing_bare() -> None:
    """The least that any new Python process costs."""
    subprocess.run([sys.executable, "-c", "pass"], check=True)


def torch_bare() -> None:
    """What a new process costs that can train."""
    subprocess.run([sys.executable, "-c", "import torch"], check=True)


def nothing(launcher: Launcher, level: Isolation, folder: Path, *, killed: bool = False) -> None:
    """Launch a program that does nothing, wait for its end (or end it, as trials are), and clear up after it."""
    scratch = Path(tempfile.mkdtemp(dir=folder))
    program = scratch / "train.py"
    program.write_text("pass\n")
    permissions = Permissions(
        level=level, scratch=scratch, readable=readable_paths("cpu"), hidden=(), device="cpu", limits=LIMITS
    )
    with Path(os.devnull).open("wb") as output:
        child = launcher.launch(program, permissions, processes.scrubbed_environment(scratch, 1, {}), output.fileno())
        if not killed:
            os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
        if child.end() != 0 and not killed:
            raise SystemExit(f"a program that does nothing failed at {level}")
    remove_tree(scratch)


def first_step_s(launcher: Launcher, level: Isolation, spec: TrialSpec) -> float:
    """Seconds from the launch of train.py until its first step is reported."""

    def first(progress: Progress) -> None:
        raise StopError

    launcher.ready()
    started = time.perf_counter()
    with TrialProcess.launch(spec, launcher, first) as process, contextlib.suppress(StopError):
        process.train()
        raise SystemExit("the training reported nothing")
    return time.perf_counter() - started


def measure(launches: int, starts: int) -> dict[str, Any]:
    """Medians of everything."""
    source, threads = render_train_py(PROFILE), usable_cores()
    levels = [each.level for each in probe() if each.ok]
    with (
        tempfile.TemporaryDirectory() as name,
        Launcher(threads=1, cold=True) as cold,
        Launcher.for_program("import numpy", threads=1) as light,
        Launcher.for_program(source, threads=threads) as heavy,
    ):
        folder = Path(name).resolve()
        arms: dict[str, Callable[[], None]] = {
            "python -c pass": nothing_bare,
            "python -c 'import torch'": torch_bare,
            "cold L1": lambda: nothing(cold, Isolation.L1, folder),
        }
        for level in levels:
            arms[f"forked {level}"] = lambda level=level: nothing(light, level, folder)
        for level in levels:
            arms[f"forked {level}, torch imported, killed"] = lambda level=level: nothing(
                heavy, level, folder, killed=True
            )
        nothing_ms = in_turn(arms, launches)
        data = prepare(DataSpec(corpus=PROFILE.corpus, vocab_size=PROFILE.vocab_size), in_sight=seen_by_trials("cpu"))

        def spec(level: Isolation) -> TrialSpec:
            return TrialSpec(
                source=source,
                data_dir=data.train_dir,
                scratch_root=folder / "trials",
                seed=0,
                budget=Budget(kind=BudgetKind.STEPS, amount=50),
                vocab_size=PROFILE.vocab_size,
                eval_seq_len=PROFILE.eval_seq_len,
                limits=LIMITS,
                threads=threads,
                isolation=level,
            )

        first: dict[str, list[float]] = {"cold L1": [], f"forked {levels[-1]}": []}
        for _ in range(starts):
            first["cold L1"].append(first_step_s(cold, Isolation.L1, spec(Isolation.L1)))
            first[f"forked {levels[-1]}"].append(first_step_s(heavy, levels[-1], spec(levels[-1])))
    return {
        "machine": f"{platform.machine()}, {usable_cores()} cores, Linux {platform.release()}",
        "nothing_ms": nothing_ms,
        "first_step_s": {name: round(statistics.median(values), 3) for name, values in first.items()},
        "launches": launches,
        "starts": starts,
    }


def in_turn(arms: dict[str, Callable[[], None]], rounds: int) -> dict[str, dict[str, float]]:
    """Median and 90th percentile in milliseconds of each arm; the first round warms up and is not counted."""
    taken: dict[str, list[float]] = {name: [] for name in arms}
    for counted in range(rounds + 1):
        for name, arm in arms.items():
            started = time.perf_counter()
            arm()
            if counted:
                taken[name].append(1000 * (time.perf_counter() - started))
    return {
        name: {"median": round(statistics.median(ms), 1), "p90": round(statistics.quantiles(ms, n=10)[-1], 1)}
        for name, ms in taken.items()
    }


def report(result: dict[str, Any]) -> str:
    """The figures as Markdown."""
    rows = [f"| {name} | {ms['median']:.1f} | {ms['p90']:.1f} |" for name, ms in result["nothing_ms"].items()]
    cold, forked = result["first_step_s"].values()
    best = list(result["first_step_s"])[1]
    return "\n".join(
        [
            f"# Starting and ending a trial: {result['machine']}",
            "",
            f"`python benchmarks/launch.py`, {result['launches']} of each, in turn. A program that does nothing, from",
            "the request until it has ended and all of it is gone. With torch the loop ends it, as it ends a trial;",
            "what torch does when a process exits by itself is left out.",
            "",
            "| | median ms | 90th percentile ms |",
            "|---|---|---|",
            *rows,
            "",
            f"The real train.py from its launch to its first reported step, medians of {result['starts']}: "
            f"cold {cold:.2f} s, {best} {forked:.2f} s.",
            "",
            f"**The forked start saves {cold - forked:.2f} s.**",
            "",
        ]
    )


def main() -> None:
    """Measure, and print a table, or the figures with --json."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--launches", type=int, default=30, help="of a program that does nothing, of each kind")
    parser.add_argument("--starts", type=int, default=5, help="of the real train.py, of each kind")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--write", action="store_true", help="also write benchmarks/results/launch.md")
    options = parser.parse_args()
    result = measure(options.launches, options.starts)
    print(json.dumps(result) if options.json else report(result))
    if options.write:
        (Path(__file__).parent / "results" / "launch.md").write_text(report(result), encoding="utf-8")


if __name__ == "__main__":
    main()
