"""What a text must be before it is stored or sent."""

from typing import Any

MAX_LEVELS = 32
"""Deepest nesting of a value that is sent or stored; a menu's knobs need one level."""


def storable(text: str) -> str:
    """`text` with lone surrogates written as escapes and NULs removed: the store and HTTP accept neither."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8").replace("\x00", "")


def storable_json(value: Any, levels: int = MAX_LEVELS) -> Any:
    """A JSON value in which every text is storable, and nothing is nested deeper than `levels`."""
    match value:
        case str():
            return storable(value)
        case list() | dict() if levels == 0:
            return "(nested too deeply)"
        case list():
            return [storable_json(item, levels - 1) for item in value]
        case dict():
            return {storable(str(key)): storable_json(item, levels - 1) for key, item in value.items()}
        case _:
            return value
