"""The tool that reads the incumbent in pieces."""

from tools.source import MAX_CHARS, MAX_LINES, build_source_tool

SOURCE = "".join(f"value_{number} = {number}\n" for number in range(1, 1001))
TOOL = build_source_tool(SOURCE, "train.py")


def test_lines() -> None:
    assert TOOL.invoke({"first_line": 10, "last_line": 11}) == "10: value_10 = 10\n11: value_11 = 11"
    assert TOOL.invoke({"first_line": -5, "last_line": 1}) == "1: value_1 = 1"
    assert TOOL.invoke({"first_line": 2000, "last_line": 3000}) == "there are only lines 1 to 1000"
    assert "train.py" in TOOL.description


def test_lines_around_a_text() -> None:
    answer = TOOL.invoke({"containing": "value_500 "})
    assert [line.split(":")[0] for line in answer.splitlines()] == [str(number) for number in range(497, 504)]
    assert TOOL.invoke({"containing": "nowhere"}) == "no line holds that text"


def test_answers_are_bounded() -> None:
    answer = TOOL.invoke({"first_line": 1, "last_line": 10**9})
    assert answer.splitlines()[-1] == f"({1000 - MAX_LINES} more lines)"
    wide = build_source_tool("x" * 100_000, "train.py").invoke({})
    assert wide == "(1 more lines)"
    assert (
        len(build_source_tool("y" * 300 + "\n" + SOURCE * 9, "t.py").invoke({"containing": "value"})) <= MAX_CHARS + 30
    )
