"""Expressions over knobs: they mean what Python means by them, and evaluation is total."""

import contextlib
import math

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from rails.expressions import MAX_BITS, ExpressionError, Value, compile_expression

NAMES = ("a", "b", "c")
NUMBERS = st.integers(-50, 50) | st.floats(-50, 50)
ATOMS = st.sampled_from(NAMES) | NUMBERS.map(repr)


def _grow(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    binary = st.tuples(inner, st.sampled_from(["+", "-", "*", "/", "//", "%", "**"]), inner)
    return st.one_of(
        binary.map(lambda parts: f"({parts[0]} {parts[1]} {parts[2]})"),
        inner.map(lambda text: f"(-{text})"),
        st.tuples(st.sampled_from(["min", "max"]), inner, inner).map(lambda p: f"{p[0]}({p[1]}, {p[2]})"),
        st.tuples(st.sampled_from(["abs", "round", "ceil"]), inner).map(lambda p: f"{p[0]}({p[1]})"),
        st.tuples(inner, st.sampled_from(["<", "<=", "==", "!=", ">", ">="]), inner, inner, inner).map(
            lambda p: f"({p[3]} if {p[0]} {p[1]} {p[2]} else {p[4]})"
        ),
    )


ARITHMETIC = st.recursive(ATOMS, _grow, max_leaves=8)
VALUES = st.fixed_dictionaries({name: st.integers(1, 64) | st.floats(0.001, 8) for name in NAMES})


@given(ARITHMETIC, VALUES)
def test_a_value_is_the_one_that_python_gives(text: str, values: dict[str, Value]) -> None:
    try:
        value = compile_expression(text, NAMES).evaluate(values)
    except ExpressionError:
        return
    expected = eval(text, {"ceil": math.ceil, **values})  # only our own arithmetic gets here
    assert value == expected
    assert type(value) is type(expected)


@given(st.text(max_size=60) | st.text(alphabet="abc()+-*/%<>=! .,'[]{}0123456789eorndift", max_size=60))
@example("(" * 900)
@example("-" * 900 + "1")
@example("not " * 200 + "True")
@example("9" * 900)
@example("9**9**9**9")
@example("((((a" + "**a" * 80 + "))))")
def test_any_text_compiles_and_evaluates_or_gives_a_reason(text: str) -> None:
    with contextlib.suppress(ExpressionError):
        compile_expression(text, NAMES).evaluate({"a": 9, "b": 10**30, "c": 1e300})


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("1 / (a - a)", "division by zero"),
        ("1 // (a - a)", "division by zero"),
        ("1 % (a - a)", "division by zero"),
        ("(a - a) ** -1", "division by zero"),
        ("9 ** 9 ** 9", "too large"),
        ("10.0 ** 400", "too large"),
        ("b * b * b * b * b * b * b * b", "too large"),
        ("c * c", "too large"),
        ("ceil(c)", "too large"),
        ("(0 - a) ** 0.5", "no such power"),
        ("a + 'x'", "is not a number"),
        ("'x' * 1000", "is not a number"),
        ("'%s' % a", "is not a number"),
        ("(a > 1) + 1", "true is not a number"),
        ("a and b", "is not true or false"),
        ("not a", "is not true or false"),
        ("1 if a else 2", "is not true or false"),
        ("a == 'x'", "cannot be compared"),
        ("'x' < 'y'", "is not a number"),
    ],
)
def test_an_expression_without_a_value_says_why(text: str, reason: str) -> None:
    with pytest.raises(ExpressionError, match=reason):
        compile_expression(text, NAMES).evaluate({"a": 9, "b": 10**30, "c": 1e300})


@pytest.mark.parametrize(
    "text",
    [
        "",
        "a +",
        "a; b",
        "d",
        "a.real",
        "a[0]",
        "a(1)",
        "eval('1')",
        "__import__('os')",
        "min",
        "min(*[1, 2])",
        "min()",
        "round(a, 2)",
        "max(a, key=b)",
        "lambda: 1",
        "[x for x in (1, 2)]",
        "(a := 1)",
        "f'{a}'",
        "a @ b",
        "a << 500",
        "a & b",
        "~a",
        "a is 1",
        "a in b",
        "1 < a in (1, 2)",
        "None",
        "1j",
        "b'x'",
        "...",
        "1e999",
        "a" * 1_001,
        "a" + " + a" * 150,
        str(2**MAX_BITS),
    ],
)
def test_what_is_no_expression_of_ours_is_refused(text: str) -> None:
    with pytest.raises(ExpressionError):
        compile_expression(text, NAMES)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("d_model % n_head == 0", True),
        ("lr_warmup + 5 <= 30", True),
        ("0 < lr_warmup <= 5 < n_head", True),
        ("precision == 'fp8' or n_head > 100", True),
        ("precision in ('bf16', 'fp16')", False),
        ("precision not in ['bf16']", True),
        ("not (n_head == 16)", False),
        ("n_head > 0 and d_model % n_head == 0", True),
        ("n_head == 0 or d_model // n_head == 64", True),
        ("ceil(n_head / 5) * 2 + max(1, lr_warmup, 3) - min(2, 4)", 11),
        ("4 * d_model if precision == 'fp8' else 1 / 0", 4096),
        ("True", True),
    ],
)
def test_the_rules_that_menus_have(text: str, value: Value) -> None:
    knobs: dict[str, Value] = {"d_model": 1024, "n_head": 16, "lr_warmup": 5, "precision": "fp8"}
    assert compile_expression(text, knobs).evaluate(knobs) == value


def test_and_or_stop_at_the_first_answer() -> None:
    assert compile_expression("a > 0 or 1 / 0 > 1", ["a"]).evaluate({"a": 1}) is True
    assert compile_expression("a < 0 and 1 / 0 > 1", ["a"]).evaluate({"a": 1}) is False


def test_an_unknown_name_is_named_with_the_nearest_knob() -> None:
    with pytest.raises(ExpressionError, match=r"reads 'd_modle', which is no knob \(did you mean 'd_model'\?\)"):
        compile_expression("d_modle % 2 == 0", ["d_model"])


def test_a_rule_must_be_true_or_false_and_an_amount_a_number() -> None:
    with pytest.raises(ExpressionError, match="is not true or false"):
        compile_expression("a + 1", ["a"]).holds({"a": 1})
    with pytest.raises(ExpressionError, match="is not a number"):
        compile_expression("a > 1", ["a"]).amount({"a": 1})


def test_values_from_outside_are_bounded_too() -> None:
    expression = compile_expression("a * a", ["a"])
    for value in (2**600, float("nan"), float("inf")):
        with pytest.raises(ExpressionError, match="too large"):
            expression.evaluate({"a": value})
    with pytest.raises(ExpressionError, match="there is no value for 'a'"):
        expression.evaluate({})
