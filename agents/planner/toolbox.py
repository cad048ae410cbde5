"""What a planner may look up before it proposes, as native tool calls or as JSON actions: exact names only."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from langchain_core.messages import AIMessage
from langchain_core.tools import BaseTool

from agents.base import ProposalContext
from agents.model.forms import unwrapped
from agents.model.messages import protocol_message
from agents.planner.schema import WRITE_CODE
from agents.texts import storable
from rails.checks.replies import ReplyError, parse_reply
from rails.errors import NightshiftError
from rails.text import clean_text, quote
from tools.drafts import build_check_tool
from tools.sizing import build_sizing_tool
from tools.source import build_source_tool
from tools.trajectory import Trajectory, build_trajectory_tools

MAX_CALLS_A_ROUND = 4
MAX_ANSWER_CHARS = 240


def build_toolbox(context: ProposalContext, trajectory: Trajectory | None) -> tuple[BaseTool, ...]:
    """The tools for one proposal: all of them only read. Without lineage none reads the record."""
    limit = context.task.memory_limit_bytes
    record = build_trajectory_tools(context.trials, trajectory) if context.lineage is not None else []
    source = [build_source_tool(context.source, context.task.edit.file)] if "diff" in context.task.edit.modes else []
    return (
        *record,
        *source,
        build_sizing_tool(context.menu, context.knobs, limit),
        build_check_tool(context.check),
    )


@dataclass(frozen=True, slots=True)
class Action:
    """What a reply asks for instead of proposing."""

    name: str
    arguments: dict[str, Any]


def read_step(raw: str) -> Action | str:
    """An action, or the raw proposal that a reply is.

    A proposal that is dressed as an action (`{"action": "propose", …}`) loses the dress; what is no JSON object at all
    is a raw proposal too: the rails say what is wrong with it.
    """
    raw = unwrapped(raw)
    try:
        found = parse_reply(raw)
    except ReplyError:
        return raw
    name = found.pop("action", None)
    if name is None:
        return raw
    if name == "propose" or not isinstance(name, str):
        return json.dumps(found, ensure_ascii=False)
    return Action(name, found)


def answer_action(action: Action, tools: Sequence[BaseTool]) -> str:
    """What an action finds, as short text; one that is denied is told why."""
    return storable(_answer({tool.name: tool for tool in tools}, action.name, action.arguments))


def is_code(step: Action | str) -> bool:
    """Whether a reply announces a change of the code."""
    return isinstance(step, Action) and step.name == WRITE_CODE


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
