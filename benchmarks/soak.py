"""Whether the record survives anything: long runs under random kills, a bad endpoint, a full disk.

    python benchmarks/soak.py --part kills [--kills 500]       # about an hour on two cores
    python benchmarks/soak.py --part weather [--trials 1000]
    python benchmarks/soak.py --part disk

Real `nightshift run` processes on real workspaces with the test suite's stand-in for train.py, whose trials take a
fraction of a second. Each part compares with a campaign that nothing happened to. Exits 1 when anything is not as it
must be. `--json` prints all that was found.
"""

import argparse
import json
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import rails.bootstrap  # noqa: E402, F401  # isort: skip  # pyright: ignore[reportUnusedImport]
from benchmarks.soaks import disk, kills, weather, writes  # noqa: E402


def main() -> None:
    """Run one part and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--part", choices=["kills", "weather", "disk"], required=True)
    parser.add_argument("--kills", type=int, default=500)
    parser.add_argument("--trials", type=int, default=None, help="1.5 for each kill; 1000 (weather); 8 (disk)")
    parser.add_argument("--writes", type=int, default=100, help="trials in which writes are timed (kills)")
    parser.add_argument("--share", type=float, default=0.3, help="of the endpoint's replies that are bad")
    parser.add_argument("--seed", type=int, default=0, help="of the moments of the kills, of the endpoint's choices")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--keep", action="store_true", help="leave the workspaces where they are")
    arguments = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix=f"nightshift-soak-{arguments.part}-"))
    try:
        result, wrong = _run(folder, arguments)
    finally:
        if arguments.keep:
            print(folder, file=sys.stderr)
        else:
            shutil.rmtree(folder, ignore_errors=True)
    if arguments.json:
        print(json.dumps({**result, "wrong": wrong}, indent=2))
    else:
        for name, value in result.items():
            print(f"{name:24} {value}")
        print(f"wrong: {', '.join(wrong) or 'nothing'}")
    raise SystemExit(1 if wrong else 0)


def _run(folder: Path, arguments: argparse.Namespace) -> tuple[dict[str, Any], list[str]]:
    if arguments.part == "kills":
        trials = arguments.trials or round(1.5 * arguments.kills)
        result = kills.soak(folder, kills=arguments.kills, trials=trials, seed=arguments.seed, say=True)
        result["writes"] = writes.measure(folder, arguments.writes)
        return result, kills.verdict(result)
    if arguments.part == "weather":
        trials = arguments.trials or 1000
        result = weather.soak(folder, trials=trials, share=arguments.share, seed=arguments.seed, say=True)
        return result, weather.verdict(result)
    result = disk.soak(folder, trials=arguments.trials or 8)
    return result, disk.verdict(result)


if __name__ == "__main__":
    main()
