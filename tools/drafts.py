"""A tool that shows a draft to the rails before it is proposed."""

import rails.bootstrap  # noqa: F401  # pyright: ignore[reportUnusedImport]

# isort: split
import json
from collections.abc import Callable

from langchain_core.tools import BaseTool, StructuredTool

from rails.text import REASON_LIMIT, clean_text


def build_check_tool(check: Callable[[str], str | None]) -> BaseTool:
    """The tool `check` for one-knob drafts.

    Args:
        check: the rails' reason against a raw proposal, or None when they let it pass.
    """

    def check_draft(knob: str, new_value: int | float | str) -> str:
        """Ask the rails whether they would let this change pass, and why not."""
        refused = check(json.dumps({"knob": knob, "new_value": new_value, "reason": "a draft"}))
        return f"refused: {clean_text(refused, REASON_LIMIT)}" if refused else "it would pass"

    return StructuredTool.from_function(check_draft, name="check")
