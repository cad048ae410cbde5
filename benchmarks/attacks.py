"""The attack suite on this machine, as Markdown: `python benchmarks/attacks.py > benchmarks/results/attacks.md`.

The same suite as `nightshift doctor --attacks`; progress on stderr. `--isolation L2` runs the trials below the best
level that can be had. Exit code 1 when an attack succeeds that this level of isolation promises to stop, or an honest
program is wronged.
"""

import argparse
import os
import platform
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import rails.bootstrap  # noqa: F401  # isort: skip  # pyright: ignore[reportUnusedImport]
import graph.campaign.preflight
import tools.gpt
from cli.attacks.suite import run_suite
from cli.attacks.table import markdown
from trainer.hardware import describe
from trainer.sandbox.levels import Isolation, best_isolation


def main() -> int:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--isolation", type=Isolation, choices=list(Isolation), default=best_isolation())
    isolation: Isolation = parser.parse_args().isolation
    for module in (graph.campaign.preflight, tools.gpt):
        vars(module)["best_isolation"] = lambda: isolation
    started = time.monotonic()
    report = run_suite(lambda text: print(text, file=sys.stderr))
    hardware = describe("cpu")
    who = "root" if os.getuid() == 0 else "an ordinary user"
    where = f"{platform.system()} {platform.release()}, {hardware.cores} cores ({hardware.device_name}), as {who}"
    print(f"# Attacks\n\n{where}, {time.monotonic() - started:.0f} s.\n\n{markdown(report)}", end="")
    return 0 if report.passed else 1


if __name__ == "__main__":
    sys.exit(main())
