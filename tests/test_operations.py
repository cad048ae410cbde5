"""docs/operations.md promises what happens when …: every line names a test, and the test is there."""

import ast
import re
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "operations.md"
TEST = re.compile(r"`(tests/[\w/]+\.py)::(test_\w+)`")


def promises() -> list[str]:
    """The lines of its tables, without their heads."""
    lines = [line for line in PAGE.read_text("utf-8").splitlines() if line.startswith("|")]
    return [line for line in lines if not re.fullmatch(r"[|\- ]+", line) and not line.startswith("| what happens")]


def functions_in(path: Path) -> set[str]:
    tree = ast.parse(path.read_text("utf-8"))
    return {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}


def test_every_line_is_tied_to_a_test() -> None:
    found = promises()
    assert len(found) > 30
    assert [line for line in found if not TEST.search(line)] == []


def test_the_tests_are_there() -> None:
    named = {(path, name) for line in promises() for path, name in TEST.findall(line)}
    missing = [f"{path}::{name}" for path, name in named if name not in functions_in(ROOT / path)]
    assert missing == []
