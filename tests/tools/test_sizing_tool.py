"""The tool that checks a knob setting before a trial is spent on it."""

import pytest

from tests.support.proposals import make_task
from tools.sizing import build_sizing_tool

SIZE = {"memory_bytes": "depth * width * 1000000"}
MENU = make_task(size=SIZE).menu


@pytest.mark.parametrize(
    ("changes", "answer"),
    [
        ({"depth": 3}, "allowed; it needs about 0.384 GB of memory"),
        ({"depth": 99}, "not allowed: depth = 99 is outside [1, 8]"),
        ({"dept": 3}, "not allowed: there is no knob 'dept' (did you mean 'depth'?)"),
        ({"head_dim": 128, "width": 192}, "not allowed: width % head_dim == 0 does not hold"),
        ({"depth": 8, "width": 256}, "not allowed: it needs about"),
        ({"window": "all"}, "not allowed: window = 'all' is not one of"),
    ],
)
def test_estimates_and_refusals(changes: dict[str, int | str], answer: str) -> None:
    tool = build_sizing_tool(MENU, MENU.defaults(), 1_000_000_000)
    assert tool.invoke({"changes": changes}).startswith(answer)


def test_a_task_without_an_estimate() -> None:
    menu = make_task().menu
    answer = build_sizing_tool(menu, menu.defaults(), None).invoke({"changes": {"depth": 3}})
    assert answer == "allowed; this task has no memory estimate"


def test_a_program_without_a_knob_that_a_rule_reads() -> None:
    tool = build_sizing_tool(MENU, {"depth": 2}, None)
    assert tool.invoke({"changes": {"depth": 3}}).startswith("not allowed: ")
