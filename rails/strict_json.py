"""JSON as the standard has it, with every way to smuggle something past a reader refused by name.

Python's own decoder takes NaN, silently keeps the last of two equal keys, turns 1e999 into infinity, raises
RecursionError on deep nesting and ValueError on integers beyond 4,300 digits.
"""

import json
from typing import Any, NoReturn

MAX_DEPTH = 16
MAX_DIGITS = 40
"""Longest integer taken; 2**64 has 20 digits, and nobody tunes a knob beyond that."""


class StrictJsonError(ValueError):
    """The text is not strict JSON; the message is one short sentence without any of the text's own words."""


def decode_object(text: str, start: int) -> tuple[dict[str, Any], int]:
    """Decode the JSON object that begins at `start`; also return the index just behind it.

    Raises:
        StrictJsonError: not JSON, not an object, or something no reader should be lenient about.
    """
    try:
        value, end = _DECODER.raw_decode(text, start)
    except StrictJsonError:
        raise
    except json.JSONDecodeError as error:
        raise StrictJsonError(f"not valid JSON: {error.msg} at character {error.pos + 1}") from None
    except RecursionError:
        raise StrictJsonError(f"nested deeper than {MAX_DEPTH} levels") from None
    if not isinstance(value, dict):
        raise StrictJsonError("not a JSON object")
    _check_tree(value)
    return value, end


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise StrictJsonError("the same key appears twice in one object")
    return found


def _constant(_: str) -> NoReturn:
    raise StrictJsonError("NaN and Infinity are not JSON numbers")


def _int(digits: str) -> int:
    if len(digits) > MAX_DIGITS:
        raise StrictJsonError(f"an integer of {len(digits)} digits is too long")
    return int(digits)


def _float(digits: str) -> float:
    value = float(digits)
    if value in {float("inf"), float("-inf")}:
        raise StrictJsonError("a number is too large to be finite")
    return value


_DECODER = json.JSONDecoder(object_pairs_hook=_object, parse_constant=_constant, parse_int=_int, parse_float=_float)


def _check_tree(root: dict[str, Any]) -> None:
    """Refuse deep nesting and text that is not Unicode (half of a surrogate pair), without recursion."""
    todo: list[tuple[Any, int]] = [(root, 1)]
    while todo:
        value, depth = todo.pop()
        if depth > MAX_DEPTH:
            raise StrictJsonError(f"nested deeper than {MAX_DEPTH} levels")
        if isinstance(value, str):
            _check_text(value)
        elif isinstance(value, dict):
            for key, child in value.items():
                _check_text(key)
                todo.append((child, depth + 1))
        elif isinstance(value, list):
            todo.extend((child, depth + 1) for child in value)


def _check_text(text: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError:
        raise StrictJsonError("text holds half of a surrogate pair") from None
