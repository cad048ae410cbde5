"""Pausing Python's collector of cyclic garbage while many rows are read."""

import gc
from collections.abc import Generator
from contextlib import contextmanager


@contextmanager
def no_collector() -> Generator[None]:
    """Hundreds of thousands of new objects, and no garbage: looking for it would take a third of the time."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()
