"""The attack suite on this machine, as Markdown: `python benchmarks/attacks.py > benchmarks/results/attacks.md`.

The same suite as `nightshift doctor --attacks`; progress on stderr. Exit code 1 when an attack succeeds that this
level of isolation promises to stop, or an honest program is wronged.
"""

import platform
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import rails.bootstrap  # noqa: F401  # isort: skip  # pyright: ignore[reportUnusedImport]
from cli.attacks.suite import run_suite
from cli.attacks.table import markdown
from trainer.hardware import describe


def main() -> int:
    """Run and print."""
    started = time.monotonic()
    report = run_suite(lambda text: print(text, file=sys.stderr))
    hardware = describe("cpu")
    where = f"{platform.system()} {platform.release()}, {hardware.cores} cores ({hardware.device_name})"
    print(f"# Attacks\n\n{where}, {time.monotonic() - started:.0f} s.\n\n{markdown(report)}", end="")
    return 0 if report.passed else 1


if __name__ == "__main__":
    sys.exit(main())
