"""What a proposal may change: the knobs, their allowed values, and the rules that hold between them."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self, TypeAlias

from pydantic import BeforeValidator, Field, model_validator

from rails.errors import UserError
from rails.expressions import Expression, ExpressionError, compile_expression
from rails.tables import Table, build, read_json, read_toml, tuple_of_list
from rails.text import number, quote

KnobValue: TypeAlias = int | float | str
_Pair: TypeAlias = Annotated[tuple[float | int, float | int], BeforeValidator(tuple_of_list)]
_Choices: TypeAlias = Annotated[tuple[KnobValue, ...], BeforeValidator(tuple_of_list)]

_IDENTIFIER = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,63}")
_ARTICLES = {"int": "an int", "float": "a float", "str": "a string"}
_NUMBERS = {"int": "a whole number", "float": "a number"}
_DECIMAL = re.compile(r"[+-]?(?:\d{1,40}\.?\d{0,40}|\.\d{1,40})(?:[eE][+-]?\d{1,3})?", re.ASCII)
_EXACT = 2.0**53
"""Whole numbers up to here are exact as floats."""
SHOWN_CHOICES = 12
"""How many of a knob's choices a reason names."""


class Knob(Table):
    """One field of the knobs class: its type and the values it may take."""

    name: str
    type: Literal["int", "float", "str"]
    range: _Pair | None = None
    """Lowest and highest allowed value, both included; numbers only."""
    choices: _Choices | None = None
    """The allowed values; exactly one of `range` and `choices` is given."""
    default: KnobValue
    doc: str = ""

    @model_validator(mode="after")
    def _sound(self) -> Self:
        if not _IDENTIFIER.fullmatch(self.name):
            raise ValueError(f"a knob needs a Python name of at most 64 letters; got {quote(self.name)}")
        if (self.range is None) == (self.choices is None):
            raise ValueError("a knob has either a range or choices: give exactly one of the two")
        for bound in self.range or self.choices or ():
            self._check_bound(bound)
        if self.range is not None and self.range[0] > self.range[1]:
            raise ValueError(f"the range {_interval(self.range)} is upside down")
        if self.choices is not None and not self.choices:
            raise ValueError("choices is empty: nothing could be proposed")
        reason = self.check(self.default)
        if reason is not None:
            raise ValueError(f"the default is not allowed by the menu itself: {reason}")
        return self

    @property
    def allowed(self) -> str:
        """What it may be, in words: `one of 32, 64, 96` or `a number from 0.002 to 0.2`."""
        if self.choices is not None:
            shown = ", ".join(quote(choice) for choice in self.choices[:SHOWN_CHOICES])
            more = len(self.choices) - SHOWN_CHOICES
            return f"one of {shown}" + (f" and {more} more" if more > 0 else "")
        assert self.range is not None
        return f"{_NUMBERS[self.type]} from {number(self.range[0])} to {number(self.range[1])}"

    def _check_bound(self, bound: KnobValue) -> None:
        if self.range is not None and self.type == "str":
            raise ValueError("a knob of type str has choices, not a range")
        if self._wrong_type(bound):
            raise ValueError(f"{quote(bound)} in its range or choices is not {_ARTICLES[self.type]}")

    def check(self, value: object) -> str | None:
        """Why this knob cannot be `value`, with what it can be; None when it can. Any JSON value may be asked about."""
        if self._wrong_type(value):
            fits = False
        elif self.choices is not None:
            fits = value in self.choices
        else:
            assert self.range is not None and isinstance(value, int | float)
            fits = self.range[0] <= value <= self.range[1]
        return None if fits else f"{self.name} = {quote(value)}: {self.allowed}"

    def read(self, value: KnobValue) -> KnobValue:
        """A proposer's value in the knob's type where it is the same number otherwise written.

        `128.0` and `"128"` are 128 to an int, `"1e-3"` is 0.001 to a float. Anything else is left for `check`.
        """
        if self.type == "str":
            return value
        if isinstance(value, str) and _DECIMAL.fullmatch(value.strip()):
            text = value.strip()
            value = int(text) if text.lstrip("+-").isdigit() else float(text)
        if self.type == "int" and isinstance(value, float) and value.is_integer() and abs(value) <= _EXACT:
            return int(value)
        return value

    def normalise(self, value: KnobValue) -> KnobValue:
        """The one spelling of an allowed value: 1 becomes 1.0 for a float, and -0.0 becomes 0.0."""
        return float(value) + 0.0 if self.type == "float" else value

    def _wrong_type(self, value: object) -> bool:
        # bool is an int to Python, but `true` is never a learning rate.
        if isinstance(value, bool):
            return True
        if self.type == "str":
            return not isinstance(value, str)
        if self.type == "int":
            return not isinstance(value, int)
        if isinstance(value, int):
            return value.bit_length() > 1_000  # beyond what a float can hold
        return not isinstance(value, float)


def _interval(pair: tuple[float, float]) -> str:
    return f"[{number(pair[0])}, {number(pair[1])}]"


class CrossRule(Table):
    """A condition over several knobs, as an expression that must be true."""

    id: str
    rule: str
    doc: str = ""


class SizeRule(Table):
    """An estimate of the memory that a configuration needs, and its limit."""

    memory_bytes: str
    """Expression over the knobs: bytes."""
    limit_bytes: int | None = Field(default=None, gt=0, le=2**60)
    """None: the limit of the trial applies."""


class Menu(Table):
    """Everything a proposal may change, checked: every default is allowed and all rules hold for the defaults."""

    knobs: dict[str, Knob]
    cross_constraints: Annotated[tuple[CrossRule, ...], BeforeValidator(tuple_of_list)] = ()
    size: SizeRule | None = None

    @model_validator(mode="before")
    @classmethod
    def _name_knobs(cls, data: Any) -> Any:
        """Give each knob its name, which a file states only once, as the key."""
        if not isinstance(data, Mapping) or not isinstance(data.get("knobs"), Mapping):
            return data
        named = {
            name: {"name": name, **knob} if isinstance(knob, Mapping) and "name" not in knob else knob
            for name, knob in data["knobs"].items()
        }
        return {**data, "knobs": named}

    @model_validator(mode="after")
    def _sound(self) -> Self:
        for name, knob in self.knobs.items():
            if name != knob.name:
                raise ValueError(f"the knob {quote(name)} has another name inside: {quote(knob.name)}")
        ids = [rule.id for rule in self.cross_constraints]
        for rule_id in ids:
            if ids.count(rule_id) > 1:
                raise ValueError(f"two cross constraints have the id {quote(rule_id)}")
        try:
            broken = self.broken_rule(self.defaults())
            too_big = self.size_problem(self.defaults(), limit_bytes=None)
        except ExpressionError as error:
            raise ValueError(error.what) from None
        if broken is not None:
            raise ValueError(f"a cross constraint does not hold for the defaults: {broken}")
        if too_big is not None:
            raise ValueError(f"the defaults do not fit: {too_big}")
        return self

    def defaults(self) -> dict[str, KnobValue]:
        """Every knob's default, normalised, in the menu's order."""
        return {name: knob.normalise(knob.default) for name, knob in self.knobs.items()}

    def expression(self, text: str) -> Expression:
        """Compile one of the menu's expressions (compiled once, then remembered).

        Raises:
            ExpressionError: not an expression over the menu's knobs.
        """
        return compile_expression(text, self.knobs)

    def broken_rule(self, values: Mapping[str, KnobValue | bool]) -> str | None:
        """Which cross constraint `values` break and with which values, or None.

        Raises:
            ExpressionError: a rule is no expression or has no value here.
        """
        for rule in self.cross_constraints:
            expression = self.expression(rule.rule)
            if not expression.holds(values):
                given = ", ".join(f"{name}={quote(values[name])}" for name in sorted(expression.names))
                return f"{rule.rule} does not hold with {given} ({rule.id})"
        return None

    def size_problem(self, values: Mapping[str, KnobValue | bool], *, limit_bytes: int | None) -> str | None:
        """Why a program with these knobs cannot fit in memory, or None when it can (or nothing limits it).

        Args:
            values: all knobs of the program.
            limit_bytes: the limit when the size rule has none of its own.

        Raises:
            ExpressionError: the estimate is no expression or has no value here.
        """
        if self.size is None:
            return None
        needed = self.expression(self.size.memory_bytes).amount(values)
        limit = self.size.limit_bytes or limit_bytes
        if limit is None or needed <= limit:
            return None
        return f"it needs about {_gigabytes(needed)} of memory, and {_gigabytes(limit)} are allowed"


def _gigabytes(amount: float) -> str:
    return f"{float(amount) / 1e9:.4g} GB"


def load_menu(path: Path) -> Menu:
    """The menu in a JSON menu file or in a `task.toml`.

    A JSON menu has the keys `knobs` and `cross_constraints` (and may have `size`); top-level keys that begin with an
    underscore are notes and are ignored.

    Raises:
        UserError: unreadable, unknown key or type, a default that its own knob refuses, a rule that names an unknown
            knob or does not hold for the defaults.
    """
    fix = "give a JSON menu file or a task.toml"
    if path.suffix == ".toml":
        data = read_toml(path, fix=fix)
        if not isinstance(data.get("menu"), Mapping):
            raise UserError("there is no [menu] table", where=str(path), fix="add knobs under [menu.knobs]")
        menu = {**data["menu"], **({"size": data["size"]} if "size" in data else {})}
        return build(Menu, menu, where=f"{path}: menu")
    data = read_json(path, fix=fix)
    known = {key: value for key, value in data.items() if not key.startswith("_")}
    return build(Menu, known, where=str(path))
