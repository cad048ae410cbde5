"""Read a person's TOML or JSON file into strict records, and say in one sentence what is wrong with it."""

import tomllib
from collections.abc import Mapping
from pathlib import Path
from types import UnionType
from typing import Any, TypeVar, Union, get_args, get_origin

from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic_core import ErrorDetails

from rails.errors import UserError
from rails.strict_json import StrictJsonError, decode_object
from rails.text import REASON_LIMIT, clean_text, closest, quote

MAX_FILE_BYTES = 1024 * 1024


class Table(BaseModel):
    """Base of every record read from a file: immutable, no unknown keys, no coercion, no NaN."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False, populate_by_name=True)


TableType = TypeVar("TableType", bound=Table)


def tuple_of_list(value: object) -> object:
    """Let a strict tuple field take the list that TOML and JSON give (for `BeforeValidator`)."""
    return tuple(value) if isinstance(value, list) else value


def read_text(path: Path, *, fix: str) -> str:
    """The text of a small UTF-8 file.

    Raises:
        UserError: missing (told to do `fix`), a folder, unreadable, too large, not UTF-8.
    """
    try:
        if path.stat().st_size > MAX_FILE_BYTES:
            raise UserError(
                f"the file is larger than {MAX_FILE_BYTES} bytes", where=str(path), fix="is it the right file?"
            )
        return path.read_bytes().decode("utf-8-sig")
    except FileNotFoundError:
        raise UserError("there is no such file", where=str(path), fix=fix) from None
    except UnicodeDecodeError as error:
        what = f"the file is not UTF-8 text (byte {error.start})"
        raise UserError(what, where=str(path), fix="save it as UTF-8") from None
    except OSError as error:
        raise UserError(
            f"cannot read the file: {error.strerror}", where=str(path), fix="give a readable file"
        ) from None


def read_toml(path: Path, *, fix: str) -> dict[str, Any]:
    """The tables of a TOML file.

    Raises:
        UserError: as `read_text`, or not TOML (with line and column).
    """
    text = read_text(path, fix=fix)
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        # The parser's own message ends with line and column.
        what = f"not valid TOML: {clean_text(str(error), REASON_LIMIT)}"
        raise UserError(what, where=str(path), fix="correct that line") from None
    except (RecursionError, ValueError):
        what = "not valid TOML: a number of thousands of digits, or brackets nested too deeply"
        raise UserError(what, where=str(path), fix="correct the file") from None


def read_json(path: Path, *, fix: str) -> dict[str, Any]:
    """The object in a JSON file.

    Raises:
        UserError: as `read_text`, or not strict JSON (duplicate keys, NaN …), with the line.
    """
    text = read_text(path, fix=fix).strip()
    try:
        found, end = decode_object(text, 0)
    except StrictJsonError as error:
        raise UserError(str(error), where=str(path), fix="correct the file") from None
    if text[end:].strip():
        raise UserError("there is text after the JSON object", where=str(path), fix="remove it")
    return found


def build(model: type[TableType], data: Mapping[str, Any], *, where: str) -> TableType:
    """Validate `data` as `model`.

    Raises:
        UserError: the first thing wrong: the file, the key, what it should be, and the nearest known key.
    """
    try:
        return model.model_validate(data)
    except ValidationError as error:
        # An unknown key explains a missing one (it is usually the same key, misspelt): say that first.
        details = sorted(error.errors(include_url=False), key=lambda detail: detail["type"] != "extra_forbidden")
        raise _explain(model, details[0], where) from None


def _explain(model: type[Table], detail: ErrorDetails, where: str) -> UserError:
    path = [str(part) for part in detail["loc"]]
    if detail["type"] in _UNION_MEMBERS and path[-1:] == [_UNION_MEMBERS[detail["type"]]]:
        path.pop()  # pydantic appends which member of `int | float | str` it tried
    key = ".".join(clean_text(part, 60) for part in path)
    place = f"{where}: {key}" if key else where
    kind, got = detail["type"], quote(detail["input"])
    if kind == "extra_forbidden":
        known = _keys_at(model, path[:-1])
        hint = closest(path[-1], known)
        listed = f"use one of {', '.join(sorted(known))}" if known else "remove it"
        return UserError(f"unknown key{hint}", where=place, fix="correct the name" if hint else listed)
    if kind == "missing":
        return UserError("the key is missing", where=place, fix="add it")
    if kind == "value_error":
        return UserError(detail["msg"].removeprefix("Value error, "), where=place, fix="correct the file")
    wanted = _WANTED.get(kind) or detail["msg"].removeprefix("Input ")
    return UserError(f"it {wanted}; got {got}", where=place, fix="correct the value")


_UNION_MEMBERS = {"int_type": "int", "float_type": "float", "string_type": "str"}
_WANTED = {
    "model_type": "should be a table",
    "dict_type": "should be a table",
    "tuple_type": "should be a list",
    "bool_type": "should be true or false",
    "string_type": "should be text in quotes",
    "int_type": "should be a whole number",
    "float_type": "should be a number",
}


def _keys_at(model: type[Table], path: list[str]) -> list[str]:
    """The keys that the table at `path` (from the root model down) may have."""
    current: Any = model
    for part in path:
        table = _table_in(current)
        if table is not None:
            fields = {_key(name, field.alias): field.annotation for name, field in table.model_fields.items()}
            current = fields.get(part)
        else:  # a dict or tuple of tables: the part is a name or an index
            arguments = get_args(current)
            current = arguments[1 if get_origin(current) is dict else 0] if arguments else None
    table = _table_in(current)
    return [_key(name, field.alias) for name, field in table.model_fields.items()] if table else []


def _key(name: str, alias: str | None) -> str:
    return alias or name


def _table_in(annotation: Any) -> type[Table] | None:
    options = get_args(annotation) if get_origin(annotation) in {Union, UnionType} else (annotation,)
    for option in options:
        if isinstance(option, type) and issubclass(option, Table):
            return option
    return None
