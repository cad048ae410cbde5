"""The language-model proposer: one question, a few rounds of reading tools when allowed, one raw answer.

It returns what the model said; the rails judge it. What the transcript holds already is taken from there, so that
asking again after a failure or a crash goes on with the conversation where it was.

Import this module lazily: langchain takes seconds to load.
"""

import hashlib
from collections.abc import Sequence
from typing import Any

from langchain_core.messages import AIMessage
from langchain_core.tools import BaseTool

from agents.base import ProposalContext, Reply
from agents.model.config import ModelConfig, ReplyFormat
from agents.model.endpoint import GRACE_S, Endpoint, Request, RequestRejectedError
from agents.model.messages import read_message, reply_text
from agents.planner.prompts import build_messages, response_schema
from agents.planner.toolbox import answer_tool_calls, assistant_message, build_toolbox
from tools.trajectory import Trajectory

MAX_TOOL_ROUNDS = 3
FORMATS: tuple[ReplyFormat, ...] = ("json_schema", "json_object", "text")
"""Forms of structured reply, strictest first. A rejected one is stepped down from, for the rest of the campaign."""


class Planner:
    """Asks a model behind an OpenAI-compatible endpoint.

    Args:
        name: the model's name in models.toml.
        config: its entry there.
        trajectory: read access to the record for the tools; without it only the context is readable.
        grace_s: how long a request in flight may still take once the loop is asked to stop.

    Raises:
        UserError: the key's environment variable is not set.
    """

    def __init__(
        self,
        name: str,
        config: ModelConfig,
        *,
        trajectory: Trajectory | None = None,
        grace_s: float = GRACE_S,
    ) -> None:
        self._name = name
        self._trajectory = trajectory
        self._endpoint = Endpoint(config, grace_s=grace_s)
        self._format: ReplyFormat = config.reply_format
        self._uses_tools = config.tools

    repairs_crashes = True

    @property
    def name(self) -> str:
        """The model's name in models.toml."""
        return self._name

    def check_ready(self) -> None:
        """Whether somebody listens at the endpoint.

        Raises:
            NoReplyError: nobody does.
        """
        self._endpoint.check_ready()

    def propose(self, context: ProposalContext) -> Reply:
        """Ask for a proposal. The transcript has every request; the reply is the last answer there.

        Raises:
            NoReplyError: the endpoint gave no answer.
        """
        messages = build_messages(context)
        message = self._tool_rounds(context, messages) if self._uses_tools else None
        if message is None:
            message = self._answer(context, messages)
        return Reply(raw=reply_text(message))

    def _tool_rounds(self, context: ProposalContext, messages: list[dict[str, Any]]) -> AIMessage | None:
        """Let the model read for a few rounds; appends to `messages`. None when the answer is still to be asked for."""
        tools = build_toolbox(context, self._trajectory)
        opening = len(messages)
        for position in range(MAX_TOOL_ROUNDS):
            try:
                message = self._ask(context, messages, tools=tools)
            except RequestRejectedError:
                # In the first round the endpoint knows no tools; later, what they returned was too much for it.
                self._uses_tools = position > 0
                del messages[opening:]
                return None
            if not message.tool_calls and not message.invalid_tool_calls:
                return message
            messages += [assistant_message(message), *answer_tool_calls(message, tools)]
        return None

    def _answer(self, context: ProposalContext, messages: list[dict[str, Any]]) -> AIMessage:
        """Ask for the answer in the strictest form that the endpoint accepts."""
        for reply_format in FORMATS[FORMATS.index(self._format) :]:
            try:
                message = self._ask(context, messages, reply_format=reply_format)
            except RequestRejectedError as error:
                if reply_format == FORMATS[-1]:
                    raise self._endpoint.no_reply(error.refusal) from error
            else:
                self._format = reply_format
                return message
        raise AssertionError("the last form returns or raises")

    def _ask(
        self,
        context: ProposalContext,
        messages: list[dict[str, Any]],
        *,
        reply_format: ReplyFormat = "text",
        tools: Sequence[BaseTool] = (),
    ) -> AIMessage:
        """The next message of the model: from the transcript if it is there, else from the endpoint."""
        earlier = context.transcript.next_answer()
        if earlier is not None and earlier.message is not None:
            messages[:] = earlier.prompt or messages  # as it was sent: a tool may answer differently by now
            return read_message(earlier.message)
        formats = {"json_schema": response_schema(context), "json_object": {"type": "json_object"}, "text": None}
        request = Request(
            messages=messages,
            seed=_request_seed(context),
            response_format=formats[reply_format],
            tools=tuple(tools),
        )
        return self._endpoint.ask(request, context.transcript.record, context.stopping)


def _request_seed(context: ProposalContext) -> int:
    """A seed for the endpoint's sampler that fits 31 bits and differs for every attempt."""
    text = f"{context.seed}:{context.trial_seq}:{context.attempt}"
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big") >> 1
