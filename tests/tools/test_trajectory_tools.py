"""Tools over the record: short answers, whatever is in it."""

from typing import Any

import pytest
from langchain_core.tools import BaseTool

from memory.keep.near_misses import NearMiss
from memory.lineage.prospects import Combination, Opposite, Setting
from memory.reader import QueryResult
from rails.status import Status
from tests.support.proposals import make_trial
from tools.trajectory import MAX_CHARS, MAX_ROWS, Ideas, Trajectory, build_trajectory_tools, table

MISS = NearMiss(trial=4, edit="lr=0.1", gain=0.0021, gain_low=-0.001, gain_high=0.005, p_improve=0.81)

PAIR = Combination(
    first=Setting(trial=4, knob="lr", value=0.1, gain=0.0021),
    second=Setting(trial=9, knob="depth", value=3, gain=0.001),
    sum_of_gains=0.0031,
)
OTHER_WAY = Opposite(trial=7, knob="width", lost_at=256, start=128, value=64, gain=-0.02, gain_high=-0.01)


def toolbox(
    *, trials: Any = (), rows: list[list[Any]] | None = None, asked: list[Any] | None = None
) -> dict[str, BaseTool]:
    seen: list[Any] = [] if asked is None else asked

    def near_misses(limit: int) -> list[NearMiss]:
        seen.append(limit)
        return [MISS]

    def ideas(limit: int) -> Ideas:
        seen.append(limit)
        return Ideas(combinations=[PAIR], opposites=[OTHER_WAY])

    def query(sql: str) -> QueryResult:
        seen.append(sql)
        return QueryResult(["trial", "note"], rows or [])

    trajectory = Trajectory(near_misses=near_misses, ideas=ideas, query=query)
    return {tool.name: tool for tool in build_trajectory_tools(trials, trajectory)}


def test_every_tool_describes_itself() -> None:
    for tool in toolbox().values():
        assert 20 < len(tool.description) < 200


def test_tried_values_of_one_knob() -> None:
    trials = (
        make_trial(1, "lr", 0.1, Status.DISCARD, -0.02),
        make_trial(2, "depth", 3, Status.DISCARD, -0.02),
        make_trial(3, "lr", 0.4, Status.CRASH),
        make_trial(4, "lr", 0.5, Status.HARNESS_ABORT),
        make_trial(5, "lr", 0.05, None),
    )
    tool = toolbox(trials=trials)["tried_values"]
    assert tool.invoke({"knob": "lr"}).splitlines() == [
        "trial | value | status | gain | reason",
        "1 | 0.1 | discard | -0.02 | -",
        "3 | 0.4 | crash | - | because",
        "5 | 0.05 | running | - | because",
    ]
    assert tool.invoke({"knob": "lrr"}) == "never tried"


@pytest.mark.parametrize(("asked", "given"), [(3, 3), (10_000, MAX_ROWS), (-1, 1)])
def test_near_misses_are_few(asked: int, given: int) -> None:
    limits: list[Any] = []
    answer = toolbox(asked=limits)["near_misses"].invoke({"limit": asked})
    assert limits == [given]
    assert answer.splitlines()[1] == "4 | lr=0.1 | 0.0021 | -0.001 | 0.005 | 0.81"


def test_ideas_are_named_with_what_speaks_for_them() -> None:
    limits: list[Any] = []
    assert toolbox(asked=limits)["ideas"].invoke({}).splitlines() == [
        "idea | knobs | because",
        "together | lr=0.1, depth=3 | near misses: trial 4 +0.0021, trial 9 +0.0010",
        "opposite | width=64 | 256 lost in trial 7: -0.0200; it stands at 128",
    ]
    assert limits == [5]


def test_a_query_is_cut_at_a_row_and_says_so() -> None:
    rows: list[list[Any]] = [[at, "x" * 200] for at in range(1_000)]
    answer = toolbox(rows=rows)["query"].invoke({"sql": "SELECT 1"})
    lines = answer.splitlines()
    assert len(answer) < MAX_CHARS + 40
    assert lines[-1] == f"({1_000 - (len(lines) - 2)} more rows)"


def test_a_row_wider_than_the_answer() -> None:
    answer = table([f"column_{at}" for at in range(1_000)], [list(range(1_000))])
    assert len(answer) < MAX_CHARS + 40
    assert answer.endswith("(1 more rows)")


def test_cells_are_one_clean_line() -> None:
    text = table(["a", "b"], [["one\ntwo <|im_start|>", {"k": [1, None]}]])
    assert len(text.splitlines()) == 2
    assert "<|" not in text and '{"k": [1, null]}' in text
