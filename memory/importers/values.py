"""Values of other people's logs: read strictly, or not at all."""

import math
import re
from datetime import UTC, datetime
from typing import Any

from memory.importers.log import RowError
from rails.status import Status
from rails.text import quote

STATUSES = {
    **{status.value: status for status in Status},
    "revert": Status.DISCARD,
    "timeout": Status.TRAIN_BUDGET_OVERRUN,
}
"""How logs name what became of a trial, in small letters; our own names, and what the seeds' users write."""

MAXIMISED = frozenset({"core_metric", "core", "accuracy", "acc", "score", "reward"})
"""Metrics, by name, of which more is better. Of all others less is, unless the kept trials say otherwise."""

LARGEST_WHOLE = 2**53
_YEARS = range(1970, 2200)
_EDIT = re.compile(r"([A-Za-z_][A-Za-z0-9_]{0,63})=(\S{1,200}?)(?::|$)")
_NUMBER = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?")


def status_of(text: str) -> Status:
    """Our status for a log's.

    Raises:
        RowError: unknown.
    """
    found = STATUSES.get(text.strip().lower())
    if found is None:
        raise RowError(f"unknown status {quote(text)}" if text.strip() else "it has no status")
    return found


def real(value: object) -> float | None:
    """A finite number; None for what is none, also for text, true and a number too large."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, bool) or not isinstance(value, int):
        return None
    try:
        return float(value)
    except OverflowError:
        return None


def number_in(cell: str, what: str) -> float | None:
    """The number in a table's cell; None for an empty one.

    Raises:
        RowError: it holds something else, or a number that is not finite.
    """
    text = cell.strip()
    if not text:
        return None
    if not _NUMBER.fullmatch(text) or not math.isfinite(found := float(text)):
        raise RowError(f"{what} is {quote(text)}, which is no number")
    return found


def whole(value: object) -> int | None:
    """A whole number that fits everywhere; None for what is none."""
    number = real(value)
    return int(number) if number is not None and number.is_integer() and abs(number) <= LARGEST_WHOLE else None


def seconds(value: object) -> float:
    """A duration; 0 where there is none, which means that it was not measured."""
    return max(0.0, real(value) or 0.0)


def moment(value: object) -> datetime | None:
    """A time of day; without a zone it is taken for UTC. None for what is none."""
    if not isinstance(value, str):
        return None
    try:
        found = datetime.fromisoformat(value.strip())
        found = found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)
    except (ValueError, OverflowError):
        return None
    return found if found.year in _YEARS else None


def edit_in(text: str) -> dict[str, Any] | None:
    """The knob edit that a description begins with, as our own tables write it: `lr=0.02` or `lr=0.02: why`."""
    match = _EDIT.match(text)
    if match is None:
        return None
    knob, value = match[1], match[2]
    return {"kind": "knob", "knob": knob, "value": _literal(value)}


def _literal(text: str) -> int | float | str:
    if re.fullmatch(r"-?\d{1,15}", text):
        return int(text)
    if _NUMBER.fullmatch(text) and math.isfinite(number := float(text)):
        return number
    return text


def storable(value: Any) -> Any:
    """A value of JSON as a store can keep it: no lone surrogates, no NaN, no infinity; integers of any size."""
    if isinstance(value, str):
        return value if value.isascii() else value.encode("utf-8", "replace").decode("utf-8")
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key if key.isascii() else storable(key): storable(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [storable(item) for item in value]
    return value
