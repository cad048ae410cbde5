"""Variants of one test: the first ones run each time, all of them with --runslow, which is how a release is checked.

With `rest=pytest.mark.system` all of them run with --all, as in continuous integration.
"""

from collections.abc import Iterable, Sequence
from typing import Any

import pytest


def first(number: int, values: Iterable[Any], *, rest: pytest.MarkDecorator = pytest.mark.slow) -> list[Any]:
    """Values of one parameter, of which only the first `number` are tested each time."""
    return firsts(number, [(value,) for value in values], rest=rest)


def firsts(number: int, rows: Iterable[Sequence[Any]], *, rest: pytest.MarkDecorator = pytest.mark.slow) -> list[Any]:
    """The same for several parameters at once: a row is a value of each."""
    return [pytest.param(*row, marks=[] if position < number else [rest]) for position, row in enumerate(rows)]
