"""Small arithmetic over knobs: cross rules ("d_model % n_head == 0") and the size estimate of a task.

The text comes from a person's menu, but its values come from a model, so evaluation is total: overflow, division by
zero, a huge power or an unfitting type gives a reason, never a traceback, and never takes noticeable time. Nothing is
ever handed to `eval`: the syntax tree is translated to closures over a closed list of operations.
"""

import ast
import functools
import math
import operator
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TypeAlias

from rails.errors import NightshiftError
from rails.text import closest, quote, shorten

Value: TypeAlias = "bool | int | float | str"
Values: TypeAlias = Mapping[str, Value]
_Node: TypeAlias = Callable[[Values], Value]

MAX_LENGTH = 1_000
MAX_NODES = 200
MAX_BITS = 512
"""Integers beyond this many bits are refused: no memory size or step count comes near."""


class ExpressionError(NightshiftError):
    """The expression is not one of ours, or has no value for these knobs. `what` is one short sentence."""


@dataclass(frozen=True, slots=True, eq=False)
class Expression:
    """A compiled expression."""

    text: str
    names: frozenset[str]
    """The knobs that it reads."""
    _root: _Node

    def evaluate(self, values: Values) -> Value:
        """Its value for these knobs.

        Raises:
            ExpressionError: no value: a missing knob, a wrong type, overflow, division by zero, not a finite number.
        """
        return self._root(values)

    def holds(self, values: Values) -> bool:
        """Its value for these knobs, which must be true or false.

        Raises:
            ExpressionError: as `evaluate`, or the value is neither true nor false.
        """
        value = self._root(values)
        if not isinstance(value, bool):
            raise ExpressionError(f"{_show(self.text)} is not true or false but {quote(value)}")
        return value

    def amount(self, values: Values) -> float:
        """Its value for these knobs, which must be a number.

        Raises:
            ExpressionError: as `evaluate`, or the value is not a number.
        """
        return _number(self._root(values))


def compile_expression(text: str, names: Iterable[str]) -> Expression:
    """Compile `text` over the knobs in `names`.

    Allowed: numbers, strings, True, False, knobs, + - * / // % **, comparisons (chained too), `in` and `not in` a
    list of constants, and/or/not, `a if c else b`, and the functions min, max, abs, round, ceil.

    Raises:
        ExpressionError: anything else, an unknown name, or a text too long.
    """
    return _compile(text, frozenset(names))


@functools.lru_cache(maxsize=512)
def _compile(text: str, names: frozenset[str]) -> Expression:
    if len(text) > MAX_LENGTH:
        raise ExpressionError(f"an expression of {len(text)} characters is too long: {MAX_LENGTH} are allowed")
    try:
        tree = ast.parse(text.strip(), mode="eval")
        nodes = list(ast.walk(tree))
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        raise ExpressionError(f"{_show(text)} is not an expression") from None
    if len(nodes) > MAX_NODES:
        raise ExpressionError(f"{_show(text)} has more than {MAX_NODES} parts")
    called = {node.func for node in nodes if isinstance(node, ast.Call)}
    read = (node.id for node in nodes if isinstance(node, ast.Name) and node not in called)
    used = frozenset(read) - _FUNCTIONS.keys()
    for name in sorted(used - names):
        raise ExpressionError(f"{_show(text)} reads {quote(name)}, which is no knob{closest(name, names)}")
    return Expression(text, used, _translate(tree.body))


def _show(text: str) -> str:
    """Quote a part of the expression: a person wrote it, so unlike a model's words it is shown unaltered."""
    return shorten(repr(text), 80)


def _translate(node: ast.expr) -> _Node:
    translate = _TRANSLATORS.get(type(node))
    if translate is None:
        raise ExpressionError(f"{_show(ast.unparse(node))} is not allowed in an expression")
    return translate(node)


def _constant(node: ast.Constant) -> _Node:
    value = node.value
    if not isinstance(value, bool | int | float | str):
        raise ExpressionError(f"{_show(ast.unparse(node))} is not allowed in an expression")
    bounded = value if isinstance(value, bool | str) else _bounded(value)
    return lambda _: bounded


def _name(node: ast.Name) -> _Node:
    name = node.id
    if name in _FUNCTIONS:
        raise ExpressionError(f"{name} is a function: call it, as in {name}(…)")

    def read(values: Values) -> Value:
        if name not in values:
            raise ExpressionError(f"there is no value for {quote(name)}")
        value = values[name]
        return value if isinstance(value, bool | str) else _bounded(value)

    return read


def _unary(node: ast.UnaryOp) -> _Node:
    operand = _translate(node.operand)
    if isinstance(node.op, ast.Not):
        return lambda values: not _truth(operand(values))
    if isinstance(node.op, ast.USub):
        return lambda values: -_number(operand(values))
    if isinstance(node.op, ast.UAdd):
        return lambda values: _number(operand(values))
    raise ExpressionError(f"{_show(ast.unparse(node))}: ~ is not allowed in an expression")


def _binary(node: ast.BinOp) -> _Node:
    operation = _BINARY.get(type(node.op))
    if operation is None:
        raise ExpressionError(f"the operator in {_show(ast.unparse(node))} is not allowed in an expression")
    left, right = _translate(node.left), _translate(node.right)
    return lambda values: _calculate(operation, _number(left(values)), _number(right(values)))


def _boolean(node: ast.BoolOp) -> _Node:
    parts = [_translate(value) for value in node.values]
    every = isinstance(node.op, ast.And)

    def decide(values: Values) -> bool:
        # Left to right and lazy, as in Python: `n > 0 and 8 % n == 0` must not divide by zero.
        truths = (_truth(part(values)) for part in parts)
        return all(truths) if every else any(truths)

    return decide


def _choice(node: ast.IfExp) -> _Node:
    test, yes, no = _translate(node.test), _translate(node.body), _translate(node.orelse)
    return lambda values: yes(values) if _truth(test(values)) else no(values)


def _comparison(node: ast.Compare) -> _Node:
    links: list[tuple[Callable[[Value, list[Value]], bool], list[_Node]]] = []
    for op, comparator in zip(node.ops, node.comparators, strict=True):
        if isinstance(op, ast.In | ast.NotIn):
            if not isinstance(comparator, ast.Tuple | ast.List | ast.Set) or len(node.ops) > 1:
                raise ExpressionError(f"{_show(ast.unparse(node))}: `in` needs a list, alone, as in x in (1, 2)")
            members = [_translate(member) for member in comparator.elts]
            links.append((_is_in if isinstance(op, ast.In) else _is_not_in, members))
        elif type(op) in _COMPARISONS:
            links.append((_comparing(_COMPARISONS[type(op)]), [_translate(comparator)]))
        else:
            raise ExpressionError(f"{_show(ast.unparse(node))}: compare with == instead of `is`")
    first = _translate(node.left)

    def compare(values: Values) -> bool:
        left = first(values)
        for test, nodes in links:
            rights = [right(values) for right in nodes]
            if not test(left, rights):
                return False
            left = rights[-1] if rights else left
        return True

    return compare


def _comparing(operation: Callable[[Value, Value], bool]) -> Callable[[Value, list[Value]], bool]:
    equality = operation in (operator.eq, operator.ne)

    def test(left: Value, rights: list[Value]) -> bool:
        right = rights[0]
        if not equality:
            return operation(_number(left), _number(right))
        if isinstance(left, str) != isinstance(right, str):
            raise ExpressionError(f"{quote(left)} and {quote(right)} cannot be compared")
        return operation(left, right)

    return test


def _is_in(left: Value, rights: list[Value]) -> bool:
    return left in rights


def _is_not_in(left: Value, rights: list[Value]) -> bool:
    return left not in rights


def _call(node: ast.Call) -> _Node:
    name = node.func.id if isinstance(node.func, ast.Name) else ""
    function = _FUNCTIONS.get(name)
    if function is None or node.keywords or any(isinstance(argument, ast.Starred) for argument in node.args):
        raise ExpressionError(
            f"{_show(ast.unparse(node))}: only {', '.join(_FUNCTIONS)} can be called, without keywords"
        )
    if not node.args or (name in {"abs", "ceil", "round"} and len(node.args) > 1):
        raise ExpressionError(f"{_show(ast.unparse(node))}: wrong number of arguments")
    arguments = [_translate(argument) for argument in node.args]
    return lambda values: _calculate(function, *[_number(argument(values)) for argument in arguments])


def _calculate(operation: Callable[..., float], *numbers: float) -> float:
    try:
        return _bounded(operation(*numbers))
    except ZeroDivisionError:
        raise ExpressionError("division by zero") from None
    except (OverflowError, ValueError):
        raise ExpressionError("a number grows too large") from None


def _power(base: float, exponent: float) -> float:
    if isinstance(base, int) and isinstance(exponent, int):
        # Refused before it is computed: 9**9**9 would take minutes and gigabytes.
        if base.bit_length() * abs(exponent) > 2 * MAX_BITS:
            raise OverflowError
        return base**exponent
    if base < 0 and not float(exponent).is_integer():
        raise ExpressionError("a negative number has no such power")
    return float(base) ** float(exponent)


def _bounded(value: float) -> float:
    if isinstance(value, int):
        if value.bit_length() > MAX_BITS:
            raise ExpressionError("a number grows too large")
    elif not math.isfinite(value):
        raise ExpressionError("a number grows too large")
    return value


def _number(value: Value) -> float:
    if isinstance(value, bool | str):
        raise ExpressionError(f"{quote(value)} is not a number")
    return value


def _truth(value: Value) -> bool:
    if not isinstance(value, bool):
        raise ExpressionError(f"{quote(value)} is not true or false")
    return value


def _largest(*numbers: float) -> float:
    return max(numbers)


def _absolute(value: float) -> float:
    return abs(value)


def _smallest(*numbers: float) -> float:
    return min(numbers)


_FUNCTIONS: dict[str, Callable[..., float]] = {
    "min": _smallest,
    "max": _largest,
    "abs": _absolute,
    "round": round,
    "ceil": math.ceil,
}
_BINARY: dict[type[ast.operator], Callable[[float, float], float]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
    ast.Pow: _power,
}
_COMPARISONS: dict[type[ast.cmpop], Callable[[Value, Value], bool]] = {
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
}
_TRANSLATORS: dict[type[ast.expr], Callable[..., _Node]] = {
    ast.Constant: _constant,
    ast.Name: _name,
    ast.UnaryOp: _unary,
    ast.BinOp: _binary,
    ast.BoolOp: _boolean,
    ast.IfExp: _choice,
    ast.Compare: _comparison,
    ast.Call: _call,
}
