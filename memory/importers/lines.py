"""The lines of a text file, whatever bytes it holds."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from pydantic_core import from_json

from memory.importers.log import RowError
from memory.importers.values import storable

Tick = Callable[[int], None]
"""Told how many bytes more have been read."""


def unheard(_: int) -> None:
    """For whoever shows no progress."""


def lines_of(path: Path, tick: Tick = unheard) -> Iterator[tuple[int, str]]:
    """Line numbers from 1 and texts, empty lines left out.

    Only a newline ends a line: other separators of Unicode stand in free text. What is no UTF-8 is replaced, so that
    one damaged letter costs no row.

    Raises:
        OSError: it cannot be read.
    """
    with path.open("rb") as file:
        for number, raw in enumerate(file, 1):
            tick(len(raw))
            text = raw.decode("utf-8", "replace").rstrip("\r\n")
            if number == 1:
                text = text.removeprefix("\ufeff")
            if text.strip():
                yield number, text


def object_in(text: str) -> dict[str, Any]:
    """The JSON object in a line, as it stands.

    Raises:
        RowError: there is none.
    """
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise RowError(f"it is no JSON: {error}") from None
    if not isinstance(found, dict):
        raise RowError("it is no JSON object")
    return found


def storable_object_in(text: str) -> dict[str, Any]:
    """The same without lone surrogates and NaN, at most 200 deep. A number too large for a float may still be infinite.

    pydantic's parser takes half the time of Python's, and finds the same in all that it accepts; but it does not accept
    lone surrogates, and does not say well what is wrong.

    Raises:
        RowError: there is none, or it is nested too deeply.
    """
    try:
        found = from_json(text, allow_inf_nan=False)
    except ValueError:
        found = _made_storable(object_in(text))
    if not isinstance(found, dict):
        raise RowError("it is no JSON object")
    return found


def _made_storable(found: dict[str, Any]) -> Any:
    try:
        return from_json(json.dumps(storable(found)))
    except (ValueError, RecursionError):  # nothing else is left that it does not accept
        raise RowError("it is nested too deeply") from None
