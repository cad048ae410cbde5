"""Is a student worth anything? Live against its teacher on synthetic tasks, and on a recorded log.

    python benchmarks/distil.py [--tables 240] [--seeds 3] [--json]
    python benchmarks/distil.py --on-table cpu-gpt [--pairs 30] [--trials 40] [--seeds 3] [--json]
    python benchmarks/distil.py --trajectory FILE --menu FILE [--base smollm2 [--work DIR]] [--seeds 3] [--json]
    python benchmarks/distil.py --own DIR... --base smollm2 [--json]

Without a log: embedded students of eight campaigns of `tpe` are paired with it, and with `random`, on tasks of families
that none was trained on; with `--on-table` on a recorded one. With a log: students of its first trials say what its
last eight were, beside counts and a conditional logit. With a language model (`--base`) its adapters take part: token
by token and listwise, and untuned. With logs of one's own, an adapter of each says what the last eight of that log
were, with its temperature and without: recipes are chosen on these.
"""

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import rails.bootstrap  # noqa: E402, F401  # isort: skip  # pyright: ignore[reportUnusedImport]
from agents.local.scorer import EmbeddedScorer  # noqa: E402
from benchmarks.students.live import measure, measure_on_table, proposal_ms, student_of  # noqa: E402
from cli.inputs.corpora import make_corpus  # noqa: E402
from studies.distil.race import race  # noqa: E402
from studies.distil.racers import DistributionRacer  # noqa: E402
from studies.distil.train import Recipe, train_embedded  # noqa: E402
from studies.distil.views import training_choices  # noqa: E402


def on_log(trajectory: Path, menu: Path, seeds: int, base: str | None, work: Path) -> dict[str, Any]:
    """Students of several seeds on a log's held-out trials."""
    corpus = make_corpus([str(trajectory)], menu)
    choices = training_choices(corpus)
    racers: list[DistributionRacer] = []
    took_s: list[float] = []
    for objective in ("advantage", "clone"):
        for seed in range(seeds):
            started = time.process_time()
            made = train_embedded(choices, Recipe(objective=objective, seed=seed))
            took_s.append(time.process_time() - started)
            racers.append(DistributionRacer(f"{objective}, seed {seed}", EmbeddedScorer(made.weights)))
    language: dict[str, Any] = {}
    if base is not None:
        from benchmarks.students.language import costs, students

        more, training = students(corpus, base, seeds, work)
        racers += more
        language = {"language": {"training": training, "costs": costs(corpus, base, work / "listwise-0")}}
    found = race(corpus, racers)
    return {"train": len(corpus.train), "heldout": len(corpus.heldout), "train_cpu_s": max(took_s), **language, **found}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trajectory", type=Path, help="a recorded log")
    parser.add_argument("--menu", type=Path, help="its menu")
    parser.add_argument("--base", help="a language model to adapt, too: smollm2")
    parser.add_argument("--work", type=Path, help="folder of its students; those in it are not trained again")
    parser.add_argument("--own", nargs="+", metavar="DIR", help="workspaces of one's own nights")
    parser.add_argument("--tables", type=int, default=240)
    parser.add_argument("--on-table", help="a recorded table, in place of synthetic ones")
    parser.add_argument("--pairs", type=int, default=30, help="campaigns on it")
    parser.add_argument("--trials", type=int, default=40, help="trials of each")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    if options.on_table is not None:
        with tempfile.TemporaryDirectory() as folder:
            raced = measure_on_table(options.on_table, options.pairs, options.trials, options.seeds, Path(folder))
        found: dict[str, Any] = {"races": raced}
        lines = [line for seed, race_found in enumerate(raced) for line in _on_table(seed, race_found)]
    elif options.own is not None:
        from benchmarks.students.language import calibrated_or_not

        with tempfile.TemporaryDirectory() as folder:
            found = calibrated_or_not(options.own, options.base or "smollm2", options.work or Path(folder))
        lines = [line for source, figures in found.items() for line in _own(source, figures)]
    elif options.trajectory is not None:
        with tempfile.TemporaryDirectory() as folder:
            work = options.work or Path(folder)
            found = on_log(options.trajectory, options.menu, options.seeds, options.base, work)
        lines = [_raced(name, figures) for name, figures in found["proposers"].items()]
        if "language" in found:
            from benchmarks.students.language import lines as said

            lines += said(found["language"]["training"], found["language"]["costs"])
    else:
        student = student_of()
        found = {
            **measure(options.tables, options.seeds),
            "student_proposal_cpu_ms": proposal_ms(student),
        }
        lines = [_lived(name, figures) for name, figures in found["proposers"].items()]
        lines.append(f"a student's proposal: {found['student_proposal_cpu_ms']:.2f} ms of CPU (median)")
    print(json.dumps(found, indent=2) if options.json else "\n".join(lines))


def _raced(name: str, f: dict[str, Any]) -> str:
    entropy = f"entropy {f['entropy']:.2f}, largest mean p {f['max_mean_p']:.2f}, {f['distinct']} of {f['draws']}"
    return (
        f"{name:26} nll {f['nll']:.2f} [{f['nll_low']:.2f}, {f['nll_high']:.2f}]  knob {f['knob_match']:.2f}  {entropy}"
    )


def _own(source: str, found: dict[str, Any]) -> list[str]:
    trained = f"{found['train']} trials to train on, {found['train_cpu_s']:.0f} s of CPU"
    head = f"{source}: {trained}, temperature {found['temperature']:.2f}"
    return [head, *(f"  {_raced(name, found[name])}" for name in ("with", "without"))]


def _on_table(seed: int, found: dict[str, Any]) -> list[str]:
    def interval(of: dict[str, Any]) -> str:
        return f"{of['mean']:+.3f} [{of['low']:+.3f}, {of['high']:+.3f}]"

    names = {name: "student" if name == found["first"] else name for name in found["regret"]}
    regrets = ", ".join(f"{names[name]} {interval(regret)}" for name, regret in found["regret"].items())
    less = ", ".join(f"{name}'s {interval(other)}" for name, other in found["less"].items())
    return [f"{found['table']}, seed {seed}, {found['pairs']} pairs: regret {regrets}; the student's less {less}"]


def _lived(name: str, f: dict[str, Any]) -> str:
    less = f["less_tpe"]
    by = ", ".join(f"{family} {value:.3f}" for family, value in f["by_family"].items())
    seeds = ", ".join(f"{value:.3f}" for value in f["by_seed"])
    interval = f"{less['mean']:+.3f} [{less['low']:+.3f}, {less['high']:+.3f}]"
    area = f"{f['mean_regret']:.3f} ({f['mean_regret_less_tpe']['mean']:+.3f})"
    return f"{name:20} regret {f['regret']:.3f}, less tpe's {interval}; over all trials {area}; {by}; seeds {seeds}"


if __name__ == "__main__":
    main()
