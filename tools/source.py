"""A tool that reads the incumbent's program in pieces: by lines, or around a word."""

import rails.bootstrap  # noqa: F401  # pyright: ignore[reportUnusedImport]

# isort: split
from langchain_core.tools import BaseTool, StructuredTool

from rails.text import without_template_tags

MAX_LINES = 80
MAX_CHARS = 6_000
AROUND = 3
"""Lines shown before and after a line that holds the searched word."""


def build_source_tool(source: str, file_name: str) -> BaseTool:
    """The tool `read_source` over one program text.

    Args:
        source: the program.
        file_name: its name, for the description.
    """
    lines = without_template_tags(source).splitlines()

    def read_source(first_line: int = 1, last_line: int = MAX_LINES, containing: str = "") -> str:
        """Read lines of the program, or the lines around a text it contains."""
        if containing:
            wanted = _around(lines, containing)
            return _numbered(lines, wanted) if wanted else "no line holds that text"
        first = max(first_line, 1)
        wanted = list(range(first, min(last_line, len(lines)) + 1))
        return _numbered(lines, wanted) if wanted else f"there are only lines 1 to {len(lines)}"

    return StructuredTool.from_function(
        read_source,
        description=f"Read {file_name}: lines first_line to last_line, or the lines around a text it contains.",
    )


def _around(lines: list[str], containing: str) -> list[int]:
    """Numbers of the lines that hold the text, and of their neighbours, in order."""
    hits = [number for number, line in enumerate(lines, start=1) if containing in line]
    near = {other for hit in hits for other in range(hit - AROUND, hit + AROUND + 1)}
    return sorted(number for number in near if 1 <= number <= len(lines))


def _numbered(lines: list[str], wanted: list[int]) -> str:
    shown: list[str] = []
    size = 0
    for number in wanted[:MAX_LINES]:
        line = f"{number}: {lines[number - 1]}"
        size += len(line) + 1
        if size > MAX_CHARS:
            break
        shown.append(line)
    left_out = len(wanted) - len(shown)
    return "\n".join([*shown, f"({left_out} more lines)"] if left_out else shown)
