"""The first command of the README, run in fresh workspaces, and every keep of it measured again.

    python benchmarks/first_night.py [--runs 5] [--busy 0] [--confirm 8] [--folder DIR] [--json] [--write]

Each run is `nightshift run DIR --seed N` as anybody would type it, timed from outside. Then every program that was kept
is trained on fresh seeds beside the one it replaced, in turn: a keep is confirmed where the 95 % interval of the paired
difference is above zero, and false where the mean difference is no gain; what is neither is unclear. `--busy 2` runs
everything with two processes beside it that never rest. With `--folder` the workspaces stay there.

A run takes some twelve minutes on two quiet cores, and measuring its keeps again four.
"""

import argparse
import contextlib
import json
import math
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Generator, Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import rails.bootstrap  # noqa: E402, F401  # isort: skip  # pyright: ignore[reportUnusedImport]
from benchmarks.shared.neighbours import neighbours  # noqa: E402
from cli.inputs.workspaces import latest_campaign, open_reader  # noqa: E402
from memory.records import Campaign, Trial  # noqa: E402
from memory.statistics.student_t import t_quantile  # noqa: E402
from rails.status import Status  # noqa: E402
from rails.task import GptTask, load_task  # noqa: E402
from tools.gpt import GptBackend  # noqa: E402
from trainer.data.prepare import DataSpec, prepare  # noqa: E402
from trainer.hardware import describe  # noqa: E402
from trainer.sight import seen_by_trials  # noqa: E402

FRESH_SEED = 5000
"""Index of the first seed that keeps are measured again on: beyond those of a search and of its result."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Keep:
    """One kept edit, measured again: its gain over the program it replaced, relative, with a 95 % interval."""

    trial: int
    edit: str
    gain: float
    low: float
    high: float

    @property
    def verdict(self) -> str:
        """`confirmed`, `false` or `unclear`."""
        return "confirmed" if self.low > 0 else "false" if self.gain <= 0 else "unclear"


@dataclass(frozen=True, slots=True, kw_only=True)
class Night:
    """What one run of the first command came to.

    Attributes:
        gain: of the result on fresh seeds, as the command itself states it; None when nothing was kept.
        measurements: trainings in all, those of the baseline and the result included.
    """

    seed: int
    minutes: float
    trials: int
    measurements: int
    keeps: tuple[Keep, ...]
    gain: float | None
    gain_low: float | None
    gain_high: float | None

    def count(self, verdict: str) -> int:
        """How many keeps turned out so."""
        return sum(keep.verdict == verdict for keep in self.keeps)


def spend_night(root: Path, seed: int, confirm: int) -> Night:
    """One run, and its keeps measured again."""
    command = [sys.executable, "-m", "cli.main", "run", str(root), "--seed", str(seed), "--json"]
    started = time.perf_counter()
    with (root.parent / f"{root.name}.log").open("wb") as log:
        done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=log, check=False)
    minutes = (time.perf_counter() - started) / 60
    if done.returncode:
        raise SystemExit(f"the run failed with exit code {done.returncode}; what it said is in {log.name}")
    document: dict[str, Any] = json.loads(done.stdout)
    with open_reader(root) as reader:
        campaign = latest_campaign(reader, root)
        rows = reader.trials(campaign.campaign_id)
        measurements = len(reader.campaign_measurements(campaign.campaign_id))
    final = (document["final"] or {}).get("val") or {}
    return Night(
        seed=seed,
        minutes=minutes,
        trials=document["trials"],
        measurements=measurements,
        keeps=tuple(measured_again(root, campaign, rows, confirm)),
        gain=final.get("gain"),
        gain_low=final.get("gain_low"),
        gain_high=final.get("gain_high"),
    )


def measured_again(root: Path, campaign: Campaign, rows: list[Trial], count: int) -> list[Keep]:
    """Every keep beside what it replaced, on fresh seeds; each program is trained once a seed."""
    task = load_task(root / "task.toml")
    assert isinstance(task, GptTask)
    keeps = [row for row in rows if row.status is Status.KEEP]
    by_id = {row.trial_id: row for row in rows}
    chain = list({row.trial_id: row for keep in keeps for row in (by_id[str(keep.parent_trial_id)], keep)}.values())
    if not keeps:
        return []
    programs = {row.trial_id: program_of(root, row.commit_sha or campaign.baseline_commit) for row in chain}
    scores: dict[str, list[float]] = {row.trial_id: [] for row in chain}
    with trainer(task, root) as tool:
        for number in range(count):
            for row in chain if number % 2 == 0 else reversed(chain):
                with tool.train(
                    programs[row.trial_id], tool.training_seed(campaign.seed, FRESH_SEED + number), _ignore
                ) as model:
                    scores[row.trial_id].append(tool.score(model).value)
            print(f"{root.name}: keeps measured again on {number + 1} of {count} seeds", file=sys.stderr, flush=True)
    found: list[Keep] = []
    for keep in keeps:
        before, after = scores[str(keep.parent_trial_id)], scores[keep.trial_id]
        level = statistics.fmean(before)
        gains = [(old - new) / level for old, new in zip(before, after, strict=True)]
        half = t_quantile(0.975, count - 1) * statistics.stdev(gains) / math.sqrt(count)
        mean = statistics.fmean(gains)
        edit = keep.edit_key or "a diff"
        found.append(Keep(trial=keep.seq, edit=edit, gain=mean, low=mean - half, high=mean + half))
    return found


def program_of(root: Path, commit: str) -> str:
    """The program at a commit."""
    command = ["git", "-C", str(root), "show", f"{commit}:train.py"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


@contextlib.contextmanager
def trainer(task: GptTask, root: Path) -> Generator[GptBackend]:
    """Trains and scores as the run did."""
    hardware = describe(task.trial.device)
    corpus = DataSpec(corpus=task.data.corpus, vocab_size=task.data.vocab_size)
    data = prepare(corpus, in_sight=seen_by_trials(hardware.device))
    with contextlib.closing(GptBackend(task, data, hardware, root.parent / f"{root.name}.scratch")) as tool:
        yield tool


def _ignore(progress: object) -> None:
    """Nobody watches."""


def report(nights: list[Night], options: argparse.Namespace) -> str:
    """The nights as Markdown."""
    beside = f", {options.busy} busy processes beside" if options.busy else ""
    lines = [
        f"# The first command, {len(nights)} times{beside}",
        "",
        f"`python benchmarks/first_night.py`: fresh workspaces; every keep measured again on {options.confirm} fresh "
        "seeds beside what it replaced.",
        "",
        "| seed | minutes | trials | measurements | keeps | confirmed | unclear | false | result on fresh seeds |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for night in nights:
        result = "–" if night.gain is None else f"{night.gain:+.2%} {_interval(night.gain_low, night.gain_high)}"
        counts = " | ".join(str(night.count(verdict)) for verdict in ("confirmed", "unclear", "false"))
        cells = [f"{night.minutes:.1f}", night.trials, night.measurements, len(night.keeps), counts, result]
        lines.append(f"| {night.seed} | {' | '.join(map(str, cells))} |")
    lines += ["", "| seed | trial | kept | gain on its parent, measured again | |", "|---|---|---|---|---|"]
    for night in nights:
        for keep in night.keeps:
            gain = f"{keep.gain:+.2%} {_interval(keep.low, keep.high)}"
            lines.append(f"| {night.seed} | {keep.trial} | {keep.edit} | {gain} | {keep.verdict} |")
    return "\n".join([*lines, ""])


def _interval(low: float | None, high: float | None) -> str:
    return "" if low is None or high is None else f"[{low:+.2%}, {high:+.2%}]"


def as_json(nights: Iterable[Night]) -> str:
    """The nights, with the verdict of every keep."""
    return json.dumps(
        [{**asdict(n), "keeps": [{**asdict(keep), "verdict": keep.verdict} for keep in n.keeps]} for n in nights]
    )


def main() -> None:
    """Run, measure again, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--first-seed", type=int, default=0, help="of the campaigns; the others follow it")
    parser.add_argument("--busy", type=int, default=0, metavar="N", help="processes beside that never rest")
    parser.add_argument("--confirm", type=int, default=8, help="fresh seeds on which keeps are measured again")
    parser.add_argument("--folder", type=Path, help="where the workspaces are made and stay; default: a temporary one")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--write", action="store_true", help="also write benchmarks/results/first_night.md")
    options = parser.parse_args()
    folder = options.folder or Path(tempfile.mkdtemp(prefix="nightshift-first-"))
    folder.mkdir(parents=True, exist_ok=True)
    nights = list[Night]()
    try:
        with neighbours(options.busy):
            for seed in range(options.first_seed, options.first_seed + options.runs):
                nights.append(spend_night(folder / f"night_{seed}", seed, options.confirm))
                print(as_json(nights[-1:]), file=sys.stderr, flush=True)
    finally:
        if options.folder is None:
            shutil.rmtree(folder, ignore_errors=True)
    print(as_json(nights) if options.json else report(nights, options))
    if options.write:
        name = f"first_night_busy_{options.busy}" if options.busy else "first_night"
        (Path(__file__).parent / "results" / f"{name}.md").write_text(report(nights, options), encoding="utf-8")


if __name__ == "__main__":
    main()
