"""One Python source file as the rails see it: its knobs, where their literals stand, and what it means.

Parsing a training script takes milliseconds, and a knob edit changes one literal of it: the analysis of a source is
therefore kept, and a candidate's key is derived from it by exchanging one statement's digest.
"""

import ast
import copy
import functools
import hashlib
import math
import re
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeAlias

from rails.errors import NightshiftError
from rails.source.idea import Outlines, outlines_of
from rails.text import closest, number, quote

Literal: TypeAlias = int | float | str | bool
_LINE_END = re.compile(rb"\r\n|\r|\n")


class EditError(NightshiftError):
    """A source cannot be read as a program with knobs, or an edit does not fit it. `what` is one short sentence."""


@dataclass(frozen=True, slots=True)
class KnobField:
    """One annotated field of the knobs class and the bytes of the UTF-8 source that its literal occupies."""

    value: Literal
    start: int
    end: int
    position: int
    """Index of the statement in the class body."""


@dataclass(frozen=True, slots=True, eq=False)
class Program:
    """The analysis of one source. `tree` has no docstrings and must not be changed."""

    source: str
    tree: ast.Module
    digests: tuple[str, ...]
    """One per top-level statement; the program's key is the digest of these."""

    @property
    def key(self) -> str:
        """Hash of the program's meaning: comments, docstrings and formatting do not count."""
        return _join(self.digests)

    @property
    def idea_key(self) -> str:
        """Hash of what it does, whatever it calls things; see `rails.source.idea`."""
        return _outlines(self).key

    @property
    def size(self) -> int:
        """How many nodes its syntax tree has, docstrings and comments left out: a measure of how much code it is."""
        return _size(self)

    def knobs(self, class_name: str) -> dict[str, KnobField]:
        """The fields of the knobs class, in order.

        Raises:
            EditError: no such class, or a class that holds anything but annotated fields with literal values.
        """
        return dict(_read_fields(self, class_name))

    def with_knobs(self, class_name: str, values: Mapping[str, Literal]) -> "Variant":
        """The program with some knobs set.

        Raises:
            EditError: no such class or field, or a value of another type than the field's literal.
        """
        fields = self.knobs(class_name)
        statement = _class_index(self, class_name)
        node = copy.copy(self.tree.body[statement])  # one level deep, so that the kept tree stays as it is
        assert isinstance(node, ast.ClassDef)
        node.body = node.body.copy()
        data = self.source.encode()
        for name, value in sorted(
            values.items(), key=lambda item: _field(fields, class_name, item[0]).start, reverse=True
        ):
            field = fields[name]
            text = _literal(name, field.value, value)
            data = data[: field.start] + text.encode() + data[field.end :]
            assignment = copy.copy(node.body[field.position])
            assert isinstance(assignment, ast.AnnAssign)
            assignment.value = ast.parse(text, mode="eval").body
            node.body[field.position] = assignment
        digests = (*self.digests[:statement], _digest(node), *self.digests[statement + 1 :])
        return Variant(data.decode(), _join(digests), _outlines(self).exchanged(statement, node).key)


class Variant(NamedTuple):
    """A program with other literals for its knobs: its text and its keys."""

    source: str
    key: str
    idea_key: str


@functools.lru_cache(maxsize=8)
def _outlines(program: Program) -> Outlines:
    return outlines_of(program.tree)


@functools.lru_cache(maxsize=8)
def _size(program: Program) -> int:
    return sum(not isinstance(node, ast.expr_context) for node in ast.walk(program.tree))


@functools.lru_cache(maxsize=8)
def parse_program(source: str) -> Program:
    """Analyse a source; the last few analyses are kept.

    Raises:
        EditError: not Python, or nested too deeply to read.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # an odd escape in a candidate's text is no business of the loop
            tree = ast.parse(source)
        _drop_docstrings(tree)
        return Program(source, tree, tuple(_digest(statement) for statement in tree.body))
    except SyntaxError as error:
        raise EditError(f"not valid Python: {error.msg} at line {error.lineno or 1}") from None
    except (ValueError, RecursionError, MemoryError):
        raise EditError("not readable as Python: a null byte, half of a surrogate pair, or nesting too deep") from None


def _drop_docstrings(tree: ast.Module) -> None:
    """Remove statements that are only a constant: docstrings of modules, classes, functions and fields."""
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if isinstance(body, list):
            kept = [child for child in body if not _is_constant_statement(child)]
            node.body = kept or ([ast.Pass()] if body else [])  # type: ignore[attr-defined]


def _is_constant_statement(node: Any) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)


def _digest(node: ast.AST) -> str:
    parts: list[str] = []
    _write(node, parts)
    return hashlib.sha256("".join(parts).encode()).hexdigest()


def _join(digests: tuple[str, ...]) -> str:
    return hashlib.sha256("".join(digests).encode()).hexdigest()


def _write(node: Any, parts: list[str]) -> None:
    """Write a tree without positions. Empty fields are left out, so that Python versions that add some agree."""
    if isinstance(node, ast.Constant):
        value: object = node.value
        parts.append(hex(value) if isinstance(value, int) and value.bit_length() > 128 else repr(value))
    elif isinstance(node, ast.AST):
        parts.append(type(node).__name__ + "(")
        for name in node._fields:
            child = getattr(node, name, None)
            if child is not None and child != []:
                parts.append(name + "=")
                _write(child, parts)
                parts.append(",")
        parts.append(")")
    elif isinstance(node, list):
        parts.append("[")
        for child in node:
            _write(child, parts)
            parts.append(",")
        parts.append("]")
    else:
        parts.append(repr(node))


def _class_index(program: Program, class_name: str) -> int:
    found = [
        index
        for index, statement in enumerate(program.tree.body)
        if isinstance(statement, ast.ClassDef) and statement.name == class_name
    ]
    if len(found) != 1:
        count = "no" if not found else "more than one"
        raise EditError(f"there is {count} class {class_name} at the top level of the file")
    return found[0]


@functools.lru_cache(maxsize=8)
def _read_fields(program: Program, class_name: str) -> dict[str, KnobField]:
    node = program.tree.body[_class_index(program, class_name)]
    assert isinstance(node, ast.ClassDef)
    if node.bases or node.keywords:
        raise EditError(f"class {class_name} must not inherit: its fields have to be its own")
    data = program.source.encode()
    starts = [0, *(match.end() for match in _LINE_END.finditer(data))]
    fields: dict[str, KnobField] = {}
    for position, statement in enumerate(node.body):
        if isinstance(statement, ast.Pass | ast.FunctionDef):
            continue
        if not isinstance(statement, ast.AnnAssign) or not isinstance(statement.target, ast.Name):
            what = "may hold only annotated fields with literal values (and methods)"
            raise EditError(f"class {class_name} {what}: see line {statement.lineno}")
        name = statement.target.id
        value = _literal_value(statement.value)
        if value is None or statement.value is None:
            raise EditError(f"{class_name}.{quote(name)[1:-1]} has no literal value (line {statement.lineno})")
        if name in fields:
            raise EditError(f"{class_name}.{quote(name)[1:-1]} is defined twice (line {statement.lineno})")
        start = starts[statement.value.lineno - 1] + statement.value.col_offset
        end = starts[(statement.value.end_lineno or 0) - 1] + (statement.value.end_col_offset or 0)
        fields[name] = KnobField(value, start, end, position)
    return fields


def _literal_value(node: ast.expr | None) -> Literal | None:
    negative = isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub)
    inner = node.operand if isinstance(node, ast.UnaryOp) and negative else node
    if not isinstance(inner, ast.Constant):
        return None
    value = inner.value
    if isinstance(value, bool | str):
        return None if negative else value
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, int | float):
        return -value if negative else value
    return None


def _field(fields: Mapping[str, KnobField], class_name: str, name: str) -> KnobField:
    if name not in fields:
        raise EditError(f"class {class_name} has no field {quote(name)}{closest(name, fields)}")
    return fields[name]


def _literal(name: str, old: Literal, value: Literal) -> str:
    """Write `value` as Python in the type of the literal that it replaces."""
    if isinstance(old, float) and isinstance(value, int) and not isinstance(value, bool) and abs(value) < 2**1000:
        value = float(value)
    if type(value) is not type(old):
        raise EditError(f"{name} = {quote(value)} does not fit its field, which holds {quote(old)}")
    if isinstance(value, float) and not math.isfinite(value):
        raise EditError(f"{name} = {value!r} is not a finite number")
    if isinstance(value, str):
        return _string(value)
    if isinstance(value, int) and value.bit_length() > 1_000:
        raise EditError(f"{name} = {number(value)} is too large")
    return repr(value)


def _string(value: str) -> str:
    text = repr(value)
    # Double quotes where the formatter would put them; both kinds inside: leave Python's choice.
    return f'"{text[1:-1]}"' if "'" not in value and '"' not in value else text
