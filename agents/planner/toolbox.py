"""What a planner may call before it answers, and how a call is answered: exact names only, everything else denied."""

from collections.abc import Sequence
from typing import Any

from langchain_core.messages import AIMessage
from langchain_core.tools import BaseTool

from agents.base import ProposalContext
from agents.model.messages import protocol_message
from agents.texts import storable
from rails.errors import NightshiftError
from rails.text import clean_text, quote
from tools.sizing import build_sizing_tool
from tools.source import build_source_tool
from tools.trajectory import Trajectory, build_trajectory_tools

MAX_CALLS_A_ROUND = 4
MAX_ANSWER_CHARS = 240


def build_toolbox(context: ProposalContext, trajectory: Trajectory | None) -> tuple[BaseTool, ...]:
    """The tools for one proposal: all of them only read."""
    limit = context.task.trial.memory_bytes or None
    return (
        *build_trajectory_tools(context.trials, trajectory),
        build_source_tool(context.source, context.task.edit.file),
        build_sizing_tool(context.menu, context.knobs, limit),
    )


def assistant_message(message: AIMessage) -> dict[str, Any]:
    """A model's message with tool calls, as it goes back to the model in the next request."""
    whole = protocol_message(message)
    whole.pop("refusal", None)
    for call in whole["tool_calls"][len(message.tool_calls) :]:
        # Arguments that are not JSON make servers refuse the whole conversation: they go back as none.
        call["function"]["arguments"] = "{}"
    return whole


def answer_tool_calls(message: AIMessage, tools: Sequence[BaseTool]) -> list[dict[str, Any]]:
    """One answer for every call, in the order of `assistant_message`; a call that is denied is told why."""
    by_name = {tool.name: tool for tool in tools}
    answers: list[str] = []
    for position, call in enumerate(message.tool_calls):
        if position >= MAX_CALLS_A_ROUND:
            answers.append(f"not called: at most {MAX_CALLS_A_ROUND} calls at once")
        else:
            answers.append(_answer(by_name, call["name"], call["args"]))
    answers += ["not called: the arguments are not JSON"] * len(message.invalid_tool_calls)
    ids = [call["id"] for call in assistant_message(message)["tool_calls"]]
    return [
        {"role": "tool", "tool_call_id": call_id, "content": storable(answer)}
        for call_id, answer in zip(ids, answers, strict=True)
    ]


def _answer(by_name: dict[str, BaseTool], name: str, arguments: dict[str, Any]) -> str:
    tool = by_name.get(name)
    if tool is None:
        return f"there is no tool {quote(name)}; the tools are {', '.join(by_name)}"
    try:
        return str(tool.invoke(arguments))
    except (NightshiftError, ValueError, TypeError, LookupError, RecursionError) as error:
        # Arguments that do not fit or are too deep, or a query that is no SELECT: the model may correct itself.
        return f"not answered: {clean_text(str(error), MAX_ANSWER_CHARS)}"
