"""The tool that checks a knob setting before a trial is spent on it."""

import pytest

from tests.support.proposals import make_task
from tools.sizing import build_sizing_tool

SIZE = {"memory_bytes": "depth * width * 1000000"}
MENU = make_task(size=SIZE).menu


@pytest.mark.parametrize(
    ("knob", "new_value", "answer"),
    [
        ("depth", 3, "allowed; it needs about 0.384 GB of memory"),
        ("depth", 99, "not allowed: depth = 99: a whole number from 1 to 8"),
        ("dept", 3, "not allowed: there is no knob 'dept' (did you mean 'depth'?)"),
        ("width", 64, "not allowed: width % head_dim == 0 does not hold"),
        ("depth", 8, "not allowed: it needs about"),
        ("window", "all", "not allowed: window = 'all': one of"),
    ],
)
def test_estimates_and_refusals(knob: str, new_value: int | str, answer: str) -> None:
    tool = build_sizing_tool(MENU, MENU.defaults() | {"head_dim": 128}, 1_000_000_000)
    assert tool.invoke({"knob": knob, "new_value": new_value}).startswith(answer)


def test_a_task_without_an_estimate() -> None:
    menu = make_task().menu
    answer = build_sizing_tool(menu, menu.defaults(), None).invoke({"knob": "depth", "new_value": 3})
    assert answer == "allowed; this task has no memory estimate"


def test_a_program_without_a_knob_that_a_rule_reads() -> None:
    tool = build_sizing_tool(MENU, {"depth": 2}, None)
    assert tool.invoke({"knob": "depth", "new_value": 3}).startswith("not allowed: ")
