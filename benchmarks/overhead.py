"""What the loop itself costs: everything outside proposing, process start, training and scoring, by node.

Runs a real campaign (real git, real store, real processes) with the test suite's stand-in trainer, whose trials take a
fraction of a second, so that hundreds of trials fit in minutes. Nothing is mocked.

    python benchmarks/overhead.py --trials 60 [--json]
"""

import argparse
import json
import statistics
import sys
import tempfile
from collections import defaultdict
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import rails.bootstrap  # noqa: E402, F401  # isort: skip  # pyright: ignore[reportUnusedImport]
from graph.campaign import open_campaign  # noqa: E402
from graph.events import Observer  # noqa: E402
from graph.options import RunOptions  # noqa: E402
from graph.runner import Runner  # noqa: E402
from memory.records import Span  # noqa: E402
from tests.support.workspaces import make_standin_workspace  # noqa: E402

WAITS = ("proposer", "startup", "train", "score", "probe")


def measure(trials: int) -> list[Span]:
    """All spans of a campaign of `trials` trials."""
    with tempfile.TemporaryDirectory() as folder:
        root = make_standin_workspace(Path(folder))
        options = RunOptions(trials=trials, proposer="random")
        with open_campaign(root, options, Observer()) as services:
            Runner(services).run()
            rows = services.store.trials(services.campaign_id)
            return [span for trial in rows for span in services.store.spans(trial.trial_id)]


def summarise(spans: list[Span]) -> dict[str, object]:
    """Median milliseconds of overhead a trial, in all and by node; waits shown apart. The baseline is left out."""
    by_trial: dict[str, dict[tuple[str, str], float]] = defaultdict(lambda: defaultdict(float))
    for span in spans:
        by_trial[span.trial_id][span.node, span.part] += span.seconds
    rows = [by_trial[key] for key in sorted(by_trial)][1:]

    def median_ms(values: list[float]) -> float:
        return round(1000 * statistics.median(values), 2)

    def own(row: dict[tuple[str, str], float], node: str) -> float:
        return row.get((node, "total"), 0.0) - sum(row.get((node, part), 0.0) for part in WAITS)

    nodes = ["propose", "check_rails", "train", "evaluate", "curate"]
    overhead = [row["trial", "total"] - sum(value for (_, part), value in row.items() if part in WAITS) for row in rows]
    last = overhead[-max(1, len(overhead) // 10) :]
    return {
        "trials": len(rows),
        "median_ms": median_ms(overhead),
        "p90_ms": round(1000 * sorted(overhead)[int(0.9 * (len(overhead) - 1))], 2),
        "median_ms_last_tenth": median_ms(last),
        "by_node_ms": {
            **{node: median_ms([own(row, node) for row in rows]) for node in nodes},
            "between_nodes": median_ms(
                [row["trial", "total"] - sum(row.get((node, "total"), 0.0) for node in nodes) for row in rows]
            ),
        },
        "waited_ms": {
            part: median_ms([sum(v for (_, p), v in row.items() if p == part) for row in rows]) for part in WAITS
        },
    }


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=60)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    result = summarise(measure(arguments.trials))
    if arguments.json:
        print(json.dumps(result, indent=2))
        return
    print(f"{result['trials']} trials; median overhead {result['median_ms']} ms (p90 {result['p90_ms']} ms)")
    print(f"by node (ms): {result['by_node_ms']}")
    print(f"apart (ms): {result['waited_ms']}")


if __name__ == "__main__":
    main()
