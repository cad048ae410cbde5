"""Busy neighbours: what a machine is like that is not ours alone."""

import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager
from typing import Final

_BUSY: Final = """
import os
parent = os.getppid()
while os.getppid() == parent:
    for _ in range(1_000_000):
        pass
"""
"""Until whoever started it is gone: a benchmark that is killed must leave the machine quiet."""


@contextmanager
def neighbours(count: int) -> Generator[None]:
    """So many processes beside that never rest."""
    busy = [subprocess.Popen([sys.executable, "-S", "-c", _BUSY]) for _ in range(count)]
    try:
        yield
    finally:
        for process in busy:
            process.kill()
            process.wait()
