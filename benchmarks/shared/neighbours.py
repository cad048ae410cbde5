"""Busy neighbours: what a machine is like that is not ours alone."""

import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager


@contextmanager
def neighbours(count: int) -> Generator[None]:
    """So many processes beside that never rest."""
    busy = [subprocess.Popen([sys.executable, "-S", "-c", "while True: pass"]) for _ in range(count)]
    try:
        yield
    finally:
        for process in busy:
            process.kill()
            process.wait()
